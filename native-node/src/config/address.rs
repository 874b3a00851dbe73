//! Addresses as people write them: `host:port`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A `host:port` pair. The host may be a name; it is looked up each time a connection is made, so
/// that a server may move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an address: {reason}; write HOST:PORT, for instance 127.0.0.1:7001")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl Address {
    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 asks the system for a free one.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Looks up the host.
    pub async fn resolve(&self) -> std::io::Result<SocketAddr> {
        tokio::net::lookup_host(self.to_string()).await?.next().ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::NotFound,
                format!("{} has no address", self.host),
            )
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |reason| AddressError { text: text.to_owned(), reason };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| error("the port is missing"))?;
        let port = port.parse().map_err(|_| error("the port is not a number up to 65535"))?;
        if host.is_empty() {
            return Err(error("the host is missing"));
        }
        if host.chars().any(|character| character.is_whitespace() || "/@?#,=".contains(character)) {
            return Err(error("the host holds a character that no host has"));
        }
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !bracketed {
            return Err(error("an IPv6 address stands in brackets"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    /// Guards the notation, and that each refusal says what is wrong.
    #[test]
    fn addresses_are_read_or_refused_with_the_reason() {
        for good in ["127.0.0.1:7001", "[::1]:80", "node-1.raft.svc:8001"] {
            assert_eq!(good.parse::<Address>().expect("an address").to_string(), good);
        }
        for (bad, reason) in [
            ("127.0.0.1", "port is missing"),
            ("host:70000", "not a number"),
            (":80", "host is missing"),
            ("::1:80", "brackets"),
            ("http://host:80", "character"),
        ] {
            let error = bad.parse::<Address>().expect_err(bad).to_string();
            assert!(error.contains(reason), "{error}");
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
