//! Backups are restored as they were saved, and damage is detected.

use std::path::PathBuf;

use api::members::Members;
use raft_core::codec;
use raft_core::kv::{Command, KvStore, LeaseId, Operation, SessionId, Transaction};
use raft_core::limits::{MAX_KEY_BYTES, MAX_TTL, MAX_VALUE_BYTES, Semantics};
use raft_core::types::NodeId;
use storage::{self, Identity, Storage, StorageError};
use tempfile::TempDir;

use super::*;

/// A state with everything in it: text, bytes, a lease, a session, a large value.
fn state() -> KvStore {
    let mut store = KvStore::default();
    for number in 0..200_u32 {
        store.apply(Command::put(format!("key {number:03}"), vec![b'v'; 100]));
    }
    for command in [
        Command::put(vec![0, 0xff, b'\n'], vec![0, 1, 0xfe]),
        Command::put("large", vec![7; 300 << 10]),
        Command::GrantLease { ttl: 60_000_000 },
        Command::Put { key: "tied".into(), value: "1".into(), lease: Some(LeaseId(1)) },
        Command::OpenSession { ttl: 60_000_000 },
        Command::AdvanceClock { to: 5 },
    ] {
        store.apply(command);
    }
    store
}

struct Sample {
    directory: TempDir,
    bytes: Vec<u8>,
}

impl Sample {
    fn of(store: &KvStore) -> Self {
        let bytes = Encoder::new("old", 2, store.clone()).flat_map(Vec::from).collect();
        Self { directory: tempfile::tempdir().expect("a directory"), bytes }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("backup");
        std::fs::write(&path, bytes).expect("there is room");
        path
    }

    /// Reads these bytes in both ways, which must agree.
    fn read(&self, bytes: &[u8]) -> Result<BackupHead, BackupError> {
        let path = self.file(bytes);
        let checked = check(&path, &mut |_| {});
        let loaded = load(&path, &mut |_| {}).map(|(head, _)| head);
        assert_eq!(checked.is_ok(), loaded.is_ok(), "{checked:?} {loaded:?}");
        checked
    }

    fn restore(&self, cluster: &str) -> Restore {
        let members: Members = "1=a:1/a:2,2=b:1/b:2".parse().expect("two members");
        Restore {
            file: self.file(&self.bytes),
            data: self.directory.path().join("data"),
            id: NodeId(2),
            cluster_id: cluster.to_owned(),
            members,
            reuse_cluster_id: false,
        }
    }
}

/// Guards that a restored state has the same digest, leases and sessions included.
#[test]
fn a_backup_reads_back_as_it_was_written() {
    let (store, mut told) = (state(), 0);
    let sample = Sample::of(&store);
    let (head, read) = load(&sample.file(&sample.bytes), &mut |bytes| told = bytes).expect("whole");
    assert_eq!((head.revision, head.keys, head.digest), (203, 203, store.digest()));
    assert_eq!((head.cluster_id.as_str(), head.node), ("old", 2));
    assert_eq!(read.digest(), store.digest());
    assert_eq!(read.get(&[0, 0xff, b'\n']).map(|it| &it.value[..]), Some(&[0, 1, 0xfe][..]));
    assert!(told > store.bytes(), "progress is told to the last chunk");
    let empty = Sample::of(&KvStore::default());
    assert_eq!(empty.read(&empty.bytes).expect("an empty state is one too").keys, 0);
}

/// Guards the bounds: the largest state of this and the previous release is saved, loaded, restored
/// and opened again. Only an earlier release's longer answer is dropped.
#[test]
fn the_largest_parts_read_back() {
    let mut store = KvStore::under(Semantics::FIRST);
    store.apply(Command::GrantLease { ttl: MAX_TTL });
    store.apply(Command::OpenSession { ttl: MAX_TTL });
    for fill in 0..3 {
        let (key, value) = (vec![fill; MAX_KEY_BYTES].into(), vec![fill; MAX_VALUE_BYTES].into());
        store.apply(Command::Put { key, value, lease: Some(LeaseId(1)) });
    }
    let gets = |count| {
        let key = Bytes::from(vec![0; MAX_KEY_BYTES]);
        let then = vec![Operation::Get { key }; count];
        Command::Transaction(Transaction { then, ..Transaction::default() })
    };
    for (sequence, count) in [(1, 7), (2, 70)] {
        store.apply(gets(count).in_session(SessionId(2), sequence));
        let sample = Sample::of(&store);
        let (_, read) = load(&sample.file(&sample.bytes), &mut |_| {}).expect("whole");
        assert_eq!(read.digest(), store.digest());
        let restore = sample.restore("new");
        restore.run(&mut |_| {}).expect("a good backup");
        let identity = Identity { cluster: "new".to_owned(), node: NodeId(2) };
        let options = storage::Options::default();
        let (opened, _storage) =
            Storage::open(&restore.data, identity, options, |_| {}).expect("it is whole");
        assert_eq!(opened.snapshot.expect("a state").store.digest(), store.digest());
    }
}

/// Guards against silent loss: a file with any changed byte is rejected. The test changes every
/// byte outside of the values, and some bytes in them.
#[test]
fn a_flipped_byte_is_never_overlooked() {
    let sample = Sample::of(&state());
    let length = sample.bytes.len();
    let edges = (0..600).chain(length - 300..length);
    for at in edges.chain((600..length - 300).step_by(9_973)) {
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= 0x10;
        sample.read(&bytes).expect_err(&format!("byte {at} of {length}"));
    }
}

