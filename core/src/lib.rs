//! Raft without input or output: consensus, the replicated key-value state, the events that report
//! what happened and why, and a simulator for whole clusters.
//!
//! With the feature `sim`, a cluster runs in one thread, and the same seed gives the same run:
//!
//! ```
//! # #[cfg(feature = "sim")] {
//! use raft_core::sim::{SimConfig, Timeline};
//! use raft_core::types::{SECOND, Time};
//!
//! let mut cluster = Timeline::new(SimConfig { seed: 1, servers: 3, ..SimConfig::default() });
//! cluster.run_until(Time(2 * SECOND));
//! assert!(cluster.view().leader().is_some());
//! # }
//! ```

pub mod codec;
pub mod config;
#[cfg(feature = "sim")]
pub mod consensus;
pub mod digest;
pub mod durable;
pub mod event;
#[cfg(feature = "sim")]
pub mod history;
#[cfg(feature = "sim")]
pub mod invariant;
pub mod kv;
pub mod limits;
pub mod log;
pub mod membership;
pub mod message;
mod node;
mod random;
pub mod replica;
pub mod rules;
#[cfg(feature = "sim")]
pub mod scenario;
#[cfg(feature = "sim")]
pub mod sim;
pub mod snapshot;
pub mod types;
pub mod view;
