//! The storage on the operating system's files.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bytes::Bytes;
use raft_core::durable::{HardState, Write};
use raft_core::log::{Entries, Entry, Payload};
use raft_core::types::{LogIndex, NodeId, Term, WriteId};

use crate::{Identity, Opened, Options, Storage, StorageError, StorageEvent};

fn identity() -> Identity {
    Identity { cluster: "test".to_owned(), node: NodeId(1) }
}

fn open(dir: &Path) -> Result<(Opened, Storage, Receiver<StorageEvent>), StorageError> {
    let (sender, events) = mpsc::channel();
    let options = Options {
        segment_bytes: 1 << 16,
        max_batch_bytes: 1 << 13,
        keep_free_bytes: 0,
        ..Options::default()
    };
    let (opened, storage) = Storage::open(dir, identity(), options, move |event| {
        let _ = sender.send(event);
    })?;
    Ok((opened, storage, events))
}

fn write(id: u64) -> Write {
    Write {
        id: WriteId(id),
        hard_state: HardState {
            current_term: Term(1),
            voted_for: Some(NodeId(1)),
            stranger_until: None,
        },
        truncate_from: None,
        compact_to: None,
        entries: Entries::from(vec![Entry {
            index: LogIndex(id),
            term: Term(1),
            payload: Payload::Command(Bytes::from(vec![7; 500])),
        }]),
        commit_index: LogIndex(id - 1),
    }
}

fn wait_for(events: &Receiver<StorageEvent>, wanted: WriteId) {
    loop {
        let event = events.recv_timeout(Duration::from_mins(1)).expect("a report comes");
        assert!(!matches!(event, StorageEvent::Failed { .. }), "{event:?}");
        if matches!(event, StorageEvent::Persisted { id, .. } if id == wanted) {
            return;
        }
    }
}

/// Guards writes on real files, through several segments and a restart.
#[test]
fn what_is_reported_durable_is_found_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b");
    let (opened, storage, events) = open(&path).expect("a new directory");
    assert!(opened.fresh);
    for id in 1..=1000 {
        storage.submit(write(id));
    }
    wait_for(&events, WriteId(1000));
    assert!(storage.usage().log_segments > 5, "{:?}", storage.usage());
    storage.close().expect("nothing failed");

    let (opened, storage, _events) = open(&path).expect("the same directory");
    assert!(!opened.fresh);
    assert_eq!(opened.recovered.entries.len(), 1000);
    assert_eq!(opened.recovered.entries[999], write(1000).entries[0]);
    assert_eq!(opened.recovered.commit_index, LogIndex(999));
    assert_eq!(opened.recovered.hard_state, write(1).hard_state);
    assert_eq!(opened.cut, None);

    let text = open(&path).map(|_| ()).expect_err("it is in use").to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(storage);
    open(&path).expect("it is free again");
}

/// Guards the error messages for paths that cannot be a data directory: each names a remedy.
#[test]
fn a_path_that_cannot_be_a_data_directory_is_refused_in_plain_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").expect("a file");
    for path in [file.clone(), file.join("below")] {
        let text = open(&path).map(|_| ()).expect_err("a file").to_string();
        assert!(text.contains("is a file") && text.contains("--data"), "{text}");
    }
    assert_eq!(std::fs::read(&file).expect("it is still there"), b"precious");
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let text = crate::error::io_error("open", &file)(denied).to_string();
    assert!(text.contains("must belong to the user") && text.contains("chown"), "{text}");
}
