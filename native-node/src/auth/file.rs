//! The file with the hashes of all tokens: a line each, `NAME SCOPE sha256:HEX`.

use std::path::{Path, PathBuf};

use super::{Digest, Grant, Scope, Tokens};

/// The most lines: every request is compared with each of them.
const MOST: usize = 1000;

/// The longest name.
const MAX_NAME_BYTES: usize = 64;

/// A file that cannot be used. Never shows what stands in a line: it may be a token that somebody
/// put there instead of its hash.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens file {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line is not what it should be.
    #[error(
        "line {line} of the tokens file {} {reason}; a line is `NAME SCOPE sha256:HEX`, as \
         `native-node token new` prints it", path.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody could come in.
    #[error(
        "the tokens file {} holds no token, so nobody could come in; make one with \
         `native-node token new --scope admin --name NAME`", path.display()
    )]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// More than every request should be compared with.
    #[error("the tokens file {} holds more than {MOST} tokens", path.display())]
    TooMany {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads the file; as a whole or not at all.
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
        return Err("has not exactly three words");
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

    /// Guards the way from `token new` to the door: what it prints opens it, and nothing else does.
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

    /// Guards the file: a line that is not understood is named and never left out in silence, and
    /// no error repeats what may be a token.
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
