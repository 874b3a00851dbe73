//! The server around the Raft core: a driver that owns it, durable storage, connections to the
//! other servers, the HTTP interface, and the command line.

pub mod addresses;
pub mod admission;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod demo;
pub mod descriptors;
pub mod driver;
pub mod faults;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod guard;
pub mod handle;
pub mod http;
pub mod metrics;
pub mod reload;
pub mod server;
#[cfg(test)]
mod shuttled;
pub mod storage;
mod sync;
pub mod tls;
pub mod trace;
pub mod transport;
