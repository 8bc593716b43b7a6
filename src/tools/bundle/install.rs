//! [`PolicyDirectory`]: the installed bundle, in directories that are switched as Kubernetes switches a ConfigMap.
//!
//! ```text
//! DIR/..data -> ..12-5f0c     the bundle in force: renamed over, so that it is always whole
//! DIR/..12-5f0c/              its files and its manifest
//! DIR/..11-9a31/              the one before, for readers that have begun with it
//! DIR/mine.list -> ..data/mine.list
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MANIFEST;
use super::manifest::BundleManifest;
use super::unpack::is_whole;
use crate::util::own_file;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data.new";
const STAGE: &str = "..new";
const LOCK: &str = ".namegate-pull.lock";

/// In a bundle's directory. No file of a bundle begins with a dot.
const ETAG: &str = ".etag.json";

/// Where bundles are installed. Held by one process at a time.
pub(super) struct PolicyDirectory {
    path: PathBuf,
    _lock: File,
}

/// What is installed.
pub(super) struct InstalledBundle {
    pub(super) manifest: BundleManifest,
    /// False if files were changed or removed since.
    pub(super) is_whole: bool,
    /// Name of its directory.
    name: PathBuf,
}

/// The version of the installed bundle on the server.
#[derive(Serialize, Deserialize)]
struct StoredEtag {
    url: String,
    etag: String,
}

impl PolicyDirectory {
    /// Opens `path`, and creates it if it does not exist; none if another process holds it.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let lock = fs::OpenOptions::new().create(true).append(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: lock })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The installed bundle; none if there is none yet.
    ///
    /// Errors: its manifest cannot be read, so that its serial is unknown.
    pub(super) fn installed(&self) -> Result<Option<InstalledBundle>, String> {
        let name = match fs::read_link(self.path.join(DATA)) {
            Ok(name) => name,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", self.path.join(DATA).display())),
        };
        let directory = self.path.join(&name);
        let path = directory.join(MANIFEST);
        let manifest = fs::read(&path).map_err(|error| error.to_string());
        let manifest = manifest.and_then(|bytes| BundleManifest::parse(&bytes)).map_err(|error| {
            format!("{}: {error}\n  help: remove {} to install anew", path.display(), self.path.display())
        })?;
        Ok(Some(InstalledBundle { is_whole: is_whole(&directory, &manifest), manifest, name }))
    }

    /// An empty directory for a new bundle.
    pub(super) fn stage(&self) -> io::Result<PathBuf> {
        let path = self.path.join(STAGE);
        // A process that was killed may have left it.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(&path)?,
        }
        Ok(path)
    }

    /// Puts the staged bundle in force, whole or not at all.
    ///
    /// Errors: a file of the same name is in the way, or a file cannot be written.
    pub(super) fn activate(&self, manifest: &BundleManifest) -> io::Result<()> {
        self.link(manifest)?;
        let name = PathBuf::from(format!("..{}-{:08x}", manifest.serial, rand::random::<u32>()));
        fs::rename(self.path.join(STAGE), self.path.join(&name))?;
        let new = self.path.join(NEW_DATA);
        remove(&new)?;
        symlink(&name, &new)?;
        File::open(&self.path)?.sync_all()?;
        fs::rename(&new, self.path.join(DATA))?;
        File::open(&self.path)?.sync_all()
    }

    /// Creates the links that lead to the files, wherever one is missing.
    pub(super) fn link(&self, manifest: &BundleManifest) -> io::Result<()> {
        for name in manifest.top_names() {
            let (link, target) = (self.path.join(name), Path::new(DATA).join(name));
            match fs::read_link(&link) {
                Ok(found) if found == target => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => symlink(&target, &link)?,
                _ => {
                    let text = format!("{} is not from a bundle; move it away", link.display());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
                }
            }
        }
        Ok(())
    }

    /// Removes what neither `manifest`, which is in force, nor the bundle in the directory `previous` needs.
    pub(super) fn tidy(&self, manifest: &BundleManifest, previous: Option<&Path>) -> io::Result<()> {
        let current = fs::read_link(self.path.join(DATA))?;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let (name, path) = (PathBuf::from(entry.file_name()), entry.path());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if is_bundle(&name) && name != current && previous != Some(&name) {
                    fs::remove_dir_all(&path)?;
                }
            } else if kind.is_symlink() {
                let is_own = fs::read_link(&path)? == Path::new(DATA).join(&name);
                if is_own && !manifest.top_names().any(|top| Path::new(top) == name) {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// The ETag of the installed bundle at `url`, if it is known.
    pub(super) fn etag(&self, url: &str) -> Option<String> {
        let stored = fs::read(self.path.join(DATA).join(ETAG)).ok()?;
        let stored: StoredEtag = serde_json::from_slice(&stored).ok()?;
        (stored.url == url).then_some(stored.etag)
    }

    /// Stores the ETag of what is in force. If that fails, the next pull downloads the bundle again.
    pub(super) fn store_etag(&self, url: &str, etag: Option<String>) {
        let path = self.path.join(DATA).join(ETAG);
        let store = |etag| -> io::Result<()> {
            own_file::replace(&path, &serde_json::to_vec(&StoredEtag { url: url.to_owned(), etag })?)
        };
        let _ = etag.map_or_else(|| remove(&path), store);
    }
}

impl InstalledBundle {
    /// The name of its directory.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }
}

/// True for the name of a directory that [`PolicyDirectory::activate`] makes, or [`STAGE`].
fn is_bundle(name: &Path) -> bool {
    let parts = || name.to_str()?.strip_prefix("..")?.split_once('-');
    let is_numbered = parts().is_some_and(|(serial, random)| {
        serial.parse::<u64>().is_ok() && random.len() == 8 && u32::from_str_radix(random, 16).is_ok()
    });
    is_numbered || name == STAGE
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
