//! Disks that do not contain what was written to them.

use std::path::{Path, PathBuf};

use raft_core::types::LogPosition;

use super::disk::{Dice, Loss, MemoryDisk};
use super::world::{Author, Model, Step, World, open, options, path};
use crate::record::HEADER_BYTES;
use crate::{Opened, StorageError};

/// A disk after a sequence of steps and a power failure, and its contents.
struct Aged {
    disk: MemoryDisk,
    opened: Opened,
}

impl Aged {
    /// `sealed`: whether the log was sealed before.
    fn new(seed: u64, sealed: bool) -> Self {
        let disk = MemoryDisk::default();
        let (_, mut world) = open(&disk).expect("a new directory");
        let mut author = Author::new(seed, &world);
        let mut steps = 0;
        // Continue until there are several segments and snapshots.
        while steps < 40 || disk.names(".log").len() < 3 || disk.names(".snapshot").len() < 2 {
            world.take(&author.step()).expect("the disk works");
            steps += 1;
            assert!(steps < 1000, "a life like this has several segments and snapshots");
        }
        let last = author.plain_write();
        world.take(&Step::Writes(vec![last])).expect("the disk works");
        if sealed {
            world.take(&Step::Seal).expect("the disk works");
        }
        disk.lose_power(Loss::All);
        let (opened, _) = open(&disk.copy()).expect("an intact directory");
        Self { disk, opened }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = self.disk.names(".log");
        files.extend(self.disk.names(".snapshot"));
        files
    }

    /// Opens a copy of the disk with one changed file.
    fn with(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) -> Result<Opened, StorageError> {
        let disk = self.disk.copy();
        disk.tamper(path, change);
        open(&disk).map(|(opened, _)| opened)
    }

    /// Whether a start from a damaged disk finds as much as a start from the intact disk.
    fn lost_nothing(&self, found: &Opened) -> bool {
        let intact = &self.opened.recovered;
        let recovered = &found.recovered;
        let covered = found.snapshot.as_ref().map_or(LogPosition::ZERO, |some| some.meta.last);
        let mut tail = recovered.entries.clone();
        tail.retain(|entry| entry.index > intact.base.index);
        recovered.hard_state == intact.hard_state
            && recovered.commit_index == intact.commit_index
            && tail == intact.entries
            && recovered.base.index <= covered.index
    }
}

/// Guards pitfall 33: damage to a sealed log or a snapshot never loses data silently.
#[test]
fn a_flipped_bit_anywhere_is_harmless_or_an_error() {
    let aged = Aged::new(11, true);
    let mut dice = Dice::new(11);
    let (mut harmless, mut refused, mut made_up) = (0, 0, 0);
    for path in aged.files() {
        for at in 0..aged.disk.bytes(&path).len() {
            let mask = 1 << dice.below(8);
            match aged.with(&path, |bytes| bytes[at] ^= mask) {
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains(&*path.to_string_lossy()), "it names the file: {text}");
                    refused += 1;
                }
                Ok(found) => {
                    assert!(aged.lost_nothing(&found), "byte {at} of {} ^ {mask}", path.display());
                    let older = found.snapshot.map(|some| some.meta.last)
                        != aged.opened.snapshot.as_ref().map(|some| some.meta.last);
                    if older { made_up += 1 } else { harmless += 1 }
                }
            }
        }
    }
    assert!(refused > 1000 && harmless > 100, "{refused} refused, {harmless} harmless");
    assert!(made_up > 100, "an older snapshot and the log stood in {made_up} times");
}

/// Guards the same after a write, before the log is sealed. Only damage to the last record looks
/// like a torn write, and only that record is cut off.
#[test]
fn before_the_seal_only_the_last_record_can_be_cut() {
    let aged = Aged::new(12, false);
    let before = state_before_last_record(&aged);
    let last = aged.disk.names(".log").pop().expect("there are segments");
    let (mut cut, mut refused) = (0, 0);
    for at in 0..aged.disk.bytes(&last).len() {
        match aged.with(&last, |bytes| bytes[at] ^= 0x10) {
            Err(_) => refused += 1,
            Ok(found) if aged.lost_nothing(&found) => {}
            Ok(found) => {
                assert_eq!(Model::of(&found.recovered), before, "byte {at}");
                cut += 1;
            }
        }
    }
    assert!(refused > 100 && cut > 24, "{refused} refused, {cut} cut");
}

