//! A harness for clusters of real server processes, with faults and with clients that record what
//! they see. The server's process tests and the soak use it.

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
