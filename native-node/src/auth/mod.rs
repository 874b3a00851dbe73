//! Who may do what: bearer tokens, each with a scope, of which only hashes are kept.
//!
//! A token is 256 random bits, so its bare SHA-256 is as good as a slow password hash: there is
//! nothing to guess, neither from the hash nor over the network. Whoever reads the file learns no
//! token, and a request costs less than a microsecond.

mod file;
mod token;

use std::fmt;

use subtle::ConstantTimeEq;

pub use file::{TokensError, read};
pub use token::Token;

/// What a token allows; each scope includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Scope {
    /// Keys, watches, status, metrics and the trace: to look at.
    Read,
    /// To change keys, leases and sessions too.
    Write,
    /// Members, leadership, snapshots, backups and faults too.
    Admin,
}

impl Scope {
    /// As it stands in the file and in answers.
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

/// SHA-256 of a token, in words: to compare four of them costs a tenth of 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest([u64; 4]);

impl Digest {
    fn new(bytes: [u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self([0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at])))
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose it is, for people.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    digest: Digest,
}

/// All tokens that open the door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Grant>);

impl Tokens {
    /// What somebody who shows this may do, if it is one of the tokens.
    ///
    /// Looks at every one, each in constant time, so that the time tells nothing of how near a
    /// guess was nor of which token it is.
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

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
