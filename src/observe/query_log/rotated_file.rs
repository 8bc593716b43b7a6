//! [`RotatedFile`]: a log file that is rotated when it is full.
//!
//! Existing crates panic when they cannot create a directory, or silently drop lines they cannot write. Here a full
//! disk must be reported and survived.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::util::log_event::log;

/// Read and write for the owner, read for the group: lines show which client looked up which name.
const MODE: u32 = 0o640;

/// A log file. At its maximum size it is renamed to `FILE.1`, the previous `FILE.1` to `FILE.2`, and so on.
///
/// If another program moved the file away, the next write creates a new one.
pub struct RotatedFile {
    path: PathBuf,
    max_size: u64,
    keep: usize,
    file: File,
    size: u64,
    /// The last rotation failed.
    stays: bool,
}

impl RotatedFile {
    /// Opens `path` for appending, with `keep` older files of about `max_size` bytes.
    pub fn open(path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self { path: path.to_owned(), max_size, keep, file, size, stays: false })
    }

    /// Rotates the file. If that fails, the file keeps growing, because lines matter more than its size.
    fn try_rotate(&mut self) {
        match self.rotate() {
            Ok(()) => self.stays = false,
            Err(error) => {
                if !std::mem::replace(&mut self.stays, true) {
                    let path = self.path.display();
                    log!(QueryLogNotRotated, "query log: cannot rotate {path}, so it keeps growing: {error}");
                }
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            move_file(&self.numbered(number), &self.numbered(number + 1))?;
        }
        match self.keep {
            0 => fs::remove_file(&self.path)?,
            _ => move_file(&self.path, &self.numbered(1))?,
        }
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }

    /// Creates the file again if it was moved away, and updates its size in case another program truncated it.
    fn look(&mut self) -> io::Result<()> {
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(own)) if (there.dev(), there.ino()) == (own.dev(), own.ino()) => {
                self.size = own.len();
                Ok(())
            }
            _ => self.reopen(),
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Opening a pipe without a reader would block, and rotation would rename a link such as /dev/stdout.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE).custom_flags(OPEN_FLAGS);
    let not_regular = |what| io::Error::other(format!("it is {what}, not a regular file"));
    let file = options.open(path).map_err(|error| match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => not_regular("a symbolic link"),
        Ok(found) if !found.is_file() => not_regular("a directory, pipe or device"),
        _ => error,
    })?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found.len())),
        false => Err(not_regular("a directory, pipe or device")),
    }
}

#[cfg(target_os = "linux")]
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;
#[cfg(not(target_os = "linux"))]
const OPEN_FLAGS: i32 = 0;

fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Accepts whole lines; one write takes as many as the file has room for.
impl Write for RotatedFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.look()?;
        let mut fitting = whole_lines(lines, self.max_size.saturating_sub(self.size));
        if fitting.is_empty() {
            if self.size > 0 {
                self.try_rotate();
            }
            fitting = whole_lines(lines, self.max_size);
        }
        if fitting.is_empty() {
            fitting = lines;
        }
        if let Err(error) = self.file.write_all(fitting) {
            // A partial line would corrupt the next one.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += fitting.len() as u64;
        Ok(fitting.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The longest run of whole lines at the start of `lines` that fits into `room` bytes.
fn whole_lines(lines: &[u8], room: u64) -> &[u8] {
    let within = &lines[..usize::try_from(room).unwrap_or(usize::MAX).min(lines.len())];
    let end = within.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    &within[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(directory: &Path, name: &str) -> Option<String> {
        fs::read_to_string(directory.join(name)).ok()
    }

    #[test]
    fn only_regular_files_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(place("pipe")).status().unwrap();
        assert!(made.success());
        fs::write(place("file"), "").unwrap();
        std::os::unix::fs::symlink(place("file"), place("link")).unwrap();
        for (name, why) in [("pipe", "not a regular file"), ("link", "a symbolic link"), ("", "")] {
            let error = RotatedFile::open(&place(name), 100, 1).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(why)), "{name}: {error:?}");
        }
        assert!(RotatedFile::open(Path::new("/dev/stdout"), 100, 1).is_err());
        assert!(RotatedFile::open(&place("file"), 100, 1).is_ok());
    }

    #[test]
    fn truncated_file_continues_at_its_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatedFile::open(&path, 1000, 1).unwrap();
        file.write_all(b"first line\n").unwrap();
        // As logrotate's `copytruncate` does.
        OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        file.write_all(b"second line\n").unwrap();
        // After a failed write the file is truncated to `size`, which must be the current end and not the old one.
        assert_eq!(fs::read(&path).unwrap(), b"second line\n");
        assert_eq!(file.size, 12);
    }

    #[test]
    fn full_files_are_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let mut file = RotatedFile::open(&path, 8, 2).unwrap();
        for piece in ["one\n", "two\n", "three\n", "a piece beyond the size\n", "four\n"] {
            file.write_all(piece.as_bytes()).unwrap();
        }
        assert_eq!(read(directory.path(), "log").unwrap(), "four\n");
        assert_eq!(read(directory.path(), "log.1").unwrap(), "a piece beyond the size\n");
        assert_eq!(read(directory.path(), "log.2").unwrap(), "three\n");
        assert_eq!(read(directory.path(), "log.3"), None);
    }

    #[test]
    fn none_is_kept_where_none_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::open(&directory.path().join("log"), 4, 0).unwrap();
        file.write_all(b"one\n").unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(read(directory.path(), "log").unwrap(), "two\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn moved_file_is_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatedFile::open(&path, 1000, 1).unwrap();
        file.write_all(b"one\n").unwrap();
        fs::rename(&path, directory.path().join("elsewhere")).unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(read(directory.path(), "elsewhere").unwrap(), "one\n");
        assert_eq!(read(directory.path(), "log").unwrap(), "two\n");
    }

    #[test]
    fn lines_are_cut_between_files_and_never_within() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatedFile::open(&path, 10, 3).unwrap();
        file.write_all(b"one\ntwo\nthree\nfour\nfive\n").unwrap();
        assert_eq!(read(directory.path(), "log.2").unwrap(), "one\ntwo\n");
        assert_eq!(read(directory.path(), "log.1").unwrap(), "three\n");
        assert_eq!(read(directory.path(), "log").unwrap(), "four\nfive\n");
    }

    #[test]
    fn file_that_cannot_be_rotated_keeps_growing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        // A file cannot replace a directory.
        fs::create_dir_all(directory.path().join("log.1/full")).unwrap();
        let mut file = RotatedFile::open(&path, 4, 1).unwrap();
        file.write_all(b"one\n").unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(read(directory.path(), "log").unwrap(), "one\ntwo\n");
    }
}
