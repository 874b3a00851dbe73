//! How two servers make sure of each other before the first message.
//!
//! ```text
//! dialer                                         acceptor
//!   | -- Hello {version, cluster, ids, nonce} ----> |
//!   | <---- Challenge {nonce, proof} or Refused --- |
//!   | -- Answer {proof} --------------------------> |
//!   | <---- Welcome or Refused -------------------- |
//! ```
//!
//! A proof is an HMAC-SHA256 under the cluster's secret over both nonces, both ids, the lane, the
//! cluster and the side that proves. So the secret is never sent, a recorded handshake cannot be
//! replayed, and one side's proof is no use to the other. With mutual TLS ([`crate::tls`]) all of it
//! is encrypted, and the certificate must name whoever says Hello; the proof is then one more lock
//! for clusters that have a secret too.
//!
//! The first Hello is of the newest protocol. Who is refused for its version comes again with the one
//! before ([`super::version`]). A proof covers the Hello as it was sent, with its version, so that
//! nobody in between can change that of a handshake that succeeds. A forged refusal leads to the older
//! protocol, and to a connection on which heartbeats may wait behind entries, as in that release.

use hmac::{Hmac, KeyInit, Mac};
use raft_core::codec;
pub use raft_core::message::Lane;
use raft_core::types::{Micros, NodeId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use super::version::{PROTOCOL_VERSION, Version};
use crate::config::Address;
use crate::storage::StorageId;

/// The first bytes of a connection, before anything whose layout may change.
const MAGIC: [u8; 4] = *b"GLSR";

/// A number used once.
pub type Nonce = [u8; 32];

/// A proof that its sender knows the secret.
pub type Proof = [u8; 32];

/// The dialer's first words, after magic and versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol that it speaks here: the numbers before the rest.
    #[serde(skip)]
    pub version: Version,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// Who it is.
    pub from: NodeId,
    /// Whom it wants.
    pub to: NodeId,
    /// What it will send.
    pub lane: Lane,
    /// Its nonce.
    pub nonce: Nonce,
    /// Where it is found: the other side may not know it yet.
    pub address: Address,
    /// What leases to read by rest on, where they are switched on.
    pub lease: Option<LeaseTerms>,
    /// Its data directory; `None` for one that was empty and promises nothing.
    pub storage: Option<StorageId>,
    /// When it was last let in, as far as it knows ([`crate::addresses::Book::let_in`]).
    pub let_in: u64,
    /// The digest of the state with which it founded the cluster; `None` when it did not. Not in the
    /// Hello of the first release.
    #[serde(skip)]
    pub founded: Option<u64>,
}

/// What a leader's lease assumes of the voters; it holds only if all servers agree on it
/// (dissertation §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// For how long at least voters refuse candidates after they heard of a leader, in µs.
    pub election_timeout_min: Micros,
    /// By how many thousandths the rates of two clocks may differ.
    pub max_clock_drift_permille: u64,
}

/// The acceptor's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// "Here is my proof, now yours." Without a secret there is no proof.
    Prove {
        /// Its nonce.
        nonce: Nonce,
        /// Its proof.
        proof: Option<Proof>,
    },
    /// The connection ends.
    Refused(Refusal),
}

/// The dialer's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Without a secret there is no proof.
    pub proof: Option<Proof>,
}

/// The acceptor's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Messages may follow.
    Welcome,
    /// The connection ends.
    Refused(Refusal),
}

