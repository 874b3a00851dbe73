//! What this core keeps in memory: a program of its own, since its allocator counts, which would
//! slow down what is measured elsewhere. Prints JSON.

use bench::memory::{self, Allocated};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() {
    let allocated: Allocated = || ALLOCATOR.current_usage();
    let memory = memory::measure(allocated);
    println!("{}", serde_json::to_string(&memory).expect("figures have a JSON form"));
}
