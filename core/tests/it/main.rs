//! The core's tests, in one binary that runs natively and in wasm.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the few kinds of messages and events that it is about"
)]

mod checkers;
mod digests;
mod durability;
mod election;
mod lab;
mod random;
mod reads;
mod replication;
mod simulator;
mod snapshots;
mod views;
