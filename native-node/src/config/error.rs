//! Invalid settings; each error message names a remedy.

use std::path::PathBuf;

use api::address::Address;
use api::members::Members;
use raft_core::types::NodeId;

/// Settings with which a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file is not readable.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// The configuration file is invalid.
    #[error("the configuration file {} is invalid: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The position and the reason.
        error: Box<toml::de::Error>,
    },
    /// A setting without a default is missing.
    #[error(
        "{what} is missing: give --{flag}, set {variable}, or write `{key} = …` in the \
         configuration file; `glassraft serve --help` shows an example"
    )]
    Missing {
        /// A description of the setting.
        what: &'static str,
        /// The flag.
        flag: &'static str,
        /// The environment variable.
        variable: &'static str,
        /// The key in the file.
        key: &'static str,
    },
    /// This server is not among the members.
    #[error("server {} is not among the members {members}; add it to --members or correct --id", id.0)]
    NotAMember {
        /// This server's id.
        id: NodeId,
        /// The members.
        members: Members,
    },
    /// The cluster's name has an invalid length or invalid characters.
    #[error(
        "`{0}` cannot be a cluster name: use 1 to 64 letters, digits, dots, dashes or underscores"
    )]
    ClusterId(String),
    /// Other machines could connect as clients without authentication.
    #[error(
        "{0} is not a loopback address, and clients would need no token. Listen on 127.0.0.1, or \
         require tokens with --tokens-file. If everybody who can reach the address may read and \
         write everything, give --insecure-bind"
    )]
    Exposed(Address),
    /// Other machines could connect as servers without authentication.
    #[error(
        "{0} is not a loopback address, and servers would not authenticate each other. Listen on \
         127.0.0.1, or give all servers certificates (--peer-tls-cert) or a secret \
         (--cluster-secret-file). `openssl rand -hex 32` creates a secret"
    )]
    PeersExposed(Address),
    /// Clients on other machines could inject faults.
    #[error(
        "--allow-faults lets clients break this server, so it works only on loopback. Listen for \
         clients on 127.0.0.1 instead of {0}, or remove --allow-faults"
    )]
    FaultsExposed(Address),
    /// Clients on other machines would send tokens without encryption.
    #[error(
        "{0} is not a loopback address, and tokens and values would be sent to it in the clear. \
         Give --tls-cert, --tls-key and --tls-ca; `glassraft cert` creates certificates for tests. \
         If another layer encrypts, give --insecure-bind"
    )]
    InTheClear(Address),
    /// Some of three files that belong together are missing.
    #[error("{0} belong together: give all three or none")]
    Incomplete(&'static str),
    /// The list of members is invalid.
    #[error(transparent)]
    Members(#[from] api::members::MembersError),
    /// The Raft settings are invalid.
    #[error(transparent)]
    Raft(#[from] raft_core::config::ConfigError),
    /// The size is above the maximum size of a frame between servers.
    #[error("{0} must be at most {1} bytes, to fit into a frame between servers")]
    TooLarge(&'static str, usize),
    /// The number is out of range.
    #[error("{0} must be from {1} to {2}")]
    OutOfRange(&'static str, u64, u64),
    /// A limit is 0.
    #[error("{0} must be greater than zero")]
    Zero(&'static str),
    /// The text is not a web origin.
    #[error(
        "`{0}` is not a web origin; write scheme://host[:port], for instance http://127.0.0.1:7000"
    )]
    Origin(String),
    /// The file with the cluster secret cannot be used.
    #[error("cannot use the cluster secret in {}: {reason}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}
