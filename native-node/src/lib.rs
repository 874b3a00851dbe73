//! The server around the Raft core: a driver that owns it, durable storage, connections to the
//! other servers, the HTTP interface, and the command line.

pub mod storage;
pub mod transport;
