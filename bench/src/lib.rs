//! Measurements, and comparisons side by side: `cargo xtask bench`.
//!
//! Absolute figures move from machine to machine, so whatever is compared runs in one process, in
//! turns, and is reported as a ratio of medians.

#[cfg(not(target_family = "wasm"))]
pub mod consensus;
pub mod figures;
#[cfg(not(target_family = "wasm"))]
pub mod memory;
#[cfg(not(target_family = "wasm"))]
pub mod report;
pub mod simulator;
#[cfg(target_family = "wasm")]
pub mod wasm;
