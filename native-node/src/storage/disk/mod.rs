//! The one door to files: whatever storage does to a disk goes through [`Disk`], so that tests can
//! put a disk behind it that loses, tears, stalls, fills up and lies.

mod faulty;
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), expect(dead_code, reason = "a fuzzer loses and tears nothing; tests do"))]
pub(super) mod memory;
mod real;

use std::fmt;
use std::io;
use std::path::Path;

pub use faulty::{DiskFaults, DiskSwitch, FaultyDisk};
pub use real::RealDisk;

/// A file system as storage needs it.
///
/// What the callers rely on: after [`DiskFile::sync`] the file's bytes survive a loss of power, and
/// after [`Disk::sync_dir`] its names do; before that any part of either may be lost.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory and those above it, durably; fine when it is there already.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file, in place of one of that name, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file within its directory, in place of one of the new name. Open files stay so.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// How many bytes can still be written to the file system that holds `dir`.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Takes the exclusive lock on the file at `path`, creating it when needed, and leaves `holder`
    /// in it for others to read. The lock ends when the result is dropped or the process dies.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock>;
}

/// What asking for a lock gave.
#[derive(Debug)]
pub enum Lock {
    /// It is ours until this is dropped.
    Taken(LockGuard),
    /// Another has it; the text is what that one left in the file.
    HeldBy(String),
}

/// Keeps a lock; dropping it releases the lock.
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
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Makes it at least `bytes` long with space that is really there, so that writing into it
    /// cannot fail for want of space. What it held stays; the rest reads as zeros.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;

    /// Reads at `offset` until `buffer` is full or the file ends; gives the number of bytes.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes and length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}
