//! The handshake in which two servers authenticate each other before the first message.
//!
//! ```text
//! dialer                                         acceptor
//!   | -- Hello {version, cluster, ids, nonce} ----> |
//!   | <---- Challenge {nonce, proof} or Refused --- |
//!   | -- Answer {proof} --------------------------> |
//!   | <---- Welcome or Refused -------------------- |
//! ```
//!
//! A proof is an HMAC-SHA256 with the cluster secret over both nonces, both ids, the lane, the
//! cluster and the proving side. The secret is never sent, a recorded handshake cannot be replayed,
//! and one side's proof is useless to the other side. Mutual TLS ([`crate::tls`]) encrypts the
//! handshake, and the certificate must name the sender of Hello. The proof is then a second check
//! for clusters that also have a secret.
//!
//! The first Hello uses the newest protocol. A dialer that is refused for its version retries with
//! the previous version ([`super::version`]). A proof covers the Hello as sent, including its
//! version, so an attacker in between cannot change the version of a successful handshake. A forged
//! refusal leads to the older protocol. On such a connection heartbeats may wait behind entries, as
//! in that release.

use api::address::Address;
use hmac::{Hmac, KeyInit, Mac};
use raft_core::codec;
pub use raft_core::message::Lane;
use raft_core::types::{Micros, NodeId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use storage::StorageId;

pub use super::version::{PROTOCOL_VERSION, Version};

/// The first bytes of a Hello, before everything whose layout may change.
const MAGIC: [u8; 4] = *b"GLSR";

/// A random number that is used once.
pub type Nonce = [u8; 32];

/// A proof that its sender knows the cluster secret.
pub type Proof = [u8; 32];

/// The dialer's first message, after magic and versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version of this connection, encoded before the other fields.
    #[serde(skip)]
    pub version: Version,
    /// The name of the dialer's cluster.
    pub cluster_id: String,
    /// The dialer's ID.
    pub from: NodeId,
    /// The ID of the server that it wants to reach.
    pub to: NodeId,
    /// The lane of this connection.
    pub lane: Lane,
    /// The dialer's nonce.
    pub nonce: Nonce,
    /// The dialer's address, which the other side may not know yet.
    pub address: Address,
    /// The dialer's lease settings; `None` without lease reads.
    pub lease: Option<LeaseTerms>,
    /// The ID of its data directory; `None` if the directory was empty and holds no promises.
    pub storage: Option<StorageId>,
    /// The number of its last addition, as far as it knows ([`crate::addresses::Book::let_in`]).
    pub let_in: u64,
    /// The digest of the state with which it founded the cluster; `None` if it did not found it.
    /// The first release's Hello lacks this field.
    #[serde(skip)]
    pub founded: Option<u64>,
}

/// What a leader's lease assumes of the voters. It is valid only if all servers agree on these
/// values (dissertation §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTerms {
    /// The minimum time for which voters reject candidates after they hear from a leader, in µs.
    pub election_timeout_min: Micros,
    /// The maximum difference between the rates of two clocks, in thousandths.
    pub max_clock_drift_permille: u64,
}

/// The acceptor's answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// The acceptor's proof; the dialer answers with its own. Without a secret there is none.
    Prove {
        /// The acceptor's nonce.
        nonce: Nonce,
        /// The acceptor's proof.
        proof: Option<Proof>,
    },
    /// The acceptor refuses and the connection ends.
    Refused(Refusal),
}

/// The dialer's answer to [`Challenge::Prove`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The dialer's proof; `None` without a secret.
    pub proof: Option<Proof>,
}

/// The acceptor's last message of the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Messages may follow.
    Welcome,
    /// The acceptor refuses and the connection ends.
    Refused(Refusal),
}

