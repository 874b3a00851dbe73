//! The operations of programs on the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use super::{Change, Fault, File, Inner, MemoryDisk, NameChange, dead};
use crate::disk::{Disk, DiskFile, Lock, LockGuard};

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
    /// Waits until a stall ends.
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
