//! An API token: created once, shown once, and kept only by its owner.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{Digest, Scope};

/// The prefix of all tokens, by which people and scanners of source code recognize a token.
const PREFIX: &str = "glr_";

/// The secret of an API token.
pub struct Token(String);

impl Token {
    /// Creates a token of 256 random bits.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        Ok(Self(format!("{PREFIX}{}", hex(random))))
    }

    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The line for the tokens file, which contains no secret.
    pub fn line(&self, name: &str, scope: Scope) -> String {
        format!("{name} {scope} sha256:{}", hex(hash(self.0.as_bytes())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

pub(super) fn digest(token: &[u8]) -> Digest {
    Digest::new(hash(token))
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}