/// Why a connection between servers was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not a server of this program.
    #[error("the other side does not speak this protocol ({})", .0.escape_debug())]
    Garbage(String),
    /// Another version of the program.
    #[error(
        "protocol {} does not fit protocol {} of the other side; run the same release on all servers, \
         or during an upgrade the one and the next",
        theirs.escape_debug(), ours.escape_debug()
    )]
    Version {
        /// Protocol and format of the side that was refused.
        theirs: String,
        /// Protocol and format of the side that refuses.
        ours: String,
    },
    /// A server of another cluster.
    #[error(
        "server {} belongs to cluster `{}`, not to that of the other side; compare --cluster-id",
        from.0, theirs.escape_debug()
    )]
    Cluster {
        /// Who asked.
        from: NodeId,
        /// Its cluster.
        theirs: String,
    },
    /// Two servers claim the same number, or an address is wrong.
    #[error(
        "server {} wanted server {}, but this is server {}; compare the peer addresses in --members",
        from.0, wanted.0, actual.0
    )]
    WrongServer {
        /// Who asked.
        from: NodeId,
        /// Whom it wanted.
        wanted: NodeId,
        /// Who answered.
        actual: NodeId,
    },
    /// A number that two servers claim, or that no server may have.
    #[error("two servers have the number {}; give each a number of its own with --id", .0.0)]
    SameNumber(NodeId),
    /// Leases that rest on other times.
    #[error(
        "server {} reads by other leases; give all servers the same --lease-reads, \
         --max-clock-drift-permille and --election-timeout-min: end all of them before you change \
         these", .0.0
    )]
    Lease(NodeId),
    /// It has lost what it promised, and does not know it.
    #[error(
        "server {} comes with another data directory than it was known by: it has lost what it \
         promised, and must not vote. Start it with an empty --data directory and without \
         --new-cluster, take it out (`native-node member remove {}`) and let it in again \
         (`native-node member add {}=PEER/CLIENT`)", .0.0, .0.0, .0.0
    )]
    OtherStorage(NodeId),
    /// No proof, or a wrong one.
    #[error(
        "server {} did not prove that it knows the cluster secret; give all servers the same \
         --cluster-secret-file", .0.0
    )]
    Proof(NodeId),
    /// Too many connections wait for their handshake.
    #[error("too many connections are waiting for their handshake")]
    Busy,
    /// The handshake took too long.
    #[error("the handshake was not finished in time")]
    Slow,
    /// No encrypted connection came about.
    #[error(
        "no certificate of this cluster was shown ({}); with --peer-tls-cert all servers need one \
         that the same authority signed", .0.escape_debug()
    )]
    Tls(String),
    /// A certificate of another server.
    #[error(
        "the certificate does not name server {}; give each server one of its own, with the DNS \
         name node-{}.CLUSTER", .0.0, .0.0
    )]
    Certificate(NodeId),
    /// A page in a browser.
    #[error("this address is for servers of the cluster; no web page may use it")]
    Origin,
    /// Not the request for a WebSocket that servers make.
    #[error("this address is for servers of the cluster: {}", .0.escape_debug())]
    Request(String),
    /// Two servers founded the cluster with different states.
    #[error(
        "server {} began this cluster with another state ({theirs:016x}) than the other side \
         ({ours:016x}): both were restored from different backups, or only one of them was. Stop the \
         founding servers, and restore all of them from one backup file into empty directories", from.0
    )]
    Founding {
        /// Who asked.
        from: NodeId,
        /// The digest of its first state.
        theirs: u64,
        /// The digest of the first state of the side that refuses.
        ours: u64,
    },
}

impl Refusal {
    /// A short name that does not change, for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Garbage(_) => "garbage",
            Self::Version { .. } => "version",
            Self::Cluster { .. } => "cluster",
            Self::WrongServer { .. } => "wrong_server",
            Self::SameNumber(_) => "same_number",
            Self::Lease(_) => "lease",
            Self::OtherStorage(_) => "other_storage",
            Self::Proof(_) => "proof",
            Self::Busy => "busy",
            Self::Slow => "slow",
            Self::Tls(_) => "tls",
            Self::Certificate(_) => "certificate",
            Self::Origin => "origin",
            Self::Request(_) => "request",
            Self::Founding { .. } => "founding",
        }
    }
}

impl Hello {
    /// With magic and versions before it.
    pub fn encode(&self) -> Vec<u8> {
        let (protocol, format) = self.version.numbers();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(protocol.to_le_bytes());
        bytes.extend(format.to_le_bytes());
        match self.version {
            Version::V3 => codec::encode_into(self, &mut bytes),
            Version::V4 => codec::encode_into(&(self, self.founded), &mut bytes),
        }
        bytes
    }

    /// Checks magic and versions before it trusts the rest to have the expected layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let garbage = |what: &str| Refusal::Garbage(what.to_owned());
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| garbage("wrong first bytes"))?;
        let (versions, rest) =
            rest.split_first_chunk::<4>().ok_or_else(|| garbage("cut off in the versions"))?;
        let [p0, p1, f0, f1] = *versions;
        let theirs = (u16::from_le_bytes([p0, p1]), u16::from_le_bytes([f0, f1]));
        let version = Version::of(theirs).ok_or_else(|| Refusal::Version {
            theirs: Version::words(theirs),
            ours: Version::range(),
        })?;
        let read = match version {
            Version::V3 => codec::decode(rest).map(|hello| (hello, None)),
            Version::V4 => codec::decode::<(Self, _)>(rest),
        };
        let (hello, founded) = read.map_err(|error| garbage(&error.to_string()))?;
        if !version.has(hello.lane) {
            return Err(garbage("a lane that its protocol does not have"));
        }
        Ok(Self { version, founded, ..hello })
    }
}

/// The side of a connection that proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It opened the connection.
    Dialer,
    /// It accepted the connection.
    Acceptor,
}

