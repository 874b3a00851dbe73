//! Network addresses, written as `host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The maximum length of a DNS name (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A `host:port` pair. A host name is resolved for each new connection, so a server can move to
/// another IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// The error for text that is not an address.
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

    /// The port; 0 asks the operating system for a free port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The IP address, if the host is not a name.
    fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether the address reaches only this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether this is a wildcard address: a server can listen on it, but clients cannot connect to
    /// it.
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// The address at which clients on the same machine reach a server that listens on this
    /// address.
    #[must_use]
    pub fn of_this_machine(&self) -> Self {
        let host = match self.ip() {
            Some(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1",
            Some(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]",
            Some(_) | None => &self.host,
        };
        Self { host: host.to_owned(), port: self.port }
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
        if let Some(inside) = host.strip_prefix('[') {
            let address = inside.strip_suffix(']').map(str::parse::<Ipv6Addr>);
            if !matches!(address, Some(Ok(_))) {
                return Err(error("the text in brackets is not an IPv6 address"));
            }
        } else if host.parse::<Ipv6Addr>().is_ok() {
            return Err(error("an IPv6 address needs brackets"));
        } else if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return Err(error(
                "the host contains an invalid character (write an international name in its DNS \
                 form, which begins with xn--)",
            ));
        } else if host.len() > MAX_HOST_BYTES {
            return Err(error("the host is longer than 253 characters"));
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

    /// Guards health probes and member lists: wildcard addresses are distinguished from reachable
    /// ones.
    #[test]
    fn addresses_know_where_they_lead() {
        let read = |text: &str| text.parse::<Address>().expect("an address");
        for (text, here, loopback, unspecified) in [
            ("0.0.0.0:1", "127.0.0.1:1", false, true),
            ("[::]:1", "[::1]:1", false, true),
            ("127.0.0.1:1", "127.0.0.1:1", true, false),
            ("[::1]:1", "[::1]:1", true, false),
            ("localhost:1", "localhost:1", true, false),
            ("host:1", "host:1", false, false),
        ] {
            let address = read(text);
            assert_eq!(address.of_this_machine(), read(here));
            assert_eq!(
                (address.is_loopback(), address.is_unspecified()),
                (loopback, unspecified),
                "{text}"
            );
        }
    }

    /// Guards the notation, and that each error message names the reason.
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
            ("[::1:80", "brackets"),
            ("[localhost]:80", "brackets"),
            ("[fe80::1%eth0]:80", "brackets"),
            ("ä.example:80", "character"),
            ("a\"b:80", "character"),
            ("a<b:80", "character"),
            ("a%41:80", "character"),
            ("a\\b:80", "character"),
            ("a b:80", "character"),
            ("a\0b:80", "character"),
            ("u:p@host:80", "character"),
            (&format!("{}:80", "a".repeat(254)), "longer"),
            ("[]:80", "brackets"),
        ] {
            let error = bad.parse::<Address>().expect_err(bad).to_string();
            assert!(error.contains(reason), "{bad}: {error}");
            assert!(error.contains("HOST:PORT"), "{error}");
        }
    }
}