/// Why a connection between servers was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The other side does not speak this protocol, or the connection broke.
    #[error("the other side does not speak this protocol ({})", .0.escape_debug())]
    Garbage(String),
    /// The other side does not speak this protocol version.
    #[error(
        "protocol {} does not fit protocol {} of the other side. Run the same release on all \
         servers, or two consecutive releases during an upgrade",
        theirs.escape_debug(), ours.escape_debug()
    )]
    Version {
        /// Protocol and format of the refused side.
        theirs: String,
        /// Protocols and formats of the refusing side.
        ours: String,
    },
    /// The dialer belongs to another cluster.
    #[error(
        "server {} belongs to cluster `{}`, but the other side does not; compare --cluster-id",
        from.0, theirs.escape_debug()
    )]
    Cluster {
        /// The dialer.
        from: NodeId,
        /// Its cluster.
        theirs: String,
    },
    /// The dialer reached another server: two servers have the same ID, or an address is wrong.
    #[error(
        "server {} wanted server {}, but reached server {}; compare the addresses in --members",
        from.0, wanted.0, actual.0
    )]
    WrongServer {
        /// The dialer.
        from: NodeId,
        /// The server that it wanted to reach.
        wanted: NodeId,
        /// The server that answered.
        actual: NodeId,
    },
    /// The dialer has the acceptor's ID, or an ID that no server may have.
    #[error("two servers have the id {}; give each server its own --id", .0.0)]
    SameNumber(NodeId),
    /// The lease settings of the two servers differ.
    #[error(
        "server {} has other lease settings. Give all servers the same --lease-reads, \
         --max-clock-drift-permille and --election-timeout-min. Stop all servers before you change \
         these settings", .0.0
    )]
    Lease(NodeId),
    /// The dialer lost its promises and does not know it.
    #[error(
        "server {} has another data directory than before. It lost its log and its vote, and must \
         not vote. Start it with an empty --data directory and without --new-cluster. Then remove \
         it (`glassraft member remove {}`), and add it again \
         (`glassraft member add {}=PEER/CLIENT`)", .0.0, .0.0, .0.0
    )]
    OtherStorage(NodeId),
    /// The proof is missing or wrong.
    #[error(
        "server {} did not prove that it knows the cluster secret; give all servers the same \
         --cluster-secret-file", .0.0
    )]
    Proof(NodeId),
    /// The server cannot take the connection now; the dialer retries.
    #[error("too many connections are waiting for their handshake")]
    Busy,
    /// The handshake took too long.
    #[error("the handshake was not finished in time")]
    Slow,
    /// The TLS handshake failed.
    #[error(
        "no certificate of this cluster was shown ({}). With --peer-tls-cert all servers need \
         certificates that the same authority signed", .0.escape_debug()
    )]
    Tls(String),
    /// The certificate does not name the dialer.
    #[error(
        "the certificate does not name server {}; give each server its own certificate, with the \
         DNS name node-{}.CLUSTER", .0.0, .0.0
    )]
    Certificate(NodeId),
    /// The request came from a web page.
    #[error("this address is for servers of the cluster; no web page may use it")]
    Origin,
    /// The HTTP request differs from that of a server.
    #[error("this address is for servers of the cluster: {}", .0.escape_debug())]
    Request(String),
    /// Two servers founded the cluster with different states.
    #[error(
        "server {} began this cluster with another state ({theirs:016x}) than the other side \
         ({ours:016x}). They were restored from different backups, or only one server was \
         restored. Stop the initial servers, and restore them all from one backup into empty \
         directories", from.0
    )]
    Founding {
        /// The dialer.
        from: NodeId,
        /// The digest of its first state.
        theirs: u64,
        /// The digest of the refusing side's first state.
        ours: u64,
    },
}

impl Refusal {
    /// A short, stable name, for metrics.
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
    /// Encodes magic, versions and the Hello.
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

    /// Checks magic and versions before it decodes the rest, whose layout depends on them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let garbage = |what: &str| Refusal::Garbage(what.to_owned());
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| garbage("wrong first bytes"))?;
        let (versions, rest) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| garbage("its version numbers are cut off"))?;
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

/// The side of a connection that sends a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that opened the connection.
    Dialer,
    /// The side that accepted the connection.
    Acceptor,
}

/// The secret that all servers of a cluster share, if any. It creates and checks proofs.
#[derive(Clone)]
pub struct Secret(Option<Hmac<Sha256>>);

impl Secret {
    /// Creates the secret from its bytes; `None` for a cluster without a secret.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    pub fn new(secret: Option<&[u8]>) -> Self {
        Self(secret.map(|key| Hmac::new_from_slice(key).expect("HMAC takes keys of any length")))
    }

    /// Creates a side's proof for one handshake; `None` without a secret.
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
        // The encoded Hello contains versions, cluster, ids, lane and the dialer's nonce. It is
        // unambiguous because every field has a length.
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

/// Creates a random nonce.
///
/// # Panics
/// If the system provides no random bytes: no connection would be safe without them.
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

    /// Guards the checks before the proof: other programs and other versions are refused.
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

    /// Guards the secret: a proof is valid for only one side of one handshake.
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
