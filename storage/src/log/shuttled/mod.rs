//! Runs the exchange of segments between threads under shuttle, which tries many thread schedules.
//! Waits have no timeout here, so a lost wake-up becomes a deadlock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use raft_core::types::NodeId;

use super::segment::{self, Segment, SegmentHead};
use super::state::LogState;
use crate::directory::Directory;
use crate::disk::memory::MemoryDisk;
use crate::{Identity, StorageId};

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

#[path = "../spares.rs"]
#[allow(clippy::duplicate_mod, dead_code, reason = "the same file with other primitives")]
mod spares;

use spares::{SpareSource, Spares};

/// How many schedules are tried.
const ORDERS: usize = 300;

const SEGMENT_BYTES: u64 = 1 << 10;

/// How many segments are written.
const SEGMENTS: u64 = 5;

fn directory(disk: &MemoryDisk) -> Directory {
    let identity = Identity { cluster: "test".to_owned(), node: NodeId(1) };
    let (disk, path) = (Arc::new(disk.clone()), PathBuf::from("/data"));
    Directory { disk, path, identity, id: StorageId::default() }
}

/// Acts like the log thread: takes spares, turns them into segments, and retires old segments.
fn write_segments(directory: &Directory, spares: &Spares) {
    let mut old = None;
    for sequence in 1..=SEGMENTS {
        let spare = loop {
            if let Some(spare) = spares.take(0).expect("the disk works") {
                break spare;
            }
        };
        let (capacity, state) = (spare.bytes, LogState::default());
        let head = SegmentHead { sequence, first_record: 1, capacity, state };
        segment::start(directory, spare, head).expect("the disk works").expect("it is there");
        spares.retire(old.replace(Segment::new(sequence, capacity)).into_iter().collect());
    }
}

/// Guards that the log thread never waits for a spare that exists. In every schedule it gets a
/// spare for each segment, all old segments are removed, and both threads end.
#[test]
fn no_order_of_steps_loses_a_segment_or_a_wake_up() {
    let check = || {
        let disk = MemoryDisk::default();
        let directory = directory(&disk);
        let spares = Spares::open(directory.clone(), SEGMENT_BYTES, 0, Duration::from_secs(1), &[]);
        let spares = Arc::new(spares.expect("a new directory"));
        let maker = {
            let spares = Arc::clone(&spares);
            shuttle::thread::spawn(move || {
                spares.run(|_| panic!("the disk is not full")).expect("the disk works");
            })
        };
        let log = {
            let spares = Arc::clone(&spares);
            shuttle::thread::spawn(move || write_segments(&directory, &spares))
        };
        log.join().expect("the log ends");
        spares.finish();
        spares.close();
        maker.join().expect("the thread ends");
        while spares.work().expect("the disk works") != spares::Progress::Idle {}
        assert_eq!(disk.names(".log").len(), 1, "only the last segment is left");
        assert_eq!(disk.names(".tmp").len(), 2, "two spares are ready");
    };
    shuttle::check_random(check, ORDERS);
}
