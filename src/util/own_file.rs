//! Files that only namegate writes and that it trusts when it reads them again: no other user may be able to change
//! them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Modes of created files and directories, subject to the umask.
const FILE_MODE: u32 = 0o640;
const PRIVATE_FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o750;

/// Why a file or directory cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UntrustedFileError {
    /// It cannot be examined or opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a symbolic link.
    #[error("it is a symbolic link")]
    Link,
    /// It is not of the expected kind.
    #[error("it is not a {0}")]
    Kind(&'static str),
    /// Another user owns it.
    #[error("user {owner} owns it, but namegate runs as user {user}")]
    Owner {
        /// The owner's user id.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// Other users can write to it.
    #[error("other users can write to it")]
    Open,
}

impl UntrustedFileError {
    /// How to fix it; none if the system's error is clear enough.
    pub(crate) fn remedy(&self, path: &Path) -> Option<String> {
        let path = path.display();
        match self {
            Self::Io(_) => None,
            Self::Link | Self::Kind(_) => Some(format!("move {path} away")),
            Self::Owner { user, owner } => Some(format!(
                "run `chown {user} {path}`, or run namegate as user {owner}, as `sudo -u '#{owner}' namegate check`"
            )),
            Self::Open => Some(format!("check the contents, then run `chmod o-w {path}`")),
        }
    }
}

/// Checks a directory; false if it does not exist. A symbolic link is accepted if root or this process's user owns it,
/// as systemd creates for `StateDirectory=` with `DynamicUser=`.
pub(crate) fn check_directory(path: &Path) -> Result<bool, UntrustedFileError> {
    let Some(found) = found(fs::symlink_metadata(path))? else { return Ok(false) };
    check_owner(&found)?;
    let found = fs::metadata(path)?;
    if !found.is_dir() {
        return Err(UntrustedFileError::Kind("directory"));
    }
    check_owner(&found)?;
    check_mode(&found)?;
    Ok(true)
}

/// Checks a file; false if it does not exist. Symbolic links are refused.
pub(crate) fn check_file(path: &Path) -> Result<bool, UntrustedFileError> {
    let Some(found) = found(fs::symlink_metadata(path))? else { return Ok(false) };
    check_metadata(&found)?;
    Ok(true)
}

/// Opens a file for reading; none if it does not exist.
pub(crate) fn open(path: &Path) -> Result<Option<File>, UntrustedFileError> {
    // Opening a pipe would block.
    if !check_file(path)? {
        return Ok(None);
    }
    let file = without_links(OpenOptions::new().read(true)).open(path)?;
    check_metadata(&file.metadata()?)?;
    Ok(Some(file))
}

/// Opens a file for appending, and creates it if it does not exist.
pub(crate) fn append(path: &Path) -> Result<File, UntrustedFileError> {
    check_file(path)?;
    let file = without_links(OpenOptions::new().create(true).append(true)).open(path)?;
    check_metadata(&file.metadata()?)?;
    Ok(file)
}

/// Creates a file that must not exist yet.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    without_links(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// The same, for a file that only this user may read.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    without_links(options.write(true).create_new(true));
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, PRIVATE_FILE_MODE);
    options.open(path)
}

/// The text of a file; none if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, UntrustedFileError> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Replaces a file atomically.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(path);
    let write = || -> io::Result<()> {
        let mut file = create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&fresh)))
}

/// A temporary file next to `path` with a unique name: during a handover two processes may write at once.
pub(crate) fn fresh(path: &Path) -> PathBuf {
    path.with_extension(format!("{:016x}.new", rand::random::<u64>()))
}

fn found(metadata: io::Result<Metadata>) -> io::Result<Option<Metadata>> {
    match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata.map(Some),
    }
}

fn check_metadata(found: &Metadata) -> Result<(), UntrustedFileError> {
    if found.is_symlink() {
        return Err(UntrustedFileError::Link);
    }
    if !found.is_file() {
        return Err(UntrustedFileError::Kind("file"));
    }
    check_owner(found)?;
    check_mode(found)
}

