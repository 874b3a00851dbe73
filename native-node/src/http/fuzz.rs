//! Fuzz targets for client input: arbitrary bytes are parsed or rejected, and parsed commands are
//! applied to a store.

use hyper::Uri;
use raft_core::kv::{Command, KvStore};

use super::request::{self, ReadOptions, WriteOptions};
use super::txn;

/// The body of a transaction.
pub(crate) fn transaction(input: &[u8]) {
    if let Ok(command) = txn::transaction(input) {
        apply(&command);
    }
}

/// The body of `POST /set`.
pub(crate) fn set(input: &[u8]) {
    if let Ok(command) = request::set_request(input) {
        apply(&command);
    }
}

/// A path with a query.
pub(crate) fn uri(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else { return };
    drop(request::key(&uri, "/kv/"));
    drop(request::query::<ReadOptions>(&uri));
    drop(request::query::<WriteOptions>(&uri));
}

/// Checks that the encoding preserves the command, and applies the command.
fn apply(command: &Command) {
    let decoded = Command::decode(&command.encode()).expect("it was encoded a moment ago");
    assert_eq!(&decoded, command);
    let mut store = KvStore::default();
    store.apply(Command::put("a", "1"));
    store.apply(decoded);
}

/// Bodies of transactions.
pub(crate) fn transaction_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"compare":[{"key":"a","target":{"version":0},"relation":"equal"}],"then":[{"put":{"key":"a","value":"1"}}]}"#,
        r#"{"then":[{"range":{"range":{"start":"","end":null},"limit":10}},{"delete_range":{"start":"a","end":"b"}}],"else":[{"get":{"key":{"hex":"ff"}}}]}"#,
        r#"{"compare":[{"key":"a","target":{"value":null},"relation":"less"}],"else":[{"delete":{"key":"a"}}]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Bodies of `POST /set`.
pub(crate) fn set_seeds() -> Vec<Vec<u8>> {
    [r#"{"key":"a","value":"1"}"#, r#"{"key":{"hex":"00ff"},"value":{"hex":""}}"#]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

pub(crate) fn uri_seeds() -> Vec<Vec<u8>> {
    ["/kv/a%20b?consistency=stale", "/kv/%ff?lease=7&redirect=true", "http://h:1/kv/a"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}
