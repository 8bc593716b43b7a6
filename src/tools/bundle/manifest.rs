//! [`BundleManifest`]: what a bundle contains.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{MANIFEST, MAX_BYTES, MAX_FILES};
use crate::util::rfc3339;

/// The form of bundles that this version reads and writes.
const FORMAT: u32 = 1;

/// Longest path of a file, and most names in it.
const MAX_PATH: usize = 200;
const MAX_DEPTH: usize = 8;

/// A bundle's serial, times and files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundleManifest {
    format: u32,
    /// Rises with every bundle.
    pub(crate) serial: u64,
    /// When the bundle was made.
    #[serde(with = "rfc3339::as_seconds")]
    pub(crate) created: SystemTime,
    /// Until when it may be installed.
    #[serde(with = "rfc3339::as_seconds")]
    pub(crate) expires: SystemTime,
    /// In the order of their paths.
    pub(crate) files: Vec<BundledFile>,
}

/// A file in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundledFile {
    /// Relative to the policy directory.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
    /// Its SHA-256 hash in hexadecimal.
    pub(crate) sha256: String,
}

impl BundleManifest {
    /// A manifest of `files`, in the order of their paths.
    pub(super) fn new(
        serial: u64,
        created: SystemTime,
        expires: SystemTime,
        files: Vec<BundledFile>,
    ) -> Self {
        Self { format: FORMAT, serial, created, expires, files }
    }

    /// As in a bundle.
    pub(super) fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| error.to_string())
    }

    /// Reads a manifest.
    ///
    /// Errors: it is none, of another version, or has files that a bundle may not have.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("{MANIFEST}: {error}"))?;
        if manifest.format != FORMAT {
            return Err(format!("format {}, but this namegate reads format {FORMAT}", manifest.format));
        }
        manifest.refuse().map_or(Ok(manifest), Err)
    }

    /// Why a bundle may not have these files.
    pub(super) fn refuse(&self) -> Option<String> {
        if let Some(BundledFile { path, .. }) = self.files.iter().find(|file| !is_plain(&file.path)) {
            return Some(format!(
                "file name `{}`: use letters, digits, `.`, `_` and `-`, and no leading dot",
                path.escape_debug()
            ));
        }
        if !self.files.is_sorted_by(|one, next| one.path < next.path) {
            return Some("files out of order".to_owned());
        }
        let bytes = self.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
        match self.files.len() {
            0 => Some("no files".to_owned()),
            count if count > MAX_FILES => Some(format!("{count} files, more than {MAX_FILES}")),
            _ if bytes > MAX_BYTES => {
                Some(format!("files of {bytes} bytes, more than {} MiB", MAX_BYTES >> 20))
            }
            _ => None,
        }
    }

    /// The names at the top of the policy directory.
    pub(super) fn top_names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.path.split('/').next())
    }
}

/// True for a path that stays below its directory and means the same everywhere.
fn is_plain(path: &str) -> bool {
    let is_plain_name = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain)
    };
    path.len() <= MAX_PATH
        && path.split('/').count() <= MAX_DEPTH
        && path.split('/').all(is_plain_name)
        && path != MANIFEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_below_the_directory_are_accepted() {
        let long = "a".repeat(MAX_PATH + 1);
        for (path, expected) in [
            ("namegate.toml", true),
            ("zones/team-a_1.list", true),
            ("zones/manifest.json", true),
            ("manifest.json", false),
            ("", false),
            ("/etc/passwd", false),
            ("../x", false),
            ("a/../x", false),
            ("a/./x", false),
            ("a//x", false),
            ("a/", false),
            ("..data", false),
            (".hidden", false),
            ("a b", false),
            ("a\\b", false),
            ("a\nb", false),
            ("\u{fc}", false),
            ("1/2/3/4/5/6/7/8/9", false),
            (long.as_str(), false),
        ] {
            assert_eq!(is_plain(path), expected, "{path}");
        }
    }
}
