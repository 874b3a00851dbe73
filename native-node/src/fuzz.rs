//! Every decoder of bytes from outside, as a function for a fuzzer. A decoder must not panic, hang,
//! or use memory out of proportion.
//!
//! `cargo xtask fuzz-decoders` runs them under libFuzzer, which measures coverage. The tests
//! include a short run of random mutations.

use raft_core::codec;
use raft_core::kv::{Command, KvStore};
use raft_core::log::{Entry, Payload};
use raft_core::message::{Body, Message};
use raft_core::types::{LogIndex, LogPosition, NodeId, Term};
use storage::fuzz as storage;

use crate::http::fuzz as http;
use crate::transport::frame;
use crate::transport::handshake::{
    Answer, Challenge, Hello, Lane, Refusal, Verdict, Version, nonce,
};

/// A decoder to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Decodes any bytes.
    pub run: fn(&[u8]),
    /// Valid inputs to start with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// All decoders.
pub const TARGETS: [Target; 10] = [
    target("log", storage::log_records, storage::log_seeds),
    target("log-file", storage::log_file, storage::log_file_seeds),
    target("snapshot", storage::snapshot, storage::snapshot_seeds),
    target("peers", storage::peers, storage::peers_seeds),
    target("frame", peer_frame, frame_seeds),
    target("handshake", handshake, handshake_seeds),
    target("command", command, command_seeds),
    target("transaction", http::transaction, http::transaction_seeds),
    target("set", http::set, http::set_seeds),
    target("uri", http::uri, http::uri_seeds),
];

fn peer_frame(input: &[u8]) {
    if let Ok(messages) = frame::decode(input) {
        let again = frame::decode(&frame::encode(&messages)).expect("it was encoded a moment ago");
        assert_eq!(again, messages);
    }
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let message = |body| Message { from: NodeId(1), to: NodeId(2), seq: 3, term: Term(4), body };
    let payload = Payload::Command(Command::put("key", "value").encode());
    let entries = vec![Entry { index: LogIndex(1), term: Term(1), payload }].into();
    let (prev_log, leader_commit) = (LogPosition::ZERO, LogIndex(0));
    let append = Body::AppendEntries { prev_log, entries, leader_commit, round: 9 };
    let vote = message(Body::RequestVoteReply { granted: true });
    vec![
        frame::encode(std::slice::from_ref(&vote)).to_vec(),
        frame::encode(&[message(append), message(Body::TimeoutNow), vote]).to_vec(),
    ]
}

fn handshake(input: &[u8]) {
    if let Ok(hello) = Hello::decode(input) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    drop(codec::decode::<Challenge>(input));
    drop(codec::decode::<Answer>(input));
    drop(codec::decode::<Verdict>(input));
}

fn handshake_seeds() -> Vec<Vec<u8>> {
    let address = "127.0.0.1:8001".parse().expect("an address");
    let (cluster_id, nonce) = ("fuzz".to_owned(), nonce());
    let (from, to, lane) = (NodeId(1), NodeId(2), Lane::Log);
    let version = Version::NEWEST;
    let (lease, storage, let_in, founded) = (None, None, 0, Some(7));
    let hello = Hello {
        version,
        cluster_id,
        from,
        to,
        lane,
        nonce,
        address,
        lease,
        storage,
        let_in,
        founded,
    };
    vec![
        hello.encode(),
        Hello { version: Version::V3, ..hello }.encode(),
        codec::encode(&Challenge::Prove { nonce, proof: Some(nonce) }),
        codec::encode(&Verdict::Refused(Refusal::Garbage("no".to_owned()))),
        codec::encode(&Answer { proof: Some(nonce) }),
    ]
}

/// Applies a command as it stands in the log: every server applies it, regardless of its author.
fn command(input: &[u8]) {
    let _ = Command::request_of_session(input);
    if let Ok(command) = Command::decode(input) {
        let mut store = KvStore::default();
        store.apply(Command::put("a", "1"));
        store.apply(Command::GrantLease { ttl: 1_000 });
        store.apply(Command::OpenSession { ttl: 1_000 });
        store.apply(command);
        store.digest();
    }
}

fn command_seeds() -> Vec<Vec<u8>> {
    let put = Command::put("a", "2");
    [
        put.clone(),
        put.in_session(3.into(), 1),
        Command::delete("a"),
        Command::AdvanceClock { to: 5_000 },
        Command::GrantLease { ttl: 9_000 },
        Command::OpenSession { ttl: 9_000 },
        Command::Put { key: "tied".into(), value: "1".into(), lease: Some(2.into()) },
    ]
    .map(|command| command.encode().to_vec())
    .to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// One change of the input.
    #[derive(Clone, Debug)]
    enum Mutation {
        Flip(Index, u8),
        Set(Index, u64, usize),
        Cut(Index, Index),
        Repeat(Index, Index),
        Insert(Index, Vec<u8>),
    }

    fn mutation() -> impl Strategy<Value = Mutation> {
        let special = prop_oneof![
            Just(0),
            Just(u64::MAX),
            Just(1 << 63),
            Just(u64::from(u32::MAX)),
            Just(0xfb),
            Just(0xfd),
            any::<u64>()
        ];
        prop_oneof![
            (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, 1 << bit)),
            (any::<Index>(), special, 1_usize..9).prop_map(|(a, b, c)| Mutation::Set(a, b, c)),
            (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Mutation::Cut(a, b)),
            (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Mutation::Repeat(a, b)),
            (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
                .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        ]
    }

    fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
        let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match mutation {
            Mutation::Flip(at, mask) => {
                let at = place(at, bytes);
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= mask);
            }
            Mutation::Set(at, value, length) => {
                let at = place(at, bytes);
                bytes[at..].iter_mut().zip(value.to_le_bytes()).take(length).for_each(
                    |(to, from)| {
                        *to = from;
                    },
                );
            }
            Mutation::Cut(from, to) => {
                let (from, to) = (place(from, bytes), place(to, bytes));
                bytes.drain(from.min(to)..from.max(to));
            }
            Mutation::Repeat(from, to) => {
                let (from, to) = (place(from, bytes), place(to, bytes));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from.max(to)..from.max(to), part);
            }
            Mutation::Insert(at, more) => {
                let at = place(at, bytes);
                bytes.splice(at..at, more);
            }
        }
    }

    /// Guards that `cargo xtask fuzz-decoders` knows every decoder.
    #[test]
    fn the_list_of_the_automation_is_complete() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/src/decoders.rs");
        let text = std::fs::read_to_string(path).expect("the automation lies beside this package");
        for target in TARGETS {
            assert!(text.contains(&format!("\"{}\"", target.name)), "{}", target.name);
        }
    }

    /// Guards that every decoder accepts its seeds; otherwise fuzzing would start from nothing.
    #[test]
    fn every_decoder_takes_its_seeds() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            for seed in &seeds {
                (target.run)(seed);
            }
        }
        for frame in frame_seeds() {
            frame::decode(&frame).expect("a good frame");
        }
        for bytes in command_seeds() {
            Command::decode(&bytes).expect("a good command");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// Guards that no bytes from outside end the program.
        #[test]
        fn no_bytes_from_outside_end_the_program(
            target in 0..TARGETS.len(),
            seed in any::<Index>(),
            mutations in prop::collection::vec(mutation(), 0..8),
        ) {
            let target = TARGETS[target];
            let seeds = (target.seeds)();
            let mut bytes = seeds[seed.index(seeds.len())].clone();
            for mutation in mutations {
                mutate(&mut bytes, mutation);
                bytes.truncate(1 << 14);
            }
            (target.run)(&bytes);
        }
    }
}
