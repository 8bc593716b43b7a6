//! [`FileWatch`]: notices that files which a reload reads have changed.
//!
//! It looks at the files every second instead of asking the kernel to tell it (inotify(7)): only that also sees changes
//! made on another host (NFS, SMB), symbolic links swapped in any directory on the way (the `..data` of a ConfigMap),
//! mounts, and files that appear where nothing was. A look at one file takes about a microsecond.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{self, Assembly, Sources};
use crate::config;
use crate::diagnostics::{Diagnostic, Report};
use crate::upstream::system::RESOLV_CONF;

/// Interval between two looks. Files that change are left alone until they are the same in two looks: a file that is
/// written in place is not read before its writer has been silent for so long.
const LOOK: Duration = Duration::from_secs(1);

/// How long a file that changes all the time holds up the reload of others.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often files that change while they are read are read again.
const ATTEMPTS: u32 = 5;

/// The files, and what they were like.
#[derive(Clone, Debug)]
pub struct FileWatch {
    files: Vec<PathBuf>,
    /// Before the last reload read them.
    read: Vec<Option<Stamp>>,
    /// At the last look.
    seen: Vec<Option<Stamp>>,
    next: Instant,
    /// Since when some file has changed between every two looks.
    restless: Option<Instant>,
}

impl FileWatch {
    /// Reads and compiles everything, and watches what was read. If it has errors, what was watched `before` is watched
    /// too: the error may have hidden a file.
    ///
    /// What is read was there at one moment, as far as its times tell: files that change meanwhile, such as the link to
    /// a bundle or a ConfigMap, are read again.
    ///
    /// Errors: those of the files, or they have changed each time.
    pub fn assemble(
        sources: &Sources,
        generation: u64,
        before: Option<&Self>,
    ) -> (Self, Result<Assembly, Report>) {
        let mut watch = Self::begin(sources);
        for _ in 0..ATTEMPTS {
            let result = assemble::assemble(sources, generation);
            let after = Self::begin(sources);
            if after.files == watch.files && after.read == watch.read {
                if let (Err(_), Some(before)) = (&result, before) {
                    watch.add(&before.files);
                }
                return (watch, result);
            }
            watch = after;
        }
        let error = "settings or allowlists have changed each time they were read";
        let error = Diagnostic::error(String::new(), error)
            .with_help("replace each file by renaming a complete one over it".to_owned());
        (watch, Err(error.into()))
    }

    /// The files that a reload with `sources` reads, as they are now, whether they exist or not.
    fn begin(sources: &Sources) -> Self {
        let mut watch = Self::new(Instant::now() + LOOK);
        watch.add(&config::inputs(sources.config.as_deref(), &sources.overrides));
        watch.add(&[RESOLV_CONF.into()]);
        watch
    }

    fn new(next: Instant) -> Self {
        Self { files: Vec::new(), read: Vec::new(), seen: Vec::new(), next, restless: None }
    }

    /// Adds files as they are now.
    fn add(&mut self, files: &[PathBuf]) {
        for file in files {
            if let Err(index) = self.files.binary_search(file) {
                let stamp = Stamp::now(file);
                self.files.insert(index, file.clone());
                self.read.insert(index, stamp);
                self.seen.insert(index, stamp);
            }
        }
    }

    /// Leaves out the system's resolver configuration if `assembly` does not forward to its servers.
    pub fn forget_unused(&mut self, assembly: &Assembly) {
        let mut servers = assembly.routes.iter().flat_map(|(_, servers)| servers);
        if servers.any(|server| *server == UpstreamAddress::System) {
            return;
        }
        if let Ok(index) = self.files.binary_search(&PathBuf::from(RESOLV_CONF)) {
            self.files.remove(index);
            self.read.remove(index);
            self.seen.remove(index);
        }
    }

    /// The files that are not as the last reload read them, once all have been the same in two looks; or once they have
    /// been the same themselves, if another has not been for a while. Each change is told once.
    pub fn changed(&mut self, now: Instant) -> Vec<&Path> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + LOOK;
        let before =
            std::mem::replace(&mut self.seen, self.files.iter().map(|file| Stamp::now(file)).collect());
        if before == self.seen {
            self.restless = None;
        } else if now.saturating_duration_since(*self.restless.get_or_insert(now)) < PATIENCE {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            if before[index] == self.seen[index] && self.read[index] != self.seen[index] {
                self.read[index] = self.seen[index];
                changed.push(file.as_path());
            }
        }
        changed
    }
}