/// Overwrites the end of the log with zeros until the result changes.
fn state_before_last_record(aged: &Aged) -> Model {
    let last = aged.disk.names(".log").pop().expect("there are segments");
    let length = aged.disk.bytes(&last).len();
    (0..length)
        .rev()
        .step_by(8)
        .filter_map(|from| aged.with(&last, |bytes| bytes[from..].fill(0)).ok())
        .map(|found| Model::of(&found.recovered))
        .find(|model| *model != Model::of(&aged.opened.recovered))
        .expect("the segment has records")
}

/// Guards the definition of a torn tail: a last record that is torn at any byte is cut off
/// completely, and the cut is reported.
#[test]
fn a_last_record_torn_at_any_byte_is_cut_as_a_whole() {
    let aged = Aged::new(13, false);
    let before = state_before_last_record(&aged);
    let last = aged.disk.names(".log").pop().expect("there are segments");
    let end = aged.disk.bytes(&last).iter().rposition(|byte| *byte != 0).expect("it has records");
    for from in (0..=end).rev() {
        let found = aged.with(&last, |bytes| bytes[from..].fill(0));
        let found = found.expect("a torn tail is no damage");
        assert_eq!(Model::of(&found.recovered), before, "torn at byte {from}");
        let Some(cut) = found.cut else {
            // Nothing of the record is left to cut off.
            assert!(end - from > HEADER_BYTES, "it is {} bytes long", end - from);
            return;
        };
        assert_eq!(cut.path, last);
        assert!(cut.offset < from as u64 && from as u64 >= cut.offset + cut.bytes, "{cut:?}");
    }
    panic!("the last record does not fill the segment");
}

/// Guards against a torn record that is reported at each start, or comes back.
#[test]
fn a_torn_record_is_cut_once() {
    let aged = Aged::new(13, false);
    let last = aged.disk.names(".log").pop().expect("there are segments");
    let end = aged.disk.bytes(&last).iter().rposition(|byte| *byte != 0).expect("it has records");
    let disk = aged.disk.copy();
    disk.tamper(&last, |bytes| bytes[end] ^= 1);
    let (first, world) = open(&disk).expect("a torn tail is no damage");
    assert!(first.cut.is_some());
    drop(world);
    disk.lose_power(Loss::All);
    let (second, _) = open(&disk).expect("a torn tail is no damage");
    assert_eq!((second.cut, second.recovered), (None, first.recovered));
}

/// Guards the zeros after the end of the log: a leftover spare with contents, for instance a head,
/// is not used for a segment.
#[test]
fn a_leftover_spare_with_contents_is_not_used() {
    let disk = MemoryDisk::default();
    let size = usize::try_from(options().segment_bytes).expect("it is small");
    disk.put(&path("spare-1.tmp"), vec![0xff; size]);
    let (_, mut world) = open(&disk).expect("a new directory");
    let mut author = Author::new(2, &world);
    world.take(&Step::Writes(vec![author.plain_write()])).expect("the disk works");
    disk.lose_power(Loss::All);
    let (opened, _) = open(&disk).expect("an intact directory");
    assert_eq!(opened.cut, None);
    world.check(&opened, "after a restart");
}

/// Guards against files that are truncated, overwritten with zeros, or missing.
#[test]
fn a_file_that_is_shorter_or_empty_or_gone_is_harmless_or_an_error() {
    let aged = Aged::new(14, true);
    let last = aged.disk.names(".log").pop().expect("there are segments");
    let end = aged.disk.bytes(&last).iter().rposition(|byte| *byte != 0).expect("it has records");
    let seal = end - HEADER_BYTES;
    for path in aged.files() {
        let length = aged.disk.bytes(&path).len();
        for at in (0..length).step_by(4) {
            let window = at..(at + 64).min(length);
            let damaged = [
                aged.with(&path, |bytes| bytes.truncate(at)),
                aged.with(&path, |bytes| bytes[window.clone()].fill(0)),
                aged.with(&path, |bytes| bytes[window.clone()].fill(0xff)),
                aged.with(&path, |bytes| bytes[at..].fill(0)),
            ];
            // If both the seal and the last record are lost, the storage cannot detect that they
            // existed.
            let excused = [false, at + 64 > seal, at + 64 > seal, true];
            for (found, excused) in damaged.into_iter().zip(excused) {
                let fine = found.map_or(true, |found| aged.lost_nothing(&found));
                assert!(fine || (excused && path == last), "{} at {at}", path.display());
            }
        }
        let disk = aged.disk.copy();
        disk.delete(&path);
        match open(&disk) {
            Ok((found, _)) => assert!(aged.lost_nothing(&found), "without {}", path.display()),
            Err(error) => assert!(error.to_string().contains("Do not delete"), "{error}"),
        }
    }
}

