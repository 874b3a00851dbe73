//! Random sequences of steps, compared with the simple model.

use proptest::prelude::*;
use raft_core::types::LogPosition;

use super::disk::{Loss, MemoryDisk};
use super::world::{Author, Step, open};

/// Guards the first snapshot of a cluster: it covers no entry, and is found again.
#[test]
fn a_snapshot_of_the_beginning_is_found_again() {
    let disk = MemoryDisk::default();
    let (_, mut world) = open(&disk).expect("a new directory");
    world.take(&Step::Save(LogPosition::ZERO)).expect("the disk works");
    let mut author = Author::new(6, &world);
    world.take(&Step::Writes(vec![author.plain_write()])).expect("the disk works");
    disk.lose_power(Loss::All);
    let (opened, _) = open(&disk).expect("an intact directory");
    assert!(opened.snapshot.is_some());
    world.check(&opened, "after a restart");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Guards the log as a whole: after any writes and restarts, the contents are the plain
    /// application of all writes.
    #[test]
    fn what_is_read_back_is_what_was_written(
        lives in prop::collection::vec((any::<u64>(), 0_usize..60, any::<bool>()), 1..6)
    ) {
        let disk = MemoryDisk::default();
        let (_, mut world) = open(&disk).expect("a new directory");
        for (seed, steps, power) in lives {
            let mut author = Author::new(seed, &world);
            for _ in 0..steps {
                world.take(&author.step()).expect("the disk works");
            }
            if power {
                disk.lose_power(Loss::All);
            } else {
                disk.restart_process();
            }
            let (opened, next) = open(&disk).expect("an intact directory");
            world.check(&opened, "after a restart");
            world = next;
        }
    }
}
