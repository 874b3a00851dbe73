//! The bytes of the handshake between servers in each protocol version: servers of two releases
//! exchange these messages before they know each other's versions.
//!
//! Each line of `data/handshake.txt` is a message of one protocol version. The first release wrote
//! those of 3.2. No line may change: a changed message needs a new protocol version.

use std::fmt::Write as _;

use api::address::Address;
use native_node::transport::LeaseTerms;
use native_node::transport::handshake::{
    Answer, Challenge, Hello, Lane, Refusal, Secret, Side, Verdict, Version,
};
use raft_core::codec;
use raft_core::types::NodeId;
use serde::Serialize;
use storage::StorageId;

const KNOWN: &str = include_str!("../data/handshake.txt");

/// Collects a line for each message.
struct Lines {
    version: String,
    text: String,
}

impl Lines {
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        write!(self.text, "{}/{name} ", self.version).unwrap();
        for byte in bytes {
            write!(self.text, "{byte:02x}").unwrap();
        }
        self.text.push('\n');
    }

    fn word<T: Serialize>(&mut self, name: &str, word: &T) {
        self.bytes(name, &codec::encode(word));
    }
}

/// The refusals in both protocol versions.
fn refusals() -> Vec<Refusal> {
    let (garbage, theirs, ours) = ("garbage".to_owned(), "9.9".to_owned(), "3.2".to_owned());
    let (from, wanted, actual) = (NodeId(300), NodeId(2), NodeId(3));
    vec![
        Refusal::Garbage(garbage.clone()),
        Refusal::Version { theirs: theirs.clone(), ours },
        Refusal::Cluster { from, theirs },
        Refusal::WrongServer { from, wanted, actual },
        Refusal::SameNumber(from),
        Refusal::Lease(from),
        Refusal::OtherStorage(from),
        Refusal::Proof(from),
        Refusal::Busy,
        Refusal::Slow,
        Refusal::Tls(garbage),
        Refusal::Certificate(from),
    ]
}

fn words(version: Version) -> String {
    let (protocol, format) = version.numbers();
    let mut lines = Lines { version: format!("{protocol}.{format}"), text: String::new() };
    let address: Address = "node-1.raft.example:8001".parse().unwrap();
    // As on disk and on the wire; only decoding creates a known storage ID.
    let storage: StorageId = codec::decode(&codec::encode(&0x0123_4567_89ab_cdef_u64)).unwrap();
    let lease = LeaseTerms { election_timeout_min: 150_000, max_clock_drift_permille: 100 };
    let carried = Lane::ALL.into_iter().filter(|lane| version.has(*lane));
    let hellos = carried.map(|lane| Hello {
        version,
        cluster_id: "golden".to_owned(),
        from: NodeId(300),
        to: NodeId(2),
        lane,
        nonce: [7; 32],
        address: address.clone(),
        lease: (lane == Lane::Snapshot).then_some(lease),
        storage: (lane == Lane::Log).then_some(storage),
        let_in: 70_000,
        founded: (lane == Lane::Snapshot && version > Version::V3).then_some(300),
    });
    let secret = Secret::new(Some(b"the golden secret"));
    for hello in hellos {
        let name = format!("{:?}", hello.lane).to_lowercase();
        let bytes = hello.encode();
        assert_eq!(Hello::decode(&bytes), Ok(hello.clone()), "what was written can be read");
        lines.bytes(&format!("hello/{name}"), &bytes);
        for side in [Side::Dialer, Side::Acceptor] {
            let proof = secret.prove(side, &hello, &[9; 32]).unwrap();
            lines.bytes(&format!("proof/{name}/{side:?}"), &proof);
        }
    }
    for (name, proof) in [("proved", Some([8; 32])), ("open", None)] {
        lines.word(&format!("challenge/{name}"), &Challenge::Prove { nonce: [9; 32], proof });
        lines.word(&format!("answer/{name}"), &Answer { proof });
    }
    lines.word("verdict/welcome", &Verdict::Welcome);
    let mut refusals = refusals();
    if version > Version::V3 {
        refusals.extend([Refusal::Origin, Refusal::Request("path".to_owned())]);
        refusals.push(Refusal::Founding { from: NodeId(300), theirs: 7, ours: 8 });
    }
    for refusal in refusals {
        let code = refusal.code();
        lines.word(&format!("challenge/{code}"), &Challenge::Refused(refusal.clone()));
        lines.word(&format!("verdict/{code}"), &Verdict::Refused(refusal));
    }
    lines.text
}

/// Guards the handshake between two releases: each protocol version encodes every message to
/// exactly these bytes, and each proof is the same. If this test fails, the change needs a new
/// protocol version.
#[test]
fn the_words_of_the_handshake_are_what_their_number_says() {
    let now = words(Version::V3) + &words(Version::V4);
    for (now, known) in now.lines().zip(KNOWN.lines()) {
        assert_eq!(now, known, "name and bytes");
    }
    assert_eq!(now.lines().count(), KNOWN.lines().count());
}