/// Guards against an old record that is taken for a new record, wherever it is found.
#[test]
fn a_record_in_another_place_does_not_count() {
    let aged = Aged::new(15, true);
    let segments = aged.disk.names(".log");
    let (first, last) = (&segments[0], segments.last().expect("there are segments"));
    let end = aged.disk.bytes(last).iter().rposition(|byte| *byte != 0).expect("it has records");
    let end = (end + 1).next_multiple_of(8);
    for source in [first, last] {
        let bytes = aged.disk.bytes(source);
        for from in (0..end.min(bytes.len())).step_by(8) {
            for to in [end, end + 8] {
                let copy = &bytes[from..(from + 200).min(bytes.len())];
                let found = aged.with(last, |bytes| {
                    let room = copy.len().min(bytes.len() - to);
                    bytes[to..to + room].copy_from_slice(&copy[..room]);
                });
                assert!(aged.lost_nothing(&found.expect("what follows the end does not matter")));
            }
        }
    }
    let next = path(&format!("{:020}.log", segments.len() + 1_000));
    let disk = aged.disk.copy();
    disk.put(&next, aged.disk.bytes(last));
    assert!(open(&disk).is_err(), "a segment under another's name");
}

/// Guards the purpose of two snapshots: if the newest is damaged, the older snapshot and the log
/// replace it.
#[test]
fn a_damaged_newest_snapshot_is_made_up_for_by_the_one_before_and_the_log() {
    let aged = Aged::new(16, true);
    let snapshots = aged.disk.names(".snapshot");
    let (older, newest) = (&snapshots[0], &snapshots[1]);
    let disk = aged.disk.copy();
    disk.tamper(newest, flip_the_middle);
    let (found, mut world) = open(&disk).expect("the log reaches back");
    assert!(aged.lost_nothing(&found));
    assert_eq!(found.snapshot.expect("the older").meta.last, found.recovered.base);
    assert_eq!(disk.names(".snapshot"), std::slice::from_ref(older));
    let aside = disk.names(".snapshot.damaged");
    assert_eq!(aside.len(), 1, "the damaged one is kept under another name");
    let mut bytes = aged.disk.bytes(newest);
    flip_the_middle(&mut bytes);
    assert_eq!(disk.bytes(&aside[0]), bytes, "as it was");
    go_on(&disk, &mut world);

    disk.lose_power(Loss::All);
    let disk = aged.disk.copy();
    disk.tamper(newest, flip_the_middle);
    disk.tamper(older, flip_the_middle);
    let text = open(&disk).map(|_| ()).expect_err("nothing is left to start from").to_string();
    assert!(text.contains(&*newest.to_string_lossy()), "{text}");
    assert_eq!(disk.names(".snapshot"), snapshots, "nothing was removed");
}

#[allow(
    clippy::ptr_arg,
    reason = "it is passed as the change of a file, which may be longer after"
)]
fn flip_the_middle(bytes: &mut Vec<u8>) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

fn go_on(disk: &MemoryDisk, world: &mut World) {
    let mut author = Author::new(1, world);
    for _ in 0..100 {
        world.take(&author.step()).expect("the disk works");
    }
    disk.lose_power(Loss::All);
    let (opened, _) = open(disk).expect("an intact directory");
    world.check(&opened, "after the damage");
}

/// Guards a snapshot that came from a leader. Nothing else contains the entries that it covers, so
/// a start from the older snapshot would lose acknowledged data.
#[test]
fn a_damaged_snapshot_beyond_the_log_is_an_error() {
    let disk = MemoryDisk::default();
    let (_, mut world) = open(&disk).expect("a new directory");
    let mut author = Author::new(5, &world);
    world.take(&Step::Writes(vec![author.plain_write()])).expect("the disk works");
    let beyond = LogPosition::new(9, 1000);
    world.take(&Step::Save(beyond)).expect("the disk works");
    let path = disk.names(".snapshot").pop().expect("it was saved");
    disk.tamper(&path, |bytes| bytes[100] ^= 1);
    disk.lose_power(Loss::All);
    let text = open(&disk).map(|_| ()).expect_err("entry 1000 is lost").to_string();
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
}
