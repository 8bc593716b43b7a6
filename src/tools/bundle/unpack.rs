//! Reads bundles: verifies first, then reads the manifest, then unpacks exactly what the manifest lists.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest, Sha256};

use super::key::PublicKeys;
use super::manifest::{BundleManifest, BundledFile};
use super::pack::hex;
use super::{MANIFEST, MAX_BYTES, MAX_FILES, PAYLOAD, SIGNATURE};
use crate::util::escape::excerpt;
use crate::util::own_file;

/// Largest manifest in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// Most bytes of the inner tar file: contents, and for each file a header and the rest of its last block.
const MAX_TAR: u64 = MAX_BYTES + MAX_MANIFEST + 1024 * (MAX_FILES as u64 + 3);

/// The signed part of a bundle. Only [`verify`] makes one.
pub(super) struct VerifiedPayload<'a>(&'a [u8]);

/// Verifies the signature in `bundle`.
///
/// Errors: it is no bundle, or not signed by one of `keys`.
pub(super) fn verify<'a>(bundle: &'a [u8], keys: &PublicKeys) -> Result<VerifiedPayload<'a>, String> {
    let mut members = tar::Archive::new(bundle);
    // Errors of the tar file quote it, and nothing in it is trusted yet.
    let told = |error: &io::Error| excerpt(&error.to_string());
    let members = members.entries().map_err(|error| format!("not a bundle: {}", told(&error)));
    let mut members = members?.raw(true);
    let mut next = |name: &str| -> Result<&'a [u8], String> {
        let member = members.next().ok_or_else(|| format!("not a bundle: no {name}"))?;
        let member = member.map_err(|error| format!("not a bundle, or cut off: {}", told(&error)))?;
        if *member.path_bytes() != *name.as_bytes() || !member.header().entry_type().is_file() {
            return Err(format!("not a bundle: no {name}"));
        }
        let (start, size) = (member.raw_file_position(), member.size());
        let range = usize::try_from(start).ok().zip(usize::try_from(size).ok());
        range
            .and_then(|(start, size)| bundle.get(start..start.checked_add(size)?))
            .ok_or_else(|| "the bundle is cut off".to_owned())
    };
    let (signature, payload) = (next(SIGNATURE)?, next(PAYLOAD)?);
    match keys.verify(payload, signature) {
        true => Ok(VerifiedPayload(payload)),
        false => Err("the signature is wrong, or by another key".to_owned()),
    }
}

impl VerifiedPayload<'_> {
    fn archive(&self) -> io::Result<tar::Archive<impl Read>> {
        let decoder = StreamingDecoder::new(self.0).map_err(io::Error::other)?;
        Ok(tar::Archive::new(decoder.take(MAX_TAR)))
    }

    /// Reads the manifest.
    ///
    /// Errors: it is missing or invalid.
    pub(super) fn manifest(&self) -> Result<BundleManifest, String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut archive = self.archive()?;
            let mut members = archive.entries()?.raw(true);
            let member =
                members.next().transpose()?.filter(|member| *member.path_bytes() == *MANIFEST.as_bytes());
            let mut bytes = Vec::new();
            member.ok_or(io::ErrorKind::NotFound)?.take(MAX_MANIFEST).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        BundleManifest::parse(&read().map_err(|error| format!("{MANIFEST}: {error}"))?)
    }

    /// Unpacks the files of `manifest` into `directory`, and makes sure that they are on the disk.
    ///
    /// Errors: the bundle has other files or contents, or they cannot be written.
    pub(super) fn unpack(&self, manifest: &BundleManifest, directory: &Path) -> io::Result<()> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut archive = self.archive()?;
        let mut members = archive.entries()?.raw(true).skip(1);
        for BundledFile { path, size, sha256 } in &manifest.files {
            let mut member = members.next().transpose()?.ok_or_else(|| invalid(format!("no {path}")))?;
            let is_listed = *member.path_bytes() == *path.as_bytes()
                && member.header().entry_type().is_file()
                && member.size() == *size;
            if !is_listed {
                return Err(invalid(format!("{path} is not as {MANIFEST} lists it")));
            }
            // The manifest has only plain paths.
            let target = directory.join(path);
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&target)?;
            io::copy(&mut member, &mut file)?;
            file.sync_all()?;
            if hash(&target)? != *sha256 {
                return Err(invalid(format!("{path} is not as {MANIFEST} lists it")));
            }
        }
        if members.next().is_some() {
            return Err(invalid(format!("files that {MANIFEST} does not list")));
        }
        let text = manifest.to_json().map_err(invalid)?;
        own_file::replace(&directory.join(MANIFEST), text.as_bytes())?;
        sync_tree(directory)
    }
}

