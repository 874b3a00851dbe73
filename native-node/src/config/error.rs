//! Why a server does not start, each with its remedy.

use std::path::PathBuf;

use raft_core::types::NodeId;

use super::{Address, Members};

/// Settings with which a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not readable.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {} is wrong: {error}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A setting without a default was not given.
    #[error(
        "{what} is missing: give --{flag}, set {variable}, or write `{key} = …` in the \
         configuration file; `native-node serve --help` shows an example"
    )]
    Missing {
        /// In words.
        what: &'static str,
        /// The flag.
        flag: &'static str,
        /// The environment variable.
        variable: &'static str,
        /// The file's key.
        key: &'static str,
    },
    /// This server does not stand among the members.
    #[error("server {} is not among the members {members}; add it to --members or correct --id", id.0)]
    NotAMember {
        /// This server.
        id: NodeId,
        /// The members.
        members: Members,
    },
    /// A name that would not travel well.
    #[error(
        "`{0}` cannot name a cluster: use 1 to 64 letters, digits, dots, dashes or underscores"
    )]
    ClusterId(String),
    /// An address for everybody, with nothing that says who a client is.
    #[error(
        "{0} is no loopback address, and nothing would prove who a client is: listen on 127.0.0.1, \
         make clients show tokens with --tokens-file, or say --insecure-bind if everybody who can \
         reach it may read and write everything"
    )]
    Exposed(Address),
    /// An address for everybody, with nothing that says who a server is.
    #[error(
        "{0} is no loopback address, and nothing would prove who a server is: listen on 127.0.0.1, \
         or give the servers certificates with --peer-tls-cert or a secret with \
         --cluster-secret-file (`openssl rand -hex 32` makes one)"
    )]
    PeersExposed(Address),
    /// Anybody could break the server.
    #[error(
        "--allow-faults lets clients break this server, so it is for loopback only: listen for \
         clients on 127.0.0.1 instead of {0}, or leave --allow-faults out"
    )]
    FaultsExposed(Address),
    /// Tokens on an address for everybody, and nothing that hides them on the way.
    #[error(
        "{0} is no loopback address, and tokens and values would travel to it in the clear: give \
         --tls-cert, --tls-key and --tls-ca (`native-node cert` makes some to try), or say \
         --insecure-bind if something else encrypts"
    )]
    InTheClear(Address),
    /// A certificate without a key, or the like.
    #[error("{0} go together: give all three or none")]
    Incomplete(&'static str),
    /// A member cannot be found where the list says.
    #[error(transparent)]
    Members(#[from] super::MembersError),
    /// The protocol's numbers do not go together.
    #[error(transparent)]
    Raft(#[from] raft_core::config::ConfigError),
    /// More than a frame between servers holds.
    #[error("{0} must be at most {1} bytes, since a frame between servers must hold it")]
    TooLarge(&'static str, usize),
    /// A number that does not make sense.
    #[error("{0} must be from {1} to {2}")]
    OutOfRange(&'static str, u64, u64),
    /// A bound that allows nothing.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// Not an origin.
    #[error(
        "`{0}` is no web origin; write scheme://host[:port], for instance http://127.0.0.1:7000"
    )]
    Origin(String),
    /// The secret's file.
    #[error("cannot use the cluster secret in {}: {reason}", path.display())]
    Secret {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}
