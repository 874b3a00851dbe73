//! Tests of revisions, digests and byte counts.

use proptest::prelude::*;

use super::*;

/// Guards revisions as clients see them: one per change, recorded for each key.
#[test]
fn revisions_follow_changes() {
    let mut store = KvStore::default();
    let done = |revision, existed| Applied { revision, answer: Answer::Done { existed } };
    assert_eq!(store.apply(Command::put("a", "1")), done(1, false));
    assert_eq!(store.apply(Command::put("b", "1")), done(2, false));
    assert_eq!(store.apply(Command::put("a", "2")), done(3, true));
    let a = store.get(b"a").expect("a was set");
    assert_eq!((a.create_revision, a.mod_revision, a.version), (1, 3, 2));
    assert_eq!(store.apply(Command::delete("a")), done(4, true));
    assert_eq!(store.apply(Command::delete("a")), done(4, false));
    assert!(store.get(b"a").is_none());
}

proptest! {
    /// Guards that the incremental digest and byte count equal those of a rebuilt store.
    #[test]
    fn the_running_digest_equals_one_from_scratch(
        steps in prop::collection::vec((any::<bool>(), 0_u8..8, 0_u8..3), 0..60)
    ) {
        let mut store = KvStore::default();
        for (put, key, value) in steps {
            let key = vec![b'k', key];
            store.apply(if put {
                Command::put(key, vec![value])
            } else {
                Command::delete(key)
            });
        }
        let mut fresh = KvStore { revision: store.revision, ..KvStore::default() };
        for (key, value) in store.iter() {
            fresh.restore(key, value.clone());
        }
        prop_assert_eq!(fresh.digest(), store.digest());
        prop_assert_eq!(fresh.bytes(), store.bytes());
    }
}
