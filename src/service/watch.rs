//! [`FileWatch`]: notices that files which a reload reads have changed.
//!
//! It looks at the files every second instead of asking the kernel to tell it (inotify(7)): only that also sees changes
//! made on another host (NFS, SMB), symbolic links swapped in any directory on the way (the `..data` of a ConfigMap),
//! mounts, and files that appear where nothing was. A look at one file takes about a microsecond.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Assembly, Sources};
use crate::config::{self, Overrides};
use crate::upstream::system::RESOLV_CONF;

/// Interval between two looks. Files that change are left alone until they are the same in two looks: a file that is
/// written in place is not read before its writer has been silent for so long.
const LOOK: Duration = Duration::from_secs(1);

/// The files, and what they were like.
#[derive(Clone, Debug)]
pub struct FileWatch {
    files: Vec<PathBuf>,
    /// Before the last reload read them.
    read: Vec<Option<Stamp>>,
    /// At the last look.
    seen: Vec<Option<Stamp>>,
    next: Instant,
}

impl FileWatch {
    /// The files that a reload with `sources` reads, as they are now, whether they exist or not. If the settings are
    /// broken, they are the settings: nothing else is read before they are mended.
    pub fn begin(sources: &Sources) -> Self {
        let path = sources.config.clone().unwrap_or_else(|| config::DEFAULT_PATH.into());
        let mut files = vec![path];
        if let Ok(config::Loaded { settings, .. }) =
            config::load(sources.config.as_deref(), &sources.overrides)
        {
            files.extend(settings.inputs());
            if let Some(candidate) = &settings.policy.shadow {
                files.push(candidate.clone());
                let loaded = config::load(Some(candidate), &Overrides::default());
                files.extend(loaded.into_iter().flat_map(|loaded| loaded.settings.inputs()));
            }
        }
        files.push(RESOLV_CONF.into());
        files.sort_unstable();
        files.dedup();
        let read = stamps(&files);
        Self { files, seen: read.clone(), read, next: Instant::now() + LOOK }
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

    /// The files that are not as the last reload read them, once they have been the same in two looks. Each change is
    /// told once.
    pub fn changed(&mut self, now: Instant) -> Vec<&Path> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + LOOK;
        let before = std::mem::replace(&mut self.seen, stamps(&self.files));
        if before != self.seen || self.seen == self.read {
            return Vec::new();
        }
        let read = std::mem::replace(&mut self.read, before);
        let stamps = read.iter().zip(&self.seen);
        let changed = self.files.iter().zip(stamps).filter(|(_, (read, seen))| read != seen);
        changed.map(|(file, _)| file.as_path()).collect()
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

/// None for a file that does not exist or cannot be reached.
fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| fs::metadata(file).ok().as_ref().map(Stamp::of)).collect()
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
            let files = vec![directory.path().join(name)];
            let read = stamps(&files);
            let now = Instant::now();
            Self { directory, watch: FileWatch { files, seen: read.clone(), read, next: now }, now }
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
