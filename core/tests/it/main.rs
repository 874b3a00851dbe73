//! The core's tests, in one binary that runs natively and in wasm.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the few kinds of messages and events that it is about"
)]

mod agreement;
mod bounds;
mod checkers;
mod digests;
mod durability;
mod election;
mod faults;
mod flow;
mod formats;
mod in_the_air;
mod kv;
mod lab;
mod membership;
#[cfg(not(target_family = "wasm"))]
mod nonsense;
mod pitfalls;
mod promises;
#[cfg(not(target_family = "wasm"))]
mod protocol;
mod random;
mod reads;
#[cfg(not(target_family = "wasm"))]
mod recorded;
mod replication;
mod scenarios;
#[cfg(not(target_family = "wasm"))]
mod scripts;
mod sessions;
mod simulator;
mod snapshots;
mod timeline;
#[cfg(not(target_family = "wasm"))]
mod transcripts;
mod transfer;
mod views;
mod wire;
