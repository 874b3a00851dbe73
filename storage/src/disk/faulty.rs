//! A real disk with injected faults: it hangs or is full. Used only if faults are allowed.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Disk, DiskFile, Lock, RealDisk};

/// The faults of a disk.
#[derive(Debug, Default)]
struct DiskFaults {
    stalled: bool,
    full: bool,
}

/// Changes a disk's faults while the disk is in use.
#[derive(Debug, Default)]
pub struct DiskSwitch {
    faults: Mutex<DiskFaults>,
    changed: Condvar,
}

impl DiskSwitch {
    /// Sets whether each sync blocks until this fault ends.
    pub fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled;
        self.changed.notify_all();
    }

    /// Sets whether the disk is full: files cannot be created or grow. Files keep the space that is
    /// already allocated.
    pub fn fill(&self, full: bool) {
        self.lock().full = full;
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

/// The operating system's files with injected faults.
#[derive(Debug)]
pub struct FaultyDisk {
    switch: Arc<DiskSwitch>,
}

impl FaultyDisk {
    /// The operating system's files, with the faults of this switch.
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

    /// Guards that an injected full disk behaves like a real one. Allocated space is writable,
    /// nothing grows, and afterwards the disk works again.
    #[test]
    fn a_full_disk_lets_files_keep_their_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let switch = Arc::new(DiskSwitch::default());
        let disk = FaultyDisk::new(Arc::clone(&switch));
        let file = disk.create(&directory.path().join("file")).expect("room");
        file.preallocate(4096).expect("room");
        switch.fill(true);
        file.write_at(0, &[1; 4096]).expect("space that it has");
        for error in [
            file.write_at(4096, &[1]).expect_err("it would grow"),
            file.preallocate(4097).expect_err("it would grow"),
            disk.create(&directory.path().join("other")).expect_err("it would be new"),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(disk.free_bytes(directory.path()).expect("a figure"), 0);
        switch.fill(false);
        file.write_at(4096, &[1]).expect("room again");
        file.sync().expect("durable");
    }

    /// Guards that a stall ends on command, and not earlier.
    #[test]
    fn a_stalled_sync_waits_for_the_end_of_the_stall() {
        let directory = tempfile::tempdir().expect("a directory");
        let switch = Arc::new(DiskSwitch::default());
        let file = FaultyDisk::new(Arc::clone(&switch)).create(&directory.path().join("file"));
        let file = file.expect("room");
        switch.stall(true);
        let (sender, synced) = mpsc::channel();
        let syncing = thread::spawn(move || sender.send(file.sync().is_ok()).expect("awaited"));
        let early = synced.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout));
        switch.stall(false);
        assert!(synced.recv().expect("it ends"));
        syncing.join().expect("no panic");
    }
}