/// Guards against an interrupted copy: a shorter or longer file is rejected, with the reason.
#[test]
fn a_cut_or_longer_file_is_refused() {
    let sample = Sample::of(&state());
    let length = sample.bytes.len();
    for end in (1..120).chain([length / 2, length - 30, length - 1]) {
        let error = sample.read(&sample.bytes[..end]).expect_err("its end is missing");
        assert!(matches!(error, BackupError::Truncated { .. }), "{end}: {error}");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
    let longer = [&sample.bytes[..], b"x"].concat();
    let error = sample.read(&longer).expect_err("something follows").to_string();
    assert!(error.contains("after its end"), "{error}");
}

/// Guards chains: parts of two backups do not make a valid backup.
#[test]
fn parts_of_another_backup_do_not_fit() {
    let (mut other, pieces) = (state(), |store: &KvStore| -> Vec<Bytes> {
        Encoder::new("old", 2, store.clone()).collect()
    });
    let mine = pieces(&other);
    other.apply(Command::put("key 000", vec![b'w'; 100]));
    let theirs = pieces(&other);
    assert!(mine.len() == theirs.len() && mine.len() >= 4);
    let mixed: Vec<u8> =
        mine.iter().take(2).chain(theirs.iter().skip(2)).flat_map(|it| it.to_vec()).collect();
    let sample = Sample::of(&KvStore::default());
    assert!(matches!(sample.read(&mixed), Err(BackupError::Damaged { .. })));
    let mut without: Vec<Bytes> = mine;
    without.remove(2);
    assert!(matches!(sample.read(&without.concat()), Err(BackupError::Damaged { .. })));
}

/// Guards the messages: a wrong file and a later format are reported as such.
#[test]
fn other_files_and_versions_are_told_apart() {
    let sample = Sample::of(&KvStore::default());
    for wrong in [&b""[..], b"GIF89a", b"GLRAFTSN and so on and so on"] {
        assert!(matches!(sample.read(wrong), Err(BackupError::NotABackup { .. })));
    }
    let later = encode::prefix(LAYOUT_VERSION + 1, codec::FORMAT_VERSION);
    let error = sample.read(&later).expect_err("a later format");
    assert!(matches!(error, BackupError::OtherVersion { .. }), "{error}");
    let missing = check(&sample.directory.path().join("none"), &mut |_| {});
    assert!(matches!(missing, Err(BackupError::Io { action: "open", .. })), "{missing:?}");
}

/// Guards what a restored server starts from: the state, as a voter of the new cluster, at a
/// position that no empty server has.
#[test]
fn a_restored_directory_is_a_founders_with_the_state() {
    let store = state();
    let sample = Sample::of(&store);
    let restore = sample.restore("new");
    let done = restore.run(&mut |_| {}).expect("a good backup");
    assert_eq!((done.backup.revision, done.revision), (203, 203));
    let identity = Identity { cluster: "new".to_owned(), node: NodeId(2) };
    let options = storage::Options::default();
    let (opened, _storage) =
        Storage::open(&restore.data, identity, options, |_| {}).expect("it is whole");
    let snapshot = opened.snapshot.expect("there is a state");
    assert_eq!(snapshot.store.digest(), store.digest());
    assert_eq!(snapshot.meta.last, opened.recovered.base);
    assert!(snapshot.meta.last.index.0 > 0);
    assert_eq!(snapshot.meta.membership, restore.members.membership());
    assert_eq!(opened.recovered.hard_state.current_term, snapshot.meta.last.term);
    assert_eq!(opened.recovered.hard_state.stranger_until, None);
    let error = restore.run(&mut |_| {}).expect_err("the directory is not empty any more");
    assert!(matches!(error, RestoreError::Storage(StorageError::NotEmpty { .. })), "{error}");
}

/// Guards the directory: a bad backup, a wrong name or a wrong list leaves nothing on disk.
#[test]
fn nothing_is_written_before_everything_is_checked() {
    let sample = Sample::of(&state());
    let untouched = |restore: &Restore| assert!(!restore.data.exists());
    let same = sample.restore("old");
    assert!(matches!(same.run(&mut |_| {}), Err(RestoreError::SameCluster { .. })));
    untouched(&same);
    let stranger = Restore { id: NodeId(3), ..sample.restore("new") };
    assert!(matches!(stranger.run(&mut |_| {}), Err(RestoreError::NotAMember(_))));
    untouched(&stranger);
    let bad = sample.restore("new");
    sample.file(&sample.bytes[..sample.bytes.len() - 1]);
    assert!(matches!(bad.run(&mut |_| {}), Err(RestoreError::Backup(_))));
    untouched(&bad);
    let reused = Restore { reuse_cluster_id: true, ..sample.restore("old") };
    reused.run(&mut |_| {}).expect("it was asked for");
}

/// Guards against half a state: the directory of an interrupted restore is rejected, and the
/// restore can be repeated.
#[test]
fn an_unfinished_restore_is_refused_and_can_be_repeated() {
    let sample = Sample::of(&state());
    let restore = sample.restore("new");
    let identity = || Identity { cluster: "new".to_owned(), node: NodeId(2) };
    std::fs::create_dir(&restore.data).expect("a directory");
    for name in ["restore.tmp", "snapshot.tmp", "00000000000000000001.log"] {
        std::fs::write(restore.data.join(name), b"half").expect("there is room");
    }
    let opened = Storage::open(&restore.data, identity(), storage::Options::default(), |_| {});
    let error = opened.map(|_| ()).expect_err("a restore is under way").to_string();
    assert!(error.contains("glassraft restore"), "{error}");
    restore.run(&mut |_| {}).expect("again");
    let opened = Storage::open(&restore.data, identity(), storage::Options::default(), |_| {});
    assert!(opened.expect("it is whole").0.snapshot.is_some());
}