/// True if `directory` has the files of `manifest`, unchanged.
pub(super) fn is_whole(directory: &Path, manifest: &BundleManifest) -> bool {
    let is_same =
        |file: &BundledFile| hash(&directory.join(&file.path)).is_ok_and(|hash| hash == file.sha256);
    manifest.files.iter().all(is_same)
}

fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut digest, mut buffer) = (fs::File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            length => digest.update(&buffer[..length]),
        }
    }
}

/// Makes sure that the names in `directory` and below are on the disk.
fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use tar::EntryType;

    use super::super::key::SigningKey;
    use super::super::pack::tar;
    use super::*;

    /// A member of the inner tar file: the path in its header, type, claimed size, contents.
    type Member = (&'static str, EntryType, u64, &'static [u8]);

    const FILE: EntryType = EntryType::Regular;

    fn manifest(files: &[(&str, &[u8])]) -> BundleManifest {
        let list = |(path, bytes): &(&str, &[u8])| BundledFile {
            path: (*path).to_owned(),
            size: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        };
        let expires = UNIX_EPOCH + Duration::from_secs(60);
        BundleManifest::new(1, UNIX_EPOCH, expires, files.iter().map(list).collect())
    }

    /// A tar file of any members, even those that `tar` would not write.
    fn hostile(manifest: &BundleManifest, members: &[Member]) -> Vec<u8> {
        let text = manifest.to_json().unwrap();
        let mut bytes = tar([(MANIFEST, text.as_bytes())], UNIX_EPOCH).unwrap();
        bytes.truncate(bytes.len() - 1024);
        for (path, kind, size, content) in members {
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(*size);
            header.set_link_name("/etc/passwd").unwrap();
            header.set_mode(0o644);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend([0; 1024]);
        bytes
    }

    /// Unpacks a signed tar file in a directory of its own; beside it nothing may appear.
    fn unpack(tar: &[u8]) -> Result<(), String> {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("stage");
        fs::create_dir(&directory).unwrap();
        let payload = compress_to_vec(tar, CompressionLevel::Fastest);
        let payload = VerifiedPayload(&payload);
        let manifest = payload.manifest();
        let result = manifest.and_then(|manifest| {
            payload.unpack(&manifest, &directory).map_err(|error| error.to_string())?;
            assert!(is_whole(&directory, &manifest));
            Ok(())
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        assert!(no_links(&directory));
        result
    }

    fn no_links(directory: &Path) -> bool {
        fs::read_dir(directory).unwrap().flatten().all(|entry| {
            let kind = entry.file_type().unwrap();
            kind.is_file() || kind.is_dir() && no_links(&entry.path())
        })
    }

    #[test]
    fn only_what_the_manifest_lists_is_unpacked() {
        let (a, b) = (("a.list", b"a.example\n".as_slice()), ("z/b.list", b"b\n".as_slice()));
        let good: [Member; 2] = [(a.0, FILE, 10, a.1), (b.0, FILE, 2, b.1)];
        assert_eq!(unpack(&hostile(&manifest(&[a, b]), &good)), Ok(()));
        let listed = manifest(&[a]);
        for (case, manifest, members) in [
            ("other content", &listed, &[("a.list", FILE, 10, b"a.exampla\n".as_slice())][..]),
            ("another size", &listed, &[("a.list", FILE, 9, b"a.example")]),
            ("a size past the end", &listed, &[("a.list", FILE, 1 << 40, b"a.example\n")]),
            ("another name", &listed, &[("../a.list", FILE, 10, a.1)]),
            ("a link", &listed, &[("a.list", EntryType::Symlink, 10, a.1)]),
            ("a hard link", &listed, &[("a.list", EntryType::Link, 10, a.1)]),
            ("a directory", &listed, &[("a.list", EntryType::Directory, 10, a.1)]),
            ("a device", &listed, &[("a.list", EntryType::Block, 10, a.1)]),
            ("a long name", &listed, &[("a.list", EntryType::GNULongName, 10, a.1), (a.0, FILE, 10, a.1)]),
            ("no file", &listed, &[]),
            ("one more file", &listed, &[(a.0, FILE, 10, a.1), ("../../b", FILE, 2, b.1)]),
            ("a path outside", &manifest(&[("../a.list", a.1)]), &[("../a.list", FILE, 10, a.1)]),
            ("an absolute path", &manifest(&[("/tmp/a.list", a.1)]), &[("/tmp/a.list", FILE, 10, a.1)]),
            (
                "a file as a directory",
                &manifest(&[("a", a.1), ("a/b", b.1)]),
                &[("a", FILE, 10, a.1), ("a/b", FILE, 2, b.1)],
            ),
            ("twice", &manifest(&[a, a]), &[(a.0, FILE, 10, a.1), (a.0, FILE, 10, a.1)]),
            ("nothing", &manifest(&[]), &[]),
        ] {
            assert!(unpack(&hostile(manifest, members)).is_err(), "{case}");
        }
    }

    #[test]
    fn contents_that_expand_without_end_are_refused() {
        let huge = vec![0; 8 << 20];
        let files: Vec<(String, &[u8])> = (0..33).map(|n| (format!("{n:02}"), huge.as_slice())).collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (&**path, *bytes)).collect();
        let error = unpack(&hostile(&manifest(&files), &[])).unwrap_err();
        assert!(error.contains("more than 256 MiB"), "{error}");
    }

    proptest! {
        /// Damage to the outer file, by someone without the key.
        #[test]
        fn damaged_bundles_are_refused(place in 0..4096_usize, bit in 0..8_u8, cut in any::<bool>()) {
            let directory = tempfile::tempdir().unwrap();
            let (key, _) = SigningKey::create(&directory.path().join("key")).unwrap();
            let keys = PublicKeys::read(&[key.public()]).unwrap();
            let payload = vec![7; 1000];
            let signature = key.sign(&payload, "serial 1");
            let members = [(SIGNATURE, signature.as_bytes()), (PAYLOAD, payload.as_slice())];
            let mut bundle = tar(members, UNIX_EPOCH).unwrap();
            prop_assert!(verify(&bundle, &keys).is_ok());
            let place = place % bundle.len();
            if cut { bundle.truncate(place) } else { bundle[place] ^= 1_u8 << bit }
            // Whatever is accepted, it is what was signed.
            if let Ok(verified) = verify(&bundle, &keys) {
                prop_assert_eq!(verified.0, payload.as_slice());
            }
        }

        /// Any bytes in the signed part: errors, but no panic, and nothing outside the directory.
        #[test]
        fn any_signed_content_stays_in_its_directory(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let a = ("a.list", b"a.example\n".as_slice());
            let mut bytes = hostile(&manifest(&[a]), &[(a.0, FILE, 10, a.1)]);
            let length = bytes.len();
            damage.iter().for_each(|(place, byte)| bytes[place.index(length)] = *byte);
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            // The result depends on what is damaged.
            let _ = unpack(&bytes);
        }

        /// The same for the compressed form.
        #[test]
        fn any_compressed_content_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut framed = vec![0x28, 0xb5, 0x2f, 0xfd];
            framed.extend(&bytes);
            prop_assert!(VerifiedPayload(&framed).manifest().is_err());
            prop_assert!(VerifiedPayload(&bytes).manifest().is_err());
        }
    }
}
