//! The operating system's files.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Disk, DiskFile, Lock, LockGuard};

/// Only the owner can read and write the files, because they contain the clients' data.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// The first and the maximum pause before a retry, if the system lacks resources.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The minimum interval between log lines about retries.
const TELL: Duration = Duration::from_secs(10);

/// Retries if the system had no file descriptor or no memory, or if a signal interrupted the
/// operation. Only for operations that certainly had no effect then.
fn wait_out<T>(what: &Path, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let started = Instant::now();
    let (mut pause, mut told) = (RETRY.0, None);
    loop {
        let error = match operation() {
            Err(error) if passes(&error) => error,
            result => return result,
        };
        if told.is_none_or(|told: Instant| told.elapsed() > TELL) {
            let (what, waited) = (what.display(), started.elapsed());
            tracing::warn!(%what, ?waited, "the system is short of a resource, retrying: {error}");
            told = Some(Instant::now());
        }
        thread::sleep(pause);
        pause = (2 * pause).min(RETRY.1);
    }
}

fn passes(error: &io::Error) -> bool {
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| passing.contains(&errno))
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
        for created in missing {
            let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_dir(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not UTF-8 is not ours; its lossy form suffices for messages.
        wait_out(dir, || fs::read_dir(dir))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE);
        let file = wait_out(path, || options.open(path))?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        Ok(Box::new(RealFile(wait_out(path, || options.open(path))?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        wait_out(from, || fs::rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        wait_out(path, || fs::remove_file(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        wait_out(dir, || File::open(dir))?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = wait_out(dir, || Ok(rustix::fs::statvfs(dir)?))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Lock> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = wait_out(path, || options.open(path))?;
        let taken = match file.try_lock() {
            Ok(()) => lock_directory(path)?,
            Err(TryLockError::WouldBlock) => Lock::HeldBy(String::new()),
            Err(TryLockError::Error(error)) => return Err(error),
        };
        let Lock::Taken(directory) = taken else {
            let mut text = String::new();
            // Only for the error message: ignore what cannot be read.
            let _ = file.take(1 << 10).read_to_string(&mut text);
            return Ok(Lock::HeldBy(text));
        };
        // Only for the error message of another process; there may be no space for it.
        let note = file.set_len(0).and_then(|()| file.rewind());
        let _ = note.and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Lock::Taken(LockGuard::new((file, directory))))
    }
}

/// Also locks the directory of the file, if the file system supports it. Somebody may remove the
/// lock file, and a new file would not be locked.
fn lock_directory(path: &Path) -> io::Result<Lock> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let directory = wait_out(parent, || File::open(parent))?;
    Ok(match directory.try_lock() {
        Err(TryLockError::WouldBlock) => Lock::HeldBy(String::new()),
        Ok(()) | Err(TryLockError::Error(_)) => Lock::Taken(LockGuard::new(directory)),
    })
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let allocate = || rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes);
        match rustix::io::retry_on_intr(allocate) {
            Ok(()) => Ok(()),
            // Some file systems cannot allocate: write zeros instead.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill_with_zeros(bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl RealFile {
    fn fill_with_zeros(&self, bytes: u64) -> io::Result<()> {
        const STEP: u64 = 1 << 20;
        let zeros = vec![0; 1 << 20];
        let mut end = self.size()?;
        while end < bytes {
            let step = STEP.min(bytes - end);
            self.write_at(end, &zeros[..usize::try_from(step).unwrap_or(zeros.len())])?;
            end += step;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Guards that a server survives a temporary lack of resources, and does not wait after
    /// permanent errors.
    #[test]
    fn only_what_passes_by_itself_is_waited_out() {
        for (errno, passes) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOMEM, true),
            (Errno::INTR, true),
            (Errno::NOENT, false),
            (Errno::NOSPC, false),
            (Errno::IO, false),
            (Errno::ACCESS, false),
        ] {
            let tries = Cell::new(0);
            let result = wait_out(Path::new("file"), || {
                tries.set(tries.get() + 1);
                if tries.get() < 3 { Err(io::Error::from(errno)) } else { Ok(()) }
            });
            assert_eq!((result.is_ok(), tries.get()), if passes { (true, 3) } else { (false, 1) });
        }
    }

    /// Guards a directory against a second server after somebody removed the lock file.
    #[test]
    fn a_lock_holds_although_its_file_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let first = RealDisk.lock(&path, "the first").expect("it can be locked");
        assert!(matches!(first, Lock::Taken(_)));
        fs::remove_file(&path).expect("it is there");
        let second = RealDisk.lock(&path, "the second").expect("the question can be asked");
        assert!(matches!(second, Lock::HeldBy(_)), "{second:?}");
        drop(first);
        let third = RealDisk.lock(&path, "the third").expect("it can be locked");
        assert!(matches!(third, Lock::Taken(_)));
    }
}
