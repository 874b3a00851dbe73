//! The server around the Raft core: the driver that owns it, the connections to the other servers,
//! the HTTP interface, and the command line.

pub mod addresses;
pub mod admission;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod descriptors;
pub mod driver;
pub mod faults;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod guard;
pub mod http;
pub mod logging;
pub mod metrics;
mod output;
pub mod recover;
pub mod reload;
pub mod route;
pub mod server;
#[cfg(test)]
mod shuttled;
pub mod supervise;
mod sync;
pub mod tls;
pub mod trace;
pub mod transport;
pub mod watch;
