//! [`Files`]: the directories that a running gate needs, as its settings name them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::assemble::{Assembly, Sources};
use crate::config::{self, Overrides, Settings};
use crate::upstream::address::UpstreamAddress;
use crate::upstream::encrypted::roots::Roots;
use crate::zones;

/// The system's resolver configuration.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What tells the C library and the standard library how many processors there are.
const PROCESSORS: [&str; 2] = ["/sys/fs/cgroup", "/sys/devices/system/cpu"];

/// Directories, since an editor puts a new file in the place of the old one. Those that are not there are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl Files {
    /// What the gate needs that was read from `sources`, now and at a reload.
    pub fn of(sources: &Sources, assembly: &Assembly) -> Self {
        let mut files = Self::default();
        let path = sources.config.as_deref().unwrap_or_else(|| Path::new(config::DEFAULT_PATH));
        files.read_beside(path);
        files.add(&assembly.settings);
        if let Some(candidate) = &assembly.settings.policy.shadow {
            files.read_beside(candidate);
            // It was read a moment ago, and its faults would have been told.
            if let Ok(loaded) = config::load(Some(candidate), &Overrides::default()) {
                files.add(&loaded.settings);
            }
        }
        if assembly.routes.iter().any(|(_, servers)| servers.contains(&UpstreamAddress::System)) {
            files.read_behind(Path::new(RESOLV_CONF));
        }
        let authorities = openssl_probe::probe();
        authorities.cert_file.iter().for_each(|file| files.read_beside(file));
        authorities.cert_dir.iter().for_each(|directory| files.read_all(directory));
        PROCESSORS.iter().for_each(|directory| files.read_all(Path::new(directory)));
        files
    }

    /// A directory to read and one to write, for tests.
    #[cfg(test)]
    pub(super) fn only(read: PathBuf, write: PathBuf) -> Self {
        Self { read: vec![read], write: vec![write] }
    }

    /// Directories that may be read.
    pub fn readable(&self) -> &[PathBuf] {
        &self.read
    }

    /// Directories that may be read, and in which files may be made, written, renamed and removed.
    pub fn writable(&self) -> &[PathBuf] {
        &self.write
    }

    fn add(&mut self, settings: &Settings) {
        let Settings { policy, client, local, upstream, admin, cookies, server, log, .. } = settings;
        policy.zones_directory.iter().for_each(|directory| self.read_all(directory));
        let zones =
            policy.zones.iter().chain(client.iter().filter_map(|group| group.zones.as_ref()).flatten());
        zones.filter(|zone| zones::is_path(zone)).for_each(|zone| self.read_beside(Path::new(zone)));
        local.iter().for_each(|zone| self.read_beside(&zone.file));
        if let Roots::File { path, .. } = &upstream.roots {
            self.read_beside(path);
        }
        let secrets = [&admin.token_file, &cookies.secret_file];
        secrets.into_iter().flatten().for_each(|file| self.read_beside(file));
        let log = log.file.as_deref().map(directory_of);
        for directory in server.state_directory.as_deref().into_iter().chain(log) {
            push(&mut self.write, directory);
        }
    }

    /// The directory of `file`, and where the file itself is, if that is a symbolic link.
    fn read_beside(&mut self, file: &Path) {
        push(&mut self.read, directory_of(file));
        self.read_behind(file);
    }

    /// The directory that `file` is in once all symbolic links are followed.
    fn read_behind(&mut self, file: &Path) {
        if let Ok(file) = fs::canonicalize(file) {
            push(&mut self.read, directory_of(&file));
        }
    }

    /// `directory`, and where its symbolic links lead.
    fn read_all(&mut self, directory: &Path) {
        push(&mut self.read, directory);
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        links.for_each(|link| self.read_behind(&link.path()));
    }
}

/// Adds what is there and not yet among them.
fn push(directories: &mut Vec<PathBuf>, directory: &Path) {
    if let Ok(directory) = fs::canonicalize(directory)
        && !directories.contains(&directory)
    {
        directories.push(directory);
    }
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Directories in one line, for people.
pub fn list(directories: &[PathBuf]) -> String {
    match directories {
        [] => "nothing".to_owned(),
        some => some.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}
