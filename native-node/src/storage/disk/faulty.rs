//! A real disk that hangs or is full on command; only there where faults are allowed.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Disk, DiskFile, Lock, RealDisk};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFaults {
    /// Whatever asks it to make something durable hangs until this ends.
    pub stalled: bool,
    /// It has no room: files neither come into being nor grow. The space that files have stays
    /// theirs, as on a real one.
    pub full: bool,
}

/// Sets a disk's faults while it is in use.
#[derive(Debug, Default)]
pub struct DiskSwitch {
    faults: Mutex<DiskFaults>,
    changed: Condvar,
}

impl DiskSwitch {
    /// From now on exactly these hold.
    pub fn set(&self, faults: DiskFaults) {
        *self.lock() = faults;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, DiskFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while_stalled(&self) {
        drop(self.changed.wait_while(self.lock(), |faults| faults.stalled));
    }

    fn find_room(&self) -> io::Result<()> {
        if self.lock().full { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// See the module.
#[derive(Debug)]
pub struct FaultyDisk {
    switch: Arc<DiskSwitch>,
}

impl FaultyDisk {
    /// The operating system's files, with faults by this switch.
    pub const fn new(switch: Arc<DiskSwitch>) -> Self {
        Self { switch }
    }

    fn file(&self, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { real, switch: Arc::clone(&self.switch) })
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.switch.find_room()?;
        RealDisk.create(path).map(|real| self.file(real))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path).map(|real| self.file(real))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.switch.wait_while_stalled();
        RealDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.switch.lock().full { Ok(0) } else { RealDisk.free_bytes(dir) }
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        RealDisk.lock(path, holder)
    }
}

#[derive(Debug)]
struct FaultyFile {
    real: Box<dyn DiskFile>,
    switch: Arc<DiskSwitch>,
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.real.size()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.real.size()? {
            self.switch.find_room()?;
        }
        self.real.preallocate(bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.real.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.real.size()? {
            self.switch.find_room()?;
        }
        self.real.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.switch.wait_while_stalled();
        self.real.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Guards that the injected full disk is like a real one: what has its space can be written,
    /// nothing grows, and all is well again afterwards.
    #[test]
    fn a_full_disk_lets_files_keep_their_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let switch = Arc::new(DiskSwitch::default());
        let disk = FaultyDisk::new(Arc::clone(&switch));
        let file = disk.create(&directory.path().join("file")).expect("room");
        file.preallocate(4096).expect("room");
        switch.set(DiskFaults { full: true, ..DiskFaults::default() });
        file.write_at(0, &[1; 4096]).expect("space that it has");
        for error in [
            file.write_at(4096, &[1]).expect_err("it would grow"),
            file.preallocate(4097).expect_err("it would grow"),
            disk.create(&directory.path().join("other")).expect_err("it would be new"),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(disk.free_bytes(directory.path()).expect("a figure"), 0);
        switch.set(DiskFaults::default());
        file.write_at(4096, &[1]).expect("room again");
        file.sync().expect("durable");
    }

    /// Guards that a stall ends when it is told to, and not before.
    #[test]
    fn a_stalled_sync_waits_for_the_end_of_the_stall() {
        let directory = tempfile::tempdir().expect("a directory");
        let switch = Arc::new(DiskSwitch::default());
        let file = FaultyDisk::new(Arc::clone(&switch)).create(&directory.path().join("file"));
        let file = file.expect("room");
        switch.set(DiskFaults { stalled: true, ..DiskFaults::default() });
        let (sender, synced) = mpsc::channel();
        let syncing = thread::spawn(move || sender.send(file.sync().is_ok()).expect("awaited"));
        let early = synced.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout));
        switch.set(DiskFaults::default());
        assert!(synced.recv().expect("it ends"));
        syncing.join().expect("no panic");
    }
}
