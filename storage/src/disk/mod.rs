//! The only access to files. The storage performs all operations through [`Disk`], so tests can use
//! a disk that loses, tears, stalls, fills up and lies.

mod faulty;
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), expect(dead_code, reason = "a fuzzer loses and tears nothing; tests do"))]
pub(super) mod memory;
mod real;

use std::fmt;
use std::io;
use std::path::Path;

pub use faulty::{DiskSwitch, FaultyDisk};
pub use real::RealDisk;

/// A file system, with the operations that the storage needs.
///
/// After [`DiskFile::sync`] the file's bytes survive a power failure. After [`Disk::sync_dir`] its
/// name does. Before that, any part of either may be lost.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory and its ancestors, durably, if they do not exist.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Lists the names in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file for reading and writing; replaces an existing file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file within its directory; replaces an existing file. Open files stay open.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The free space on the file system of `dir`, in bytes.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the exclusive lock on the file at `path`, creates the file if needed, and writes
    /// `holder` to it. The lock ends when the result is dropped or the process dies.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock>;
}

/// The result of an attempt to lock.
#[derive(Debug)]
pub enum Lock {
    /// The lock is held until this guard is dropped.
    Taken(LockGuard),
    /// Another process holds the lock; the text is its `holder`.
    HeldBy(String),
}

/// Holds a lock; dropping it releases the lock.
pub struct LockGuard(#[allow(dead_code, reason = "held for its drop alone")] Box<dyn Send + Sync>);

impl LockGuard {
    /// A guard that drops `held` to release the lock.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// An open file.
pub trait DiskFile: Send + fmt::Debug {
    /// The size of the file, in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Extends the file to at least `bytes` of allocated space. Later writes into it then cannot
    /// fail because the disk is full. Existing contents stay; the rest reads as zeros.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// Reads at `offset` until `buffer` is full or the file ends; returns the number of bytes.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes and length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}
