//! Measures the core's memory use and prints JSON. It is a separate program because its counting
//! allocator would slow down other measurements.

use bench::memory::{self, Allocated};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() {
    let allocated: Allocated = || ALLOCATOR.current_usage();
    let memory = memory::measure(allocated);
    println!("{}", serde_json::to_string(&memory).expect("figures have a JSON form"));
}
