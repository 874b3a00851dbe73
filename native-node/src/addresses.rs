//! Where the servers of the cluster are found.
//!
//! The founders stand on every server's command line. Whoever is added later is entered in a book
//! that is replicated as a value of the store, under a key that clients cannot use: so it is in the
//! log before the configuration that needs it, in every snapshot, and the same on all servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use raft_core::kv::{Command, Expected, KeyRange, KvStore};
use raft_core::types::NodeId;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{Member, Members};

/// Keys from here on are the cluster's own. No text has such bytes, and numbers have to be very
/// large; FoundationDB draws the line in about the same place.
const RESERVED: &[u8] = b"\xff\xff";

/// Where the book is kept.
const BOOK: &[u8] = b"\xff\xffmembers";

/// Whether a key is one of those that clients cannot use.
pub fn is_reserved(key: &[u8]) -> bool {
    key >= RESERVED
}

/// The part of a range that is the clients'.
#[must_use]
pub fn without_reserved(range: KeyRange) -> KeyRange {
    let KeyRange { start, end } = range;
    let line = Bytes::from_static(RESERVED);
    let end = Some(end.map_or_else(|| line.clone(), |end| end.min(line.clone())));
    KeyRange { start, end }
}

/// All addresses as this server knows them, readable from anywhere.
#[derive(Clone, Debug)]
pub struct Addresses(Arc<ArcSwap<Book>>);

impl Addresses {
    /// Those of the command line.
    pub fn new(founders: Members) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Book { members: founders, ..Book::default() })))
    }

    /// Where a server is found.
    pub fn get(&self, id: NodeId) -> Option<Member> {
        self.0.load().members.get(id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Members {
        self.0.load().members.clone()
    }

    /// When a server was last let in, as far as this server has applied the book; 0 for founders.
    pub fn let_in(&self, id: NodeId) -> u64 {
        self.0.load().let_in.get(&id).copied().unwrap_or_default()
    }

    /// How many of the store's keys are the cluster's own.
    pub fn own_keys(&self) -> u64 {
        u64::from(self.0.load().revision > 0)
    }

    pub(crate) fn set(&self, book: Book) {
        self.0.store(Arc::new(book));
    }
}

/// The book as a state holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Who stands in it.
    #[serde(deserialize_with = "readable")]
    pub members: Members,
    /// For who was let in since the founding: a number that grows each time. Who is let in again
    /// may come with another data directory than before ([`crate::storage::KnownPeers`]).
    #[serde(default)]
    pub let_in: BTreeMap<NodeId, u64>,
    /// The revision of its last change; 0 when there is none yet.
    #[serde(skip)]
    pub revision: u64,
}

/// Those members whose addresses this release takes for some. One that was entered by another
/// release must not hide the others.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
    let mut all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    all.retain(|id, member| match serde_json::from_value::<Member>(member.clone()) {
        Ok(_) => true,
        Err(error) => {
            tracing::error!("server {id} cannot be found, add it anew with its addresses: {error}");
            false
        }
    });
    serde_json::from_value(all.into_iter().collect()).or_else(|error| {
        tracing::error!("the members' addresses are not readable: {error}");
        Ok(Members::default())
    })
}

impl Book {
    /// The revision of the last change, for telling cheaply whether there was one.
    pub fn revision_in(store: &KvStore) -> u64 {
        store.get(BOOK).map_or(0, |found| found.mod_revision)
    }

    /// Reads it.
    pub fn of(store: &KvStore) -> Self {
        let Some(found) = store.get(BOOK) else { return Self::default() };
        let book: Self = serde_json::from_slice(&found.value).unwrap_or_else(|error| {
            // Only this program writes it.
            tracing::error!("the book of addresses is not readable: {error}");
            Self::default()
        });
        Self { revision: found.mod_revision, ..book }
    }

    /// The same with these members, one of whom may be about to be let in.
    #[must_use]
    pub fn with(&self, members: Members, newcomer: Option<NodeId>) -> Self {
        let mut let_in = self.let_in.clone();
        let_in.extend(newcomer.map(|id| (id, self.revision + 1)));
        Self { members, let_in, revision: self.revision }
    }

    /// The command that forgets it, for a state that goes on in another cluster.
    pub fn removal() -> Command {
        Command::delete(Bytes::from_static(BOOK))
    }

    /// The command that puts this in place of what it was made from, if nobody else has changed
    /// that meanwhile.
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

    /// Guards the book against two changes at once: the second has to look again.
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
        // Let in once more, it may come with another data directory.
        let again = book.with(more, Some(NodeId(2)));
        assert!(again.let_in[&NodeId(2)] > book.let_in[&NodeId(2)]);
    }

    /// Guards a cluster in whose book an address stands that is none any more: the other servers
    /// are found, and the one is added anew.
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

    /// Guards the book against clients: no key and no range of theirs reaches it.
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
