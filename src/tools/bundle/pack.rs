//! [`pack`]: makes a bundle of a policy directory.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sha2::{Digest, Sha256};

use super::key::SigningKey;
use super::manifest::{BundleManifest, BundledFile};
use super::{MANIFEST, MAX_BYTES, PAYLOAD, SIGNATURE, check};
use crate::util::rfc3339;

/// The first time that RFC 3339 cannot write, 10000-01-01, in seconds since 1970.
const LAST: Duration = Duration::from_secs(253_402_300_800);

/// Permissions of all files.
const MODE: u32 = 0o644;

/// A bundle.
pub(crate) struct Packed {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// What it contains.
    pub(crate) manifest: BundleManifest,
}

/// Packs the files in `directory` and signs them. Equal input makes equal bytes.
///
/// Errors: a file cannot be read or may not be in a bundle, or the allowlists or settings have errors.
pub(crate) fn pack(
    directory: &Path,
    serial: u64,
    (created, lifetime): (SystemTime, Duration),
    key: &SigningKey,
    output: &Path,
) -> Result<Packed, String> {
    let expires = created.checked_add(lifetime).filter(|expires| *expires < UNIX_EPOCH + LAST);
    let expires = expires.ok_or("the bundle would expire after the year 9999")?;
    if expires <= SystemTime::now() {
        return Err(format!("the bundle would expire at once, at {}", rfc3339::seconds(expires)));
    }
    let mut files = Vec::new();
    collect(directory, "", &mut files)?;
    files.sort();
    // An earlier bundle is no part of the next one.
    let output = output.canonicalize();
    let is_output = |path: &str| directory.join(path).canonicalize().ok().zip(output.as_ref().ok());
    files.retain(|(path, _)| is_output(path).is_none_or(|(path, output)| path != *output));
    if let Some(secret) = check::secret(directory, &files) {
        return Err(secret);
    }
    let list = |(path, bytes): &(String, Vec<u8>)| BundledFile {
        path: path.clone(),
        size: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
    };
    let manifest = BundleManifest::new(serial, created, expires, files.iter().map(list).collect());
    if let Some(fault) = manifest.refuse() {
        return Err(format!("{}: {fault}", directory.display()));
    }
    check::check(directory, &manifest)?;
    let text = manifest.to_json()?;
    let members = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    let payload = tar(std::iter::once((MANIFEST, text.as_bytes())).chain(members), created)?;
    let payload = compress_to_vec(payload.as_slice(), CompressionLevel::Fastest);
    let expires = rfc3339::seconds(expires);
    let signature = key.sign(&payload, &format!("namegate policy, serial {serial}, expires {expires}"));
    let bytes = tar([(SIGNATURE, signature.as_bytes()), (PAYLOAD, &payload)], created)?;
    Ok(Packed { bytes, manifest })
}

/// Adds the files below `directory`. Those whose names begin with a dot are left out, such as `.git`.
fn collect(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), String> {
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for entry in fs::read_dir(directory).map_err(|error| fail(directory, error))? {
        let entry = entry.map_err(|error| fail(directory, error))?;
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(|error| fail(&path, error))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            let size = entry.metadata().map_err(|error| fail(&path, error))?.len();
            if size > MAX_BYTES {
                return Err(format!("{}: larger than {} MiB", path.display(), MAX_BYTES >> 20));
            }
            files.push((name, fs::read(&path).map_err(|error| fail(&path, error))?));
        } else {
            return Err(format!(
                "{}: not a regular file\n  help: a bundle has no links: copy the file here",
                path.display()
            ));
        }
    }
    Ok(())
}

/// A tar file that depends only on names, contents and `created`.
pub(super) fn tar<'a>(
    members: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    created: SystemTime,
) -> Result<Vec<u8>, String> {
    let time = created.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(MODE);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_cksum();
        builder.append(&header, bytes)
    };
    for (path, bytes) in members {
        add(path, bytes).map_err(|error| format!("{path}: {error}"))?;
    }
    builder.into_inner().map_err(|error| error.to_string())
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
