//! A disk in memory that fails in every way a real one can, on command and repeatably.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::storage::disk::{Disk, DiskFile, Lock, LockGuard};

/// The unit in which an interrupted write reaches this disk: smaller than a record's header, so
/// that headers tear, too.
const SECTOR: usize = 16;

/// The disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Told when a stall ends.
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What a loss of power leaves.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not durable yet, in order.
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// How many bytes fit; 0 for any number.
    capacity: u64,
    /// Operations that change something, so far.
    operations: u64,
    syncs: u64,
    fault: Fault,
    dead: bool,
    stalled: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What programs see.
    cached: Vec<u8>,
    /// What a loss of power leaves.
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

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// The process dies in the operation of this number, counting from 1 after [`MemoryDisk::set_fault`].
    CrashAt(u64),
    /// This sync fails, and, as systems do, what it should have made durable counts as clean.
    FailSync(u64),
    /// This operation fails with an error, without effect.
    FailAt(u64),
}

/// What a loss of power does to that which is not durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// It is lost.
    All,
    /// It happens to be on the disk nevertheless.
    Nothing,
    /// Any part of it is lost: whole changes, sectors, or all from some byte on.
    Some { seed: u64 },
}

impl MemoryDisk {
    fn lock_inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("no test thread panics with it")
    }

    /// Arms a fault, counting operations from here.
    pub(super) fn set_fault(&self, fault: Fault) {
        let mut inner = self.lock_inner();
        (inner.fault, inner.operations, inner.syncs) = (fault, 0, 0);
    }

    /// Operations since the fault was armed.
    pub(super) fn operations(&self) -> u64 {
        self.lock_inner().operations
    }

    /// Syncs since the fault was armed.
    pub(super) fn syncs(&self) -> u64 {
        self.lock_inner().syncs
    }

    /// Whether an armed crash has happened.
    pub(super) fn is_dead(&self) -> bool {
        self.lock_inner().dead
    }

    /// How many bytes fit; 0 for any number.
    pub(super) fn set_capacity(&self, bytes: u64) {
        self.lock_inner().capacity = bytes;
    }

    /// The bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.lock_inner().used()
    }

    /// Makes every write and sync wait, or lets them go on.
    pub(super) fn set_stalled(&self, stalled: bool) {
        self.lock_inner().stalled = stalled;
        self.0.moved.notify_all();
    }

    /// The process is gone, the machine runs on: what was written is seen by the next one.
    pub(super) fn restart_process(&self) {
        let mut inner = self.lock_inner();
        (inner.dead, inner.fault, inner.locks) = (false, Fault::None, BTreeSet::new());
    }

    /// The machine loses power and starts again.
    pub(super) fn lose_power(&self, loss: Loss) {
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

    /// An independent copy of the disk as it is.
    pub(super) fn copy(&self) -> Self {
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

    /// The names that end like this, in order.
    pub(super) fn names(&self, end: &str) -> Vec<PathBuf> {
        let inner = self.lock_inner();
        let matching = |path: &&PathBuf| path.to_string_lossy().ends_with(end);
        inner.names.keys().filter(matching).cloned().collect()
    }

    /// A file's bytes.
    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        let inner = self.lock_inner();
        inner.files[inner.names[path]].cached.clone()
    }

    /// Puts a file there, durably.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.lock_inner();
        let file = inner.files.len();
        inner.files.push(File { cached: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        inner.names.insert(path.to_owned(), file);
        inner.durable_names.insert(path.to_owned(), file);
    }

    /// Removes a file behind everybody's back.
    pub(super) fn delete(&self, path: &Path) {
        let mut inner = self.lock_inner();
        inner.names.remove(path);
        inner.durable_names.remove(path);
    }

    /// Changes a file behind everybody's back.
    pub(super) fn tamper(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
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

    /// Applies a part of it.
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
                let kept = at(dice.below(data.len() as u64 + 1));
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

impl Disk for MemoryDisk {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.lock_inner().alive()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock_inner();
        inner.alive()?;
        let names = inner.names.keys().chain(&inner.locks);
        let here = names.filter_map(|path| path.strip_prefix(dir).ok());
        Ok(here.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock_inner();
        let dies = inner.count()?;
        let file = inner.files.len();
        inner.files.push(File::default());
        inner.rename(NameChange::Add(path.to_owned(), file));
        if dies { Err(dead()) } else { Ok(Box::new(Handle { disk: self.clone(), file })) }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = self.lock_inner();
        inner.alive()?;
        let file = *inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        let dies = inner.count()?;
        let file = *inner.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        inner.rename(NameChange::Rename(from.to_owned(), to.to_owned(), file));
        if dies { Err(dead()) } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        let dies = inner.count()?;
        if !inner.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.rename(NameChange::Remove(path.to_owned()));
        if dies { Err(dead()) } else { Ok(()) }
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.lock_inner();
        if inner.count()? {
            return Err(dead());
        }
        inner.unsynced_names.clear();
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let inner = self.lock_inner();
        inner.alive()?;
        let capacity = if inner.capacity == 0 { u64::MAX } else { inner.capacity };
        Ok(capacity.saturating_sub(inner.used()))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut inner = self.lock_inner();
        inner.alive()?;
        if !inner.locks.insert(path.to_owned()) {
            return Ok(Lock::HeldBy(holder.to_owned()));
        }
        Ok(Lock::Taken(LockGuard::new(Locked(self.clone(), path.to_owned()))))
    }
}

struct Locked(MemoryDisk, PathBuf);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.lock_inner().locks.remove(&self.1);
    }
}

#[derive(Debug)]
struct Handle {
    disk: MemoryDisk,
    file: usize,
}

impl Handle {
    /// Waits for a stall to end.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let inner = self.disk.lock_inner();
        self.disk.0.moved.wait_while(inner, |inner| inner.stalled).expect("no test panics with it")
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("test files are small")
}

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        let inner = self.disk.lock_inner();
        inner.alive()?;
        Ok(inner.files[self.file].cached.len() as u64)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.count()?;
        inner.grow(self.file, at(bytes))?;
        let (file, change) = (&mut inner.files[self.file], Change::Extend(at(bytes)));
        change.apply(&mut file.cached);
        file.unsynced.push(change);
        if dies { Err(dead()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let inner = self.disk.lock_inner();
        inner.alive()?;
        let rest = inner.files[self.file].cached.get(at(offset)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let dies = inner.count()?;
        inner.grow(self.file, at(offset) + bytes.len())?;
        let file = &mut inner.files[self.file];
        let change = Change::Write(at(offset), bytes.to_vec());
        change.apply(&mut file.cached);
        file.unsynced.push(change);
        if dies { Err(dead()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.syncs += 1;
        if inner.count()? {
            return Err(dead());
        }
        let fails = inner.fault == Fault::FailSync(inner.syncs);
        let file = &mut inner.files[self.file];
        let unsynced = std::mem::take(&mut file.unsynced);
        if fails {
            return Err(io::Error::other("injected failure of a sync"));
        }
        for change in unsynced {
            change.apply(&mut file.durable);
        }
        Ok(())
    }
}

/// Small seeded numbers (SplitMix64), so that a test's seed is its whole fate.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// True once in `odds` times.
    pub(super) fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}
