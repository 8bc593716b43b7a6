//! [`Files`]: the files and directories that the running process needs, from its settings.

use std::fs;
use std::path::{Path, PathBuf};

use crate::address::roots::Roots;
use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Assembly, Sources};
use crate::config::{self, Overrides, Settings};
use crate::upstream::system::RESOLV_CONF;

/// Where /etc/resolv.conf links to on most systems; its manager may change while this process runs.
const RESOLV_CONF_HOMES: [&str; 4] =
    ["/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/connman"];

/// Where the C library and the standard library read the number of processors.
const PROCESSORS: [&str; 2] = ["/sys/fs/cgroup", "/sys/devices/system/cpu"];

/// The mounts that this process sees (proc_pid_mountinfo(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Readable and writable paths. Paths that do not exist are omitted.
///
/// A file that a reload reads again is granted with its directory: an editor, a renewed ConfigMap or a DHCP client
/// replaces the file by a new one, and a Landlock rule applies to a file, not to a name. A file that is its own mount,
/// such as a container's /etc/resolv.conf, cannot be replaced and is granted alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    read: Vec<PathBuf>,
    list: Vec<PathBuf>,
    write: Vec<PathBuf>,
    mounts: Vec<PathBuf>,
}

impl Files {
    /// The paths that `sources` need, now and at a reload.
    pub fn of(sources: &Sources, assembly: &Assembly) -> Self {
        let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
        let mut files = Self { mounts: mount_points(&mounts), ..Self::default() };
        let path = sources.config.as_deref().unwrap_or_else(|| Path::new(config::DEFAULT_PATH));
        files.read_beside(path);
        files.add(&assembly.settings);
        if let Some(candidate) = &assembly.settings.policy.shadow {
            files.read_beside(candidate);
            // It was read a moment ago; its errors have been reported.
            if let Ok(loaded) = config::load(Some(candidate), &Overrides::default()) {
                files.add(&loaded.settings);
            }
        }
        if assembly.routes.iter().any(|(_, servers)| servers.contains(&UpstreamAddress::System)) {
            files.read_where_it_is(Path::new(RESOLV_CONF));
            RESOLV_CONF_HOMES.iter().for_each(|directory| push(&mut files.read, Path::new(directory)));
        }
        let authorities = openssl_probe::probe();
        authorities.cert_file.iter().for_each(|file| files.read_beside(file));
        authorities.cert_dir.iter().for_each(|directory| files.read_all(directory));
        PROCESSORS.iter().for_each(|directory| push(&mut files.read, Path::new(directory)));
        files
    }

    /// Readable paths, a listable and a writable directory, for tests.
    #[cfg(test)]
    pub(super) fn only(read: Vec<PathBuf>, list: PathBuf, write: PathBuf) -> Self {
        Self { read, list: vec![list], write: vec![write], mounts: Vec::new() }
    }

    /// Readable files, and directories whose files are readable.
    pub fn readable(&self) -> &[PathBuf] {
        &self.read
    }

    /// Directories that may also be listed.
    pub fn listable(&self) -> &[PathBuf] {
        &self.list
    }

    /// All readable paths, for messages.
    pub fn all_readable(&self) -> Vec<PathBuf> {
        let mut all = self.read.clone();
        self.list.iter().for_each(|directory| push(&mut all, directory));
        all
    }

    /// Directories that may be read, and in which files may be created, written, renamed and removed.
    pub fn writable(&self) -> &[PathBuf] {
        &self.write
    }

    fn add(&mut self, settings: &Settings) {
        let Settings { policy, admin, server, log, webhook, .. } = settings;
        settings.inputs().iter().for_each(|file| self.read_beside(file));
        policy.zones_directory.iter().for_each(|directory| self.read_all(directory));
        if let Roots::File { path, .. } = &webhook.roots {
            self.read_beside(path);
        }
        let secrets = [&admin.token_file, &admin.viewer_token_file, &webhook.secret_file];
        secrets.into_iter().flatten().for_each(|file| self.read_beside(file));
        let log = log.file.as_deref().map(directory_of);
        for directory in server.state_directory.as_deref().into_iter().chain(log) {
            push(&mut self.write, directory);
        }
    }

