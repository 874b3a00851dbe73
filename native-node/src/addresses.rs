//! The addresses of the cluster's servers.
//!
//! The command line lists the founders. An address book, replicated as a value of the store under a
//! key that clients cannot use, lists the servers that are added later. It is therefore in the log
//! before the configuration that needs it, in every snapshot, and the same on all servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::members::{Member, Members};
use arc_swap::ArcSwap;
use bytes::Bytes;
use raft_core::kv::{Command, Expected, KeyRange, KvStore};
use raft_core::types::NodeId;
use serde::{Deserialize, Deserializer, Serialize};

/// Keys from here on belong to the cluster. No text contains such bytes, and numbers have to be
/// very large; FoundationDB sets the limit in about the same place.
const RESERVED: &[u8] = b"\xff\xff";

/// The key of the address book.
const BOOK: &[u8] = b"\xff\xffmembers";

/// Whether a key is reserved for the cluster; clients cannot use it.
pub fn is_reserved(key: &[u8]) -> bool {
    key >= RESERVED
}

/// The part of a range that clients may use.
#[must_use]
pub fn without_reserved(range: KeyRange) -> KeyRange {
    let KeyRange { start, end } = range;
    let line = Bytes::from_static(RESERVED);
    let end = Some(end.map_or_else(|| line.clone(), |end| end.min(line.clone())));
    KeyRange { start, end }
}

/// All addresses that this server knows, readable from any task.
#[derive(Clone, Debug)]
pub struct Addresses(Arc<ArcSwap<Book>>);

impl Addresses {
    /// Starts with the members from the command line.
    pub fn new(founders: Members) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Book { members: founders, ..Book::default() })))
    }

    /// The addresses of a server.
    pub fn get(&self, id: NodeId) -> Option<Member> {
        self.0.load().members.get(id).cloned()
    }

    /// The addresses of all servers.
    pub fn all(&self) -> Members {
        self.0.load().members.clone()
    }

    /// The number of a server's last addition in the applied book; 0 for founders.
    pub fn let_in(&self, id: NodeId) -> u64 {
        self.0.load().let_in.get(&id).copied().unwrap_or_default()
    }

    /// How many of the store's keys belong to the cluster.
    pub fn own_keys(&self) -> u64 {
        u64::from(self.0.load().revision > 0)
    }

    pub(crate) fn set(&self, book: Book) {
        self.0.store(Arc::new(book));
    }
}

/// The address book as the state holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The servers in the book.
    #[serde(deserialize_with = "readable")]
    pub members: Members,
    /// For servers added after the founding: a number that grows with each addition. A server that
    /// is added again may have another data directory than before ([`storage::KnownPeers`]).
    #[serde(default)]
    pub let_in: BTreeMap<NodeId, u64>,
    /// The revision of the book's last change; 0 before the first change.
    #[serde(skip)]
    pub revision: u64,
}

/// Keeps only members whose addresses this release can read. An entry from another release must not
/// hide the others.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
    let mut all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    all.retain(|id, member| match serde_json::from_value::<Member>(member.clone()) {
        Ok(_) => true,
        Err(error) => {
            tracing::error!("the addresses of server {id} are not readable, add it again: {error}");
            false
        }
    });
    serde_json::from_value(all.into_iter().collect()).or_else(|error| {
        tracing::error!("the members' addresses are not readable: {error}");
        Ok(Members::default())
    })
}

impl Book {
    /// The revision of the book's last change, to detect changes cheaply.
    pub fn revision_in(store: &KvStore) -> u64 {
        store.get(BOOK).map_or(0, |found| found.mod_revision)
    }

    /// Reads the book from the store.
    pub fn of(store: &KvStore) -> Self {
        let Some(found) = store.get(BOOK) else { return Self::default() };
        let book: Self = serde_json::from_slice(&found.value).unwrap_or_else(|error| {
            // Only this program writes the book.
            tracing::error!("the address book is not readable: {error}");
            Self::default()
        });
        Self { revision: found.mod_revision, ..book }
    }

    /// The book with these members. `newcomer` is the member that is about to be added, if any.
    #[must_use]
    pub fn with(&self, members: Members, newcomer: Option<NodeId>) -> Self {
        let mut let_in = self.let_in.clone();
        let_in.extend(newcomer.map(|id| (id, self.revision + 1)));
        Self { members, let_in, revision: self.revision }
    }

    /// The command that deletes the book, for a state that continues in another cluster.
    pub fn removal() -> Command {
        Command::delete(Bytes::from_static(BOOK))
    }

    /// The command that stores this book, if the book has not changed since it was read.
    pub fn replace(&self) -> Command {
        let expected = match self.revision {
            0 => Expected::Absent,
            revision => Expected::Revision(revision),
        };
        let value = serde_json::to_vec(self).expect("addresses have a JSON form");
        Command::compare_and_set(Bytes::from_static(BOOK), expected, value)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::kv::Answer;

    use super::*;

    /// Guards the book against two concurrent changes: the second fails and must be retried.
    #[test]
    fn a_change_of_an_older_book_does_not_take() {
        let mut store = KvStore::default();
        let empty = Book::of(&store);
        assert_eq!((empty.revision, Book::revision_in(&store)), (0, 0));
        let members: Members = "1=a:1/a:2".parse().expect("a member");
        let compared = |answer| matches!(answer, Answer::Compared { succeeded: true, .. });
        assert!(compared(store.apply(empty.with(members.clone(), None).replace()).answer));
        assert!(!compared(store.apply(empty.replace()).answer));
        let book = Book::of(&store);
        assert_eq!((book.members.clone(), book.revision), (members, 1));
        let second: Members = "2=b:1/b:2".parse().expect("a member");
        let second = second.get(NodeId(2)).expect("it").clone();
        let more = book.members.with(NodeId(2), second).expect("free addresses");
        assert!(compared(store.apply(book.with(more.clone(), Some(NodeId(2))).replace()).answer));
        let book = Book::of(&store);
        assert_eq!(book.members, more);
        // When it is added again, it may have another data directory.
        let again = book.with(more, Some(NodeId(2)));
        assert!(again.let_in[&NodeId(2)] > book.let_in[&NodeId(2)]);
    }

    /// Guards a cluster whose book contains an unusable address: the other servers are found, and
    /// that server can be added again.
    #[test]
    fn an_unusable_address_hides_no_other() {
        let mut store = KvStore::default();
        let book = r#"{"members":{"1":{"peer":"a:1","client":"a:2"},
            "2":{"peer":"b:1","client":"\u00e4.example:2"}},"let_in":{"2":1}}"#;
        store.apply(Command::put(BOOK, book));
        let read = Book::of(&store);
        assert_eq!(read.members.to_string(), "1=a:1/a:2");
        assert_eq!((read.let_in[&NodeId(2)], read.revision), (1, 1));
        store.apply(Command::put(BOOK, r#"{"members":{"2":{"peer":"b:1","client":"<:2"}}}"#));
        assert_eq!(Book::of(&store).members, Members::default());
    }

    /// Guards the book against clients: none of their keys and ranges reaches it.
    #[test]
    fn clients_keys_end_before_the_book() {
        assert!(is_reserved(BOOK) && !is_reserved(b"\xff") && !is_reserved(b"z"));
        for range in [KeyRange::all(), KeyRange::prefix("\u{7f}"), KeyRange::prefix(vec![0xff; 2])]
        {
            assert!(!without_reserved(range).contains(BOOK));
        }
        let inner = KeyRange::prefix("a");
        assert_eq!(without_reserved(inner.clone()), inner);
    }
}
