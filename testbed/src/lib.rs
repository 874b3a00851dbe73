//! Clusters of real server processes, what can be done to them, and clients that write down what
//! they see. One harness for the server's process tests and for the soak.

#![allow(clippy::unwrap_used, reason = "a test ends with its first surprise")]

pub mod cluster;
pub mod faults;
pub mod health;
pub mod hostile;
pub mod hosts;
pub mod load;
pub mod members;
pub mod network;
mod program;
pub mod soak;
pub mod usage;
pub mod watchers;