    /// Grants `file` with its directory, and the target if it is a symbolic link.
    fn read_beside(&mut self, file: &Path) {
        if !self.is_mount(file)
            && let Ok(directory) = fs::canonicalize(directory_of(file))
        {
            push(&mut self.read, lasting(&directory));
        }
        self.read_where_it_is(file);
    }

    /// Grants the directory of `file` after following all symbolic links; only the file if it is a mount.
    fn read_where_it_is(&mut self, file: &Path) {
        if let Ok(file) = fs::canonicalize(file) {
            let is_mount = self.is_mount(&file);
            push(&mut self.read, if is_mount { &file } else { lasting(directory_of(&file)) });
        }
    }

    fn is_mount(&self, file: &Path) -> bool {
        let is_link = fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink());
        !is_link && fs::canonicalize(file).is_ok_and(|file| self.mounts.contains(&file))
    }

    /// Grants listing `directory`, and the targets of its symbolic links.
    fn read_all(&mut self, directory: &Path) {
        if let Ok(directory) = fs::canonicalize(directory) {
            push(&mut self.list, lasting(&directory));
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        links.for_each(|link| self.read_where_it_is(&link.path()));
    }
}

/// The directory to grant for `directory`, which has no symbolic links. A ConfigMap and `namegate pull` replace directories
/// whose names begin with two dots; the one that holds them stays.
fn lasting(directory: &Path) -> &Path {
    let is_replaced =
        |path: &&Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    directory.ancestors().find(is_replaced).and_then(Path::parent).unwrap_or(directory)
}

/// Adds a path that exists and is not yet in the list.
fn push(paths: &mut Vec<PathBuf>, path: &Path) {
    if let Ok(path) = fs::canonicalize(path)
        && !paths.contains(&path)
    {
        paths.push(path);
    }
}

/// The mount points in the text of [`MOUNTS`].
fn mount_points(text: &str) -> Vec<PathBuf> {
    text.lines().filter_map(|line| Some(unescaped(line.split(' ').nth(4)?))).collect()
}

/// Decodes a path as the kernel writes it: space, tab, newline and backslash are a backslash with three octal digits.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .split_at_checked(3)
            .and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 8).ok()?, rest)))
        {
            Some((byte, rest)) => plain.extend([char::from(byte)].into_iter().chain(rest.chars())),
            None => plain.push_str(part),
        }
    }
    PathBuf::from(plain)
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// Paths on one line, for messages.
pub fn list(paths: &[PathBuf]) -> String {
    match paths {
        [] => "nothing".to_owned(),
        some => some.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_is_a_mount_is_granted_alone() {
        let directory = tempfile::tempdir().unwrap();
        let directory = fs::canonicalize(directory.path()).unwrap();
        let (mounted, plain) = (directory.join("a/mounted"), directory.join("b/plain"));
        for file in [&mounted, &plain] {
            fs::create_dir(directory_of(file)).unwrap();
            fs::write(file, "").unwrap();
        }
        let mut files = Files { mounts: vec![mounted.clone()], ..Files::default() };
        [&mounted, &plain].into_iter().for_each(|file| files.read_beside(file));
        assert_eq!(files.readable(), [mounted, directory.join("b")]);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_is_replaced_is_granted_with_its_successors() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let directory = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(directory.join("..12-ab/zones")).unwrap();
        fs::write(directory.join("..12-ab/zones/a.list"), "").unwrap();
        symlink("..12-ab", directory.join("..data")).unwrap();
        symlink("..data/zones", directory.join("zones")).unwrap();
        let mut files = Files::default();
        files.read_beside(&directory.join("zones/a.list"));
        files.read_all(&directory.join("zones"));
        assert_eq!((files.readable(), files.listable()), (&[directory.clone()][..], &[directory][..]));
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let text = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
                    40 35 0:31 / /a\\040b\\134c rw - tmpfs tmpfs rw\nshort\n";
        assert_eq!(mount_points(text), [PathBuf::from("/mnt2"), PathBuf::from("/a b\\c")]);
    }
}