/// What proofs are made with: the secret that all servers of a cluster share, if it has one.
#[derive(Clone)]
pub struct Secret(Option<Hmac<Sha256>>);

impl Secret {
    /// From its bytes; `None` for a cluster without one.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    pub fn new(secret: Option<&[u8]>) -> Self {
        Self(secret.map(|key| Hmac::new_from_slice(key).expect("HMAC takes keys of any length")))
    }

    /// Proves knowledge of the secret for one handshake.
    pub fn prove(&self, side: Side, hello: &Hello, acceptor: &Nonce) -> Option<Proof> {
        self.mac(side, hello, acceptor).map(|mac| mac.finalize().into_bytes().into())
    }

    /// Checks the other side's proof, in constant time.
    pub fn accepts(
        &self,
        side: Side,
        hello: &Hello,
        acceptor: &Nonce,
        proof: Option<&Proof>,
    ) -> bool {
        match (self.mac(side, hello, acceptor), proof) {
            (None, None) => true,
            (Some(mac), Some(proof)) => mac.verify_slice(proof).is_ok(),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    fn mac(&self, side: Side, hello: &Hello, acceptor: &Nonce) -> Option<Hmac<Sha256>> {
        let mut mac = self.0.clone()?;
        mac.update(match side {
            Side::Dialer => b"glassraft dialer\0",
            Side::Acceptor => b"glassraft accept\0",
        });
        // The encoded Hello holds versions, cluster, ids, lane and the dialer's nonce, and cannot
        // be read in two ways, since every field has a length.
        let hello = hello.encode();
        mac.update(&(hello.len() as u64).to_le_bytes());
        mac.update(&hello);
        mac.update(acceptor);
        Some(mac)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Secret(set)" } else { "Secret(none)" })
    }
}

/// A fresh nonce.
///
/// # Panics
/// When the system gives no random bytes, without which no connection would be safe.
pub fn nonce() -> Nonce {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            version: Version::NEWEST,
            cluster_id: "demo".to_owned(),
            from: NodeId(1),
            to: NodeId(2),
            lane: Lane::Log,
            nonce: nonce(),
            address: "127.0.0.1:8001".parse().expect("an address"),
            lease: None,
            storage: None,
            let_in: 0,
            founded: None,
        }
    }

    /// Guards the doors before the secret: other programs and other versions.
    #[test]
    fn a_hello_of_another_program_or_version_is_refused() {
        let hello = hello();
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
        for garbage in [&b""[..], b"GET / HTTP/1.1\r\n", b"GLSR", b"GLSR\x01\x00\x01"] {
            let refusal = Hello::decode(garbage).expect_err("garbage");
            assert_eq!(refusal.code(), "garbage");
        }
        let mut newer = hello.encode();
        newer[4] = 9;
        let refusal = Hello::decode(&newer).expect_err("another version");
        assert_eq!(refusal.code(), "version");
        let words = format!("protocol 9.{} does not fit", codec::FORMAT_VERSION);
        assert!(refusal.to_string().contains(&words), "{refusal}");
        let mut longer = hello.encode();
        longer.push(0);
        assert_eq!(Hello::decode(&longer).expect_err("left over").code(), "garbage");
    }

    /// Guards the secret: a proof holds for one side of one handshake and no other.
    #[test]
    fn a_proof_fits_one_side_of_one_handshake() {
        let secret = Secret::new(Some(b"correct horse battery"));
        let (hello, acceptor) = (hello(), nonce());
        let proof = secret.prove(Side::Dialer, &hello, &acceptor).expect("a proof");
        let accepts = |side, hello: &Hello, acceptor: &Nonce| {
            secret.accepts(side, hello, acceptor, Some(&proof))
        };
        assert!(accepts(Side::Dialer, &hello, &acceptor));
        assert!(!accepts(Side::Acceptor, &hello, &acceptor), "reflected");
        assert!(!accepts(Side::Dialer, &hello, &nonce()), "replayed to another nonce");
        let other = Hello { from: NodeId(3), ..hello.clone() };
        assert!(!accepts(Side::Dialer, &other, &acceptor), "used for another server");
        assert!(!secret.accepts(Side::Dialer, &hello, &acceptor, None), "left out");
        let wrong = Secret::new(Some(b"another secret entirely"));
        assert!(!wrong.accepts(Side::Dialer, &hello, &acceptor, Some(&proof)));
        assert!(!Secret::new(None).accepts(Side::Dialer, &hello, &acceptor, Some(&proof)));
        assert!(Secret::new(None).accepts(Side::Dialer, &hello, &acceptor, None));
    }
}
