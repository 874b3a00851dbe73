//! Crashes of every kind at every operation.

use super::disk::{Dice, Fault, Loss, MemoryDisk};
use super::world::{Author, World, open, path};

/// What happens to the machine when the process dies.
#[derive(Clone, Copy, Debug)]
enum After {
    /// Nothing: the next process sees all writes, synced or not.
    KeepsRunning,
    /// The machine loses power.
    LosesPower(Loss),
}

impl After {
    fn happen(self, disk: &MemoryDisk) {
        match self {
            Self::KeepsRunning => disk.restart_process(),
            Self::LosesPower(loss) => disk.lose_power(loss),
        }
    }
}

const WAYS: [After; 6] = [
    After::KeepsRunning,
    After::LosesPower(Loss::All),
    After::LosesPower(Loss::Nothing),
    After::LosesPower(Loss::Some { seed: 1 }),
    After::LosesPower(Loss::Some { seed: 2 }),
    After::LosesPower(Loss::Some { seed: 3 }),
];

/// Takes `steps` steps, or fewer if the disk fails.
fn live(world: &mut World, author: &mut Author, steps: usize) {
    for _ in 0..steps {
        if world.take(&author.step()).is_err() {
            return;
        }
    }
}

/// Runs a world with a crash at operation `at`; returns false if it ended before.
fn live_and_crash(seed: u64, at: u64, after: After) -> bool {
    let context = format!("seed {seed}, crash at operation {at}, the machine {after:?}");
    let disk = MemoryDisk::default();
    let (_, mut before) = open(&disk).expect("a new directory");
    let mut author = Author::new(seed, &before);
    disk.set_fault(Fault::CrashAt(at));
    live(&mut before, &mut author, 60);
    let crashed = disk.is_dead();
    after.happen(&disk);

    // The result of this start must persist, even if power is lost immediately afterwards.
    let (opened, world) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    before.check(&opened, &context);
    drop(world);
    disk.lose_power(Loss::All);
    let (again, mut world) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(again.recovered, opened.recovered, "{context}: power lost after the restart");

    // The storage continues from there.
    let mut author = Author::new(seed + 1, &world);
    live(&mut world, &mut author, 5);
    disk.lose_power(Loss::All);
    let (opened, _world) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    world.check(&opened, &context);
    crashed
}

/// Guards the test below: a run uses several segments, snapshots and compactions, so crashes happen
/// in each of them.
fn assert_eventful(seed: u64) {
    let disk = MemoryDisk::default();
    let (_, mut world) = open(&disk).expect("a new directory");
    let mut author = Author::new(seed, &world);
    live(&mut world, &mut author, 60);
    let (segments, snapshots) = (disk.names(".log"), disk.names(".snapshot"));
    let first = path(&format!("{:020}.log", 1));
    assert!(!segments.contains(&first), "segments were made and removed: {segments:?}");
    assert_eq!(snapshots.len(), 2, "snapshots were saved");
}

/// Guards pitfalls 2, 3, 27 and 31: a restart finds everything that was acknowledged before a
/// crash, and nothing that was never written. There is no gap between snapshot and log.
#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    for seed in 0..3 {
        assert_eventful(seed);
        for after in WAYS {
            let mut at = 1;
            while live_and_crash(seed, at, after) {
                at += 1;
            }
            assert!(at > 200, "the life of seed {seed} is long enough to mean something: {at}");
        }
    }
}

/// Guards recovery: it can be interrupted at any point, repeatedly, and the storage continues.
#[test]
fn many_crashes_in_a_row_also_in_recovery_lose_nothing() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let disk = MemoryDisk::default();
        let (_, mut world) = open(&disk).expect("a new directory");
        for life in 0..8 {
            let context = format!("seed {seed}, life {life}");
            let mut author = Author::new(dice.below(1 << 32), &world);
            disk.set_fault(Fault::CrashAt(1 + dice.below(120)));
            live(&mut world, &mut author, 40);
            let before = world;
            lose_power_somehow(&disk, &mut dice);
            for interrupted in 1..4 {
                disk.set_fault(Fault::CrashAt(interrupted));
                drop(open(&disk));
                lose_power_somehow(&disk, &mut dice);
            }
            let (opened, after) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            before.check(&opened, &context);
            world = after;
        }
    }
}

fn lose_power_somehow(disk: &MemoryDisk, dice: &mut Dice) {
    match dice.below(4) {
        0 => disk.restart_process(),
        1 => disk.lose_power(Loss::All),
        _ => disk.lose_power(Loss::Some { seed: dice.below(1 << 32) }),
    }
}

/// Guards pitfall 30. The operating system shows the next process data that a failed sync did not
/// write, and calls it clean; the process must not trust it.
#[test]
fn after_a_failed_sync_a_restart_trusts_nothing_that_is_not_on_the_disk() {
    for seed in 0..20 {
        for sync in 1.. {
            let context = format!("seed {seed}, failing sync {sync}");
            let disk = MemoryDisk::default();
            let (_, mut world) = open(&disk).expect("a new directory");
            disk.set_fault(Fault::FailSync(sync));
            let mut author = Author::new(seed, &world);
            live(&mut world, &mut author, 40);
            if disk.syncs() < sync {
                break;
            }
            disk.restart_process();
            let (opened, again) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            world.check(&opened, &context);
            drop(again);
            disk.lose_power(Loss::All);
            let (at_last, _) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(at_last.recovered, opened.recovered, "{context}");
        }
    }
}

/// Guards against losing data when any single operation fails.
#[test]
fn an_error_of_any_single_operation_loses_nothing() {
    for at in 1.. {
        let disk = MemoryDisk::default();
        let (_, mut world) = open(&disk).expect("a new directory");
        disk.set_fault(Fault::FailAt(at));
        let mut author = Author::new(4, &world);
        live(&mut world, &mut author, 60);
        if disk.operations() < at {
            break;
        }
        disk.lose_power(Loss::Some { seed: at });
        let (opened, _) = open(&disk).expect("the disk works again");
        world.check(&opened, &format!("failing operation {at}"));
    }
}