#[cfg(target_os = "linux")]
fn check_owner(found: &Metadata) -> Result<(), UntrustedFileError> {
    use std::os::unix::fs::MetadataExt;
    let (owner, user) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner == user || owner == 0 { Ok(()) } else { Err(UntrustedFileError::Owner { owner, user }) }
}

#[cfg(not(target_os = "linux"))]
fn check_owner(_: &Metadata) -> Result<(), UntrustedFileError> {
    Ok(())
}

#[cfg(unix)]
fn check_mode(found: &Metadata) -> Result<(), UntrustedFileError> {
    use std::os::unix::fs::PermissionsExt;
    if found.permissions().mode() & 0o002 == 0 { Ok(()) } else { Err(UntrustedFileError::Open) }
}

#[cfg(not(unix))]
fn check_mode(_: &Metadata) -> Result<(), UntrustedFileError> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(FILE_MODE).custom_flags(libc::O_NOFOLLOW)
}

#[cfg(not(target_os = "linux"))]
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Creates a directory and its missing parents.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, DIRECTORY_MODE);
    builder.recursive(true).create(path)
}

/// Reduces a file's permissions to those of new files. Earlier versions left them to the umask.
#[cfg(unix)]
pub(crate) fn narrow(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = fs::symlink_metadata(path) else { return };
    let mode = found.permissions().mode() & 0o777;
    if found.is_file() && mode & !FILE_MODE != 0 {
        // If this fails, others can still read the file, which `check_file` accepts.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode & FILE_MODE));
    }
}

#[cfg(not(unix))]
pub(crate) fn narrow(_: &Path) {}

/// Succeeds if a file can be created in `directory`, or `directory` itself if it does not exist.
#[cfg(target_os = "linux")]
pub(crate) fn is_writable(directory: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    let there = directory.ancestors().find(|ancestor| ancestor.is_dir());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_writable(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn links_pipes_and_world_writable_files_are_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("target"), "x").unwrap();
        symlink(at("target"), at("link")).unwrap();
        fs::write(at("open"), "x").unwrap();
        set_mode(&at("open"), 0o666);
        assert!(matches!(open(&at("link")), Err(UntrustedFileError::Link)));
        assert!(matches!(append(&at("link")), Err(UntrustedFileError::Link)));
        assert!(create(&at("link")).is_err());
        assert!(matches!(open(&at("open")), Err(UntrustedFileError::Open)));
        assert!(matches!(append(&at("open")), Err(UntrustedFileError::Open)));
        assert!(matches!(open(directory.path()), Err(UntrustedFileError::Kind("file"))));
        assert_eq!(fs::read_to_string(at("target")).unwrap(), "x");
        set_mode(&at("open"), 0o660);
        assert!(open(&at("open")).unwrap().is_some());
        assert!(open(&at("none")).unwrap().is_none());
    }

    #[test]
    fn created_files_are_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        create_directory(&at("deep/er")).unwrap();
        writeln!(append(&at("log")).unwrap(), "a").unwrap();
        create(&at("new")).unwrap();
        create_private(&at("private")).unwrap();
        assert!(create_private(&at("private")).is_err());
        assert_eq!(mode("private") & 0o177, 0);
        assert_eq!((mode("deep/er") & 0o027, mode("log") & 0o137, mode("new") & 0o137), (0, 0, 0));
        set_mode(&at("log"), 0o644);
        narrow(&at("log"));
        assert_eq!(mode("log"), 0o640);
    }

    #[test]
    fn a_directory_that_everyone_writes_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("state")).unwrap();
        symlink(at("state"), at("link")).unwrap();
        assert!(check_directory(&at("state")).unwrap() && check_directory(&at("link")).unwrap());
        assert!(!check_directory(&at("none")).unwrap());
        set_mode(&at("state"), 0o777);
        assert!(matches!(check_directory(&at("state")), Err(UntrustedFileError::Open)));
        assert!(matches!(check_directory(&at("link")), Err(UntrustedFileError::Open)));
        fs::write(at("file"), "").unwrap();
        assert!(matches!(check_directory(&at("file")), Err(UntrustedFileError::Kind("directory"))));
    }
}
