//! A disk in memory that fails like a real disk, on command and reproducibly.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The unit in which an interrupted write reaches the disk, in bytes. It is smaller than a record's
/// header, so headers tear, too.
const SECTOR: usize = 16;

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Notified when a stall ends.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    /// The names that programs see.
    names: BTreeMap<PathBuf, usize>,
    /// The names that survive a power failure.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable yet, in order.
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// The maximum size of all files, in bytes; 0 means no limit.
    capacity: u64,
    /// The number of operations with effects so far.
    operations: u64,
    syncs: u64,
    fault: Fault,
    dead: bool,
    stalled: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// The contents that programs see.
    cached: Vec<u8>,
    /// The contents that survive a power failure.
    durable: Vec<u8>,
    /// Writes that are not durable yet, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Extend(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

/// An injected fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The process dies in this operation, counting from 1 after [`MemoryDisk::set_fault`].
    CrashAt(u64),
    /// This sync fails. As on real systems, its data counts as clean afterwards.
    FailSync(u64),
    /// This operation fails with an error and has no effect.
    FailAt(u64),
}

/// What happens to data that is not durable, in a power failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// All of it is lost.
    All,
    /// Nothing is lost, by luck.
    Nothing,
    /// Any part is lost: whole changes, sectors, or everything after some byte.
    Some { seed: u64 },
}

impl MemoryDisk {
    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("no test thread panics with it")
    }

    /// Sets a fault; operations are counted from here.
    pub(crate) fn set_fault(&self, fault: Fault) {
        let mut inner = self.lock_inner();
        (inner.fault, inner.operations, inner.syncs) = (fault, 0, 0);
    }

    /// The number of operations since the fault was set.
    pub(crate) fn operations(&self) -> u64 {
        self.lock_inner().operations
    }

    /// The number of syncs since the fault was set.
    pub(crate) fn syncs(&self) -> u64 {
        self.lock_inner().syncs
    }

    /// Whether an injected crash has happened.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock_inner().dead
    }

    /// Sets the maximum size of all files, in bytes; 0 means no limit.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.lock_inner().capacity = bytes;
    }

    /// The size of all files, in bytes.
    pub(crate) fn used(&self) -> u64 {
        self.lock_inner().used()
    }

    /// Makes every write and sync wait, or lets them continue.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.lock_inner().stalled = stalled;
        self.0.moved.notify_all();
    }

    /// The process dies, but the machine does not: the next process sees all writes.
    pub(crate) fn restart_process(&self) {
        let mut inner = self.lock_inner();
        (inner.dead, inner.fault, inner.locks) = (false, Fault::None, BTreeSet::new());
    }

    /// The machine loses power and restarts.
    pub(crate) fn lose_power(&self, loss: Loss) {
        self.restart_process();
        let mut inner = self.lock_inner();
        let mut dice = Dice::new(match loss {
            Loss::Some { seed } => seed,
            Loss::All | Loss::Nothing => 0,
        });
        for file in &mut inner.files {
            file.lose(loss, &mut dice);
        }
        for change in std::mem::take(&mut inner.unsynced_names) {
            let kept = match loss {
                Loss::All => false,
                Loss::Nothing => true,
                Loss::Some { .. } => dice.below(2) == 0,
            };
            if kept {
                change.apply(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
    }

    /// An independent copy of the disk.
    pub(crate) fn copy(&self) -> Self {
        let inner = self.lock_inner();
        Self(Arc::new(Shared {
            inner: Mutex::new(Inner {
                files: inner.files.clone(),
                names: inner.names.clone(),
                durable_names: inner.durable_names.clone(),
                unsynced_names: inner.unsynced_names.clone(),
                capacity: inner.capacity,
                ..Inner::default()
            }),
            moved: Condvar::new(),
        }))
    }

    /// The names with this ending, in order.
    pub(crate) fn names(&self, end: &str) -> Vec<PathBuf> {
        let inner = self.lock_inner();
        let matching = |path: &&PathBuf| path.to_string_lossy().ends_with(end);
        inner.names.keys().filter(matching).cloned().collect()
    }

    /// The contents of a file.
    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let inner = self.lock_inner();
        inner.files[inner.names[path]].cached.clone()
    }

    /// Creates a file, durably.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.lock_inner();
        let file = inner.files.len();
        inner.files.push(File { cached: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        inner.names.insert(path.to_owned(), file);
        inner.durable_names.insert(path.to_owned(), file);
    }

    /// Removes a file without any program's knowledge.
    pub(crate) fn delete(&self, path: &Path) {
        let mut inner = self.lock_inner();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    /// Changes a file without any program's knowledge.
    pub(crate) fn tamper(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut inner = self.lock_inner();
        let file = inner.names[path];
        change(&mut inner.files[file].cached);
        change(&mut inner.files[file].durable);
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].cached.len() as u64).sum()
    }

    /// Counts an operation. `Ok(true)` means that the process dies in it.
    fn count(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.operations += 1;
        match self.fault {
            Fault::FailAt(at) if at == self.operations => {
                Err(io::Error::other("injected failure of the disk"))
            }
            Fault::CrashAt(at) if at == self.operations => {
                self.dead = true;
                Ok(true)
            }
            Fault::None | Fault::CrashAt(_) | Fault::FailSync(_) | Fault::FailAt(_) => Ok(false),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn grow(&self, file: usize, to: usize) -> io::Result<()> {
        let more = to.saturating_sub(self.files[file].cached.len()) as u64;
        if self.capacity > 0 && self.used() + more > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                bytes.resize(bytes.len().max(offset + data.len()), 0);
                bytes[*offset..offset + data.len()].copy_from_slice(data);
            }
            Self::Extend(length) => bytes.resize(bytes.len().max(*length), 0),
        }
    }

    /// Applies a part of the change.
    fn tear(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let (Self::Write(offset, data), way) = (self, dice.below(4)) else {
            if dice.below(2) == 0 {
                self.apply(bytes);
            }
            return;
        };
        match way {
            0 => {}
            1 => self.apply(bytes),
            2 => {
                let kept = usize::try_from(dice.below(data.len() as u64 + 1)).expect("small");
                Self::Write(*offset, data[..kept].to_vec()).apply(bytes);
            }
            _ => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.below(2) == 0 {
                        Self::Write(offset + number * SECTOR, sector.to_vec()).apply(bytes);
                    }
                }
            }
        }
    }
}

impl File {
    fn lose(&mut self, loss: Loss, dice: &mut Dice) {
        for change in std::mem::take(&mut self.unsynced) {
            match loss {
                Loss::All => {}
                Loss::Nothing => change.apply(&mut self.durable),
                Loss::Some { .. } => change.tear(&mut self.durable, dice),
            }
        }
        self.cached = self.durable.clone();
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

/// Small pseudorandom numbers (SplitMix64); the seed makes a test reproducible.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True with probability 1 / `odds`.
    pub(crate) fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}
