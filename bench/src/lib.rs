//! Measurements and comparisons: `cargo xtask bench`.
//!
//! Absolute figures differ between machines. So compared things are measured in the same run, in
//! turns, and reported as a ratio of medians.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures are rounded to a few digits anyway before somebody reads them"
)]

#[cfg(not(target_family = "wasm"))]
pub mod cluster;
#[cfg(not(target_family = "wasm"))]
pub mod consensus;
#[cfg(not(target_family = "wasm"))]
pub mod disk;
#[cfg(not(target_family = "wasm"))]
pub mod etcd;
#[cfg(not(target_family = "wasm"))]
pub mod failover;
pub mod figures;
#[cfg(not(target_family = "wasm"))]
pub mod load;
#[cfg(not(target_family = "wasm"))]
pub mod memory;
#[cfg(not(target_family = "wasm"))]
pub mod plot;
#[cfg(not(target_family = "wasm"))]
pub mod report;
pub mod simulator;
#[cfg(not(target_family = "wasm"))]
pub mod snapshots;
#[cfg(not(target_family = "wasm"))]
pub mod versions;
#[cfg(target_family = "wasm")]
pub mod wasm;
#[cfg(not(target_family = "wasm"))]
pub mod watching;
