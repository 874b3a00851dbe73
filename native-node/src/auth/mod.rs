//! Authorization: API tokens, each with a scope. The server has only their hashes.
//!
//! A token is 256 random bits, so its plain SHA-256 is as good as a slow password hash. It cannot
//! be guessed, neither from the hash nor over the network. A reader of the file learns no token,
//! and a request costs less than a microsecond.

mod file;
mod token;

use std::fmt;

use subtle::ConstantTimeEq;

pub use file::{TokensError, read};
pub use token::Token;

/// What a token allows; each scope includes the scopes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scope {
    /// Read keys, watches, status, metrics and the trace.
    Read,
    /// Also change keys, leases and sessions.
    Write,
    /// Also manage members, leadership, snapshots, backups and faults.
    Admin,
}

impl Scope {
    /// The name in the tokens file and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// SHA-256 of a token, in words: comparing four words costs a tenth of comparing 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest([u64; 4]);

impl Digest {
    fn new(bytes: [u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self([0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at])))
    }
}

/// A line of the tokens file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The owner's name, for people.
    pub name: String,
    /// What the token allows.
    pub scope: Scope,
    digest: Digest,
}

/// All known tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Grant>);

impl Tokens {
    /// What this token allows, if it is known.
    ///
    /// Compares every token in constant time: the time must not reveal how close a guess was, or
    /// which token it is.
    pub fn find(&self, shown: &[u8]) -> Option<&Grant> {
        let digest = token::digest(shown);
        let mut found = None;
        for grant in &self.0 {
            if bool::from(grant.digest.0.ct_eq(&digest.0)) {
                found = Some(grant);
            }
        }
        found
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