/// What changes with the content of a file, also if it is replaced by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    #[cfg(unix)]
    identity: (u64, u64),
    #[cfg(unix)]
    times: [(i64, i64); 2],
    #[cfg(not(unix))]
    times: Option<std::time::SystemTime>,
}

impl Stamp {
    /// None for a file that does not exist or cannot be reached.
    fn now(file: &Path) -> Option<Self> {
        fs::metadata(file).ok().as_ref().map(Self::of)
    }

    #[cfg(unix)]
    fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        // The time of the last change (ctime) cannot be set back, as that of the last modification can (`cp -p`).
        let times = [(found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())];
        Self { size: found.size(), identity: (found.dev(), found.ino()), times }
    }

    #[cfg(not(unix))]
    fn of(found: &Metadata) -> Self {
        Self { size: found.len(), times: found.modified().ok() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::*;

    struct Looks {
        directory: TempDir,
        watch: FileWatch,
        now: Instant,
    }

    impl Looks {
        fn at(name: &str) -> Self {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join("file"), "a").unwrap();
            let now = Instant::now();
            let mut watch = FileWatch::new(now);
            watch.add(&[directory.path().join(name)]);
            Self { directory, watch, now }
        }

        /// True if the next look tells of a change.
        fn look(&mut self) -> bool {
            self.now += LOOK;
            !self.watch.changed(self.now).is_empty()
        }

        fn write(&self, text: &str) {
            // File systems keep times in steps of milliseconds.
            std::thread::sleep(Duration::from_millis(20));
            fs::write(self.directory.path().join("file"), text).unwrap();
        }
    }

    #[test]
    fn a_change_is_told_once_when_it_has_ended() {
        let mut looks = Looks::at("file");
        assert!(!looks.look() && !looks.look());
        looks.write("b");
        assert!(!looks.look(), "it may go on");
        looks.write("c");
        assert!(!looks.look(), "it went on");
        assert!(looks.look());
        assert!(!looks.look(), "told once");
        looks.write("a");
        assert!(!looks.look() && looks.look(), "another change");
    }

    #[test]
    fn files_are_looked_at_once_a_second() {
        let mut looks = Looks::at("file");
        looks.write("b");
        assert!(!looks.look());
        assert_eq!(looks.watch.changed(looks.now + LOOK / 2), Vec::<&Path>::new());
        assert!(looks.look());
    }

    #[test]
    fn a_file_that_never_rests_holds_others_up_for_a_while() {
        let mut looks = Looks::at("file");
        looks.watch.add(&[looks.directory.path().join("rests")]);
        fs::write(looks.directory.path().join("rests"), "a").unwrap();
        let mut seconds = 0;
        while !looks.look() {
            looks.write(&"x".repeat(seconds + 1));
            seconds += 1;
            assert!(seconds < 20, "the other change is never told");
        }
        assert_eq!(seconds, 10);
        assert!(looks.look(), "now it rests");
    }

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        type Change = fn(&Path);
        let changes: [(&str, &str, Change); 7] = [
            ("another size", "file", |at| fs::write(at.join("file"), "longer").unwrap()),
            ("the same size and modification time", "file", |at| {
                let time = fs::metadata(at.join("file")).unwrap().modified().unwrap();
                fs::write(at.join("file"), "b").unwrap();
                fs::File::options().append(true).open(at.join("file")).unwrap().set_modified(time).unwrap();
            }),
            ("renamed over it", "file", |at| {
                fs::write(at.join("new"), "a").unwrap();
                fs::rename(at.join("new"), at.join("file")).unwrap();
            }),
            ("removed", "file", |at| fs::remove_file(at.join("file")).unwrap()),
            ("created", "other", |at| fs::write(at.join("other"), "a").unwrap()),
            ("created in a directory that did not exist", "new/file", |at| {
                fs::create_dir(at.join("new")).unwrap();
                fs::write(at.join("new/file"), "a").unwrap();
            }),
            ("a link on the way swapped", "..data/file", |at| {
                for name in ["one", "two"] {
                    fs::create_dir(at.join(name)).unwrap();
                    fs::write(at.join(name).join("file"), "a").unwrap();
                }
                std::os::unix::fs::symlink("two", at.join("..data_tmp")).unwrap();
                fs::rename(at.join("..data_tmp"), at.join("..data")).unwrap();
            }),
        ];
        for (case, name, change) in changes {
            let mut looks = Looks::at(name);
            std::thread::sleep(Duration::from_millis(20));
            change(looks.directory.path());
            assert!(!looks.look() && looks.look(), "{case}");
        }
    }
}
