//! The server as its users see it: real processes, real disks, real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends with its first surprise")]

use testbed::{cluster, load};

mod answers;
mod api;
mod backup;
mod bounds;
mod cli;
mod client;
mod demo;
mod description;
mod disks;
mod doors;
mod failover;
mod faults;
mod grouped;
mod growth;
mod handshake;
mod hosts;
mod http;
mod http_doors;
mod keys;
mod links;
mod losses;
mod members;
mod narrow;
mod operations;
mod outside;
mod places;
mod proxy;
mod reads;
mod recover;
mod restart;
mod rolling;
mod states;
mod supervision;
mod tls;
mod tokens;
mod trace;
mod upgrade;
mod versions;
mod watch;
