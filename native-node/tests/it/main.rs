//! The server as its users meet it: real processes, real disks, real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends with its first surprise")]

mod cluster;
mod demo;
mod doors;
mod failover;
mod growth;
mod http;
mod keys;
mod load;
mod members;
mod reads;
mod restart;
mod rolling;
mod trace;
mod watch;
