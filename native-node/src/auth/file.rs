//! The tokens file, with the hashes of all API tokens: a line each, `NAME SCOPE sha256:HEX`.

use std::path::{Path, PathBuf};

use super::{Digest, Grant, Scope, Tokens};

/// The maximum number of tokens: every request is compared with each token.
const MOST: usize = 1000;

/// The longest name.
const MAX_NAME_BYTES: usize = 64;

/// The tokens file cannot be used. The error never quotes a line, which may contain a token instead
/// of its hash.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read the tokens file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A line is invalid.
    #[error(
        "line {line} of the tokens file {} {reason}; a line is `NAME SCOPE sha256:HEX`, as \
         `glassraft token new` prints it", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line number, from 1 on.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file contains no token, so every request would be rejected.
    #[error(
        "the tokens file {} contains no token, so every request would be rejected; create a token \
         with `glassraft token new --scope admin --name NAME`", path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file contains too many tokens.
    #[error("the tokens file {} contains more than {MOST} tokens", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the whole file, or fails.
pub fn read(path: &Path) -> Result<Tokens, TokensError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| TokensError::Unreadable { path: path.to_owned(), error })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Tokens, TokensError> {
    let mut grants: Vec<Grant> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong =
            |reason| TokensError::Malformed { path: path.to_owned(), line: number + 1, reason };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let grant = parse_line(line).map_err(wrong)?;
        if grants.iter().any(|other| other.digest == grant.digest) {
            return Err(wrong("repeats the token of another line"));
        }
        grants.push(grant);
    }
    match grants.len() {
        0 => Err(TokensError::Empty { path: path.to_owned() }),
        1..=MOST => Ok(Tokens(grants)),
        _ => Err(TokensError::TooMany { path: path.to_owned() }),
    }
}

fn parse_line(line: &str) -> Result<Grant, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(scope), Some(hash), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("does not have exactly three words");
    };
    if name.len() > MAX_NAME_BYTES {
        return Err("has a name of more than 64 bytes");
    }
    let scope = match scope {
        "read" => Scope::Read,
        "write" => Scope::Write,
        "admin" => Scope::Admin,
        _ => return Err("has a scope that is neither read, write nor admin"),
    };
    let digits = hash.strip_prefix("sha256:").ok_or("has no hash after `sha256:`")?;
    let digest = from_hex(digits).ok_or("has a hash that is not 64 hexadecimal digits")?;
    Ok(Grant { name: name.to_owned(), scope, digest })
}

fn from_hex(digits: &str) -> Option<Digest> {
    let mut digest = [0_u8; 32];
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(Digest::new(digest))
}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;

    /// Guards that the line of `token new` authorizes its token, and no other.
    #[test]
    fn the_printed_line_lets_its_token_in_and_no_other() {
        let [app, root] = [(); 2].map(|()| Token::generate().expect("random bytes"));
        let lines =
            [app.line("app", Scope::Write), root.line("root", Scope::Admin)].join("\n\n# more\n");
        let tokens = parse(Path::new("tokens"), &lines).expect(&lines);
        assert_eq!(tokens.len(), 2);
        let found = |shown: &str| tokens.find(shown.as_bytes()).map(|it| (&*it.name, it.scope));
        assert_eq!(found(app.reveal()), Some(("app", Scope::Write)));
        assert_eq!(found(root.reveal()), Some(("root", Scope::Admin)));
        let hash = lines.split("sha256:").nth(1).expect("a hash");
        for wrong in ["", "glr_", &app.reveal()[1..], &format!("{} ", app.reveal()), &hash[..64]] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        assert!(!lines.contains(app.reveal()) && !format!("{app:?}").contains(app.reveal()));
    }

    /// Guards that an invalid line is reported and never skipped, and that no error quotes what may
    /// be a token.
    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        let token = Token::generate().expect("random bytes");
        let good = token.line("app", Scope::Read);
        for (bad, words) in [
            (format!("app read {}", token.reveal()), "sha256:"),
            (format!("app root sha256:{}", "0".repeat(64)), "neither read"),
            (format!("app read sha256:{}", "0".repeat(63)), "64 hexadecimal"),
            (format!("app read sha256:{}", "é".repeat(32)), "64 hexadecimal"),
            (format!("{} read", token.reveal()), "three words"),
            (format!("{} read sha256:{}", "n".repeat(65), "0".repeat(64)), "64 bytes"),
            (good.clone(), "repeats"),
        ] {
            let text = format!("{good}\n{bad}\n");
            let error = parse(Path::new("/tokens"), &text).expect_err(words).to_string();
            assert!(error.contains("line 2") && error.contains(words), "{error}");
            assert!(error.contains("/tokens") && error.contains("token new"), "{error}");
            assert!(!error.contains(token.reveal()), "{error}");
        }
        assert!(matches!(parse(Path::new("t"), "# none\n"), Err(TokensError::Empty { .. })));
        let many = (0..=MOST).map(|number| format!("app read sha256:{number:064x}\n"));
        let many = many.collect::<Vec<_>>().concat();
        assert!(matches!(parse(Path::new("t"), &many), Err(TokensError::TooMany { .. })));
    }
}
