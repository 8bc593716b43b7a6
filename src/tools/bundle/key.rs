//! [`SigningKey`] and [`PublicKeys`]: keys in minisign's format.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest};
use minisign_verify::{PublicKey, Signature};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::util::own_file;
use crate::util::secret_file::SecretFile;

/// Algorithm of a key (Ed25519), and of a signature of the message's BLAKE2b hash.
const KEY: &[u8] = b"Ed";
const PREHASHED: &[u8] = b"ED";

/// Begin of a secret key without a password: algorithms of key, key derivation (none) and checksum.
const PLAIN: &[u8] = b"Ed\0\0B2";

/// The parts of a secret key in bytes: algorithms and parameters of key derivation, number, seed, public key, checksum.
const HEAD: usize = 54;
const ID: usize = 8;
const SEED: usize = 32;
const PUBLIC: usize = 32;
const CHECKSUM: usize = 32;

static FILE: SecretFile =
    SecretFile { what: "key file", setting: "--key", make: "minisign -G -W -p KEY.pub -s /dev/stdout" };

/// A key that signs bundles. It is never shown.
pub(crate) struct SigningKey {
    id: [u8; ID],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads a minisign secret key without a password.
    ///
    /// Errors: the file cannot be read, other users can read it, or it is no such key; with a remedy.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let read = |lines: &[&[u8]]| Ok(lines.get(1).copied().unwrap_or_default().to_vec());
        let line = FILE.read(path, read).map_err(|error| error.to_string())?;
        let key = STANDARD.decode(line).ok().and_then(|bytes| Self::parse(&bytes));
        key.ok_or_else(|| {
            format!(
                "key file {}: not a minisign secret key without a password\n  \
                 help: create one with `namegate bundle --new-key FILE` or `minisign -G -W`",
                path.display()
            )
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let (id, rest) = rest.split_at_checked(ID)?;
        let (seed, rest) = rest.split_at_checked(SEED)?;
        let (public, checksum) = rest.split_at_checked(PUBLIC)?;
        if !head.starts_with(PLAIN) || checksum.len() != CHECKSUM {
            return None;
        }
        // This compares the two, so the checksum, which minisign leaves empty here, is not needed.
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?;
        Some(Self { id: id.try_into().ok()?, pair })
    }

    /// Creates a key pair: `path`, and the public key in a file beside it, whose name ends in `.pub`.
    ///
    /// Errors: a file exists, or cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<(Self, PathBuf)> {
        let mut random = [0; ID + SEED];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let (id, seed) = random.split_at(ID);
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|error| io::Error::other(error.to_string()))?;
        let numbered = [id, seed, pair.public_key().as_ref()].concat();
        let mut head = [0; HEAD];
        head[..PLAIN.len()].copy_from_slice(PLAIN);
        let key = Self { id: id.try_into().map_err(io::Error::other)?, pair };
        let secret = STANDARD.encode([&head[..], &numbered, &[0; CHECKSUM]].concat());
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let mut file = own_file::create_private(path)?;
        writeln!(file, "untrusted comment: minisign secret key {}\n{secret}", key.number())?;
        let public = format!("untrusted comment: minisign public key {}\n{}\n", key.number(), key.public());
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&public_path)?
            .write_all(public.as_bytes())?;
        Ok((key, public_path.into()))
    }

    /// The public key, as `--public-key` takes it.
    pub(crate) fn public(&self) -> String {
        STANDARD.encode([KEY, &self.id, self.pair.public_key().as_ref()].concat())
    }

    /// The key's number as minisign shows it.
    fn number(&self) -> String {
        format!("{:016X}", u64::from_le_bytes(self.id))
    }

    /// The signature file for `message`. `comment` is signed too.
    pub(super) fn sign(&self, message: &[u8], comment: &str) -> String {
        let signature = self.pair.sign(&Blake2b512::digest(message));
        let signature = signature.as_ref();
        let second = self.pair.sign(&[signature, comment.as_bytes()].concat());
        format!(
            "untrusted comment: signature of a namegate bundle\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode([PREHASHED, &self.id, signature].concat()),
            STANDARD.encode(second.as_ref())
        )
    }
}

/// The keys of which one must have signed a bundle.
#[derive(Clone, Debug)]
pub(crate) struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Reads keys, each given in Base64 or as a file.
    ///
    /// Errors: one cannot be read; with a remedy.
    pub(crate) fn read(keys: &[String]) -> Result<Self, String> {
        let read = |text: &String| {
            if let Ok(key) = PublicKey::from_base64(text) {
                return Ok(key);
            }
            let file = fs::read_to_string(text).map_err(|error| error.to_string());
            file.and_then(|file| PublicKey::decode(&file).map_err(|error| error.to_string())).map_err(
                |error| {
                    // It may be a secret key.
                    let begin: String = text.chars().take(40).collect();
                    let rest = if begin.len() < text.len() { "…" } else { "" };
                    format!(
                        "public key {begin}{rest}: {error}\n  \
                         help: pass a minisign public key, or a file with one"
                    )
                },
            )
        };
        keys.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// True if one of the keys made `signature` for `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = str::from_utf8(signature).ok().and_then(|text| Signature::decode(text).ok());
        signature
            .is_some_and(|signature| self.0.iter().any(|key| key.verify(message, &signature, false).is_ok()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINISIGN_KEY: &str = "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA5/ZrFWtfqyYvcj0PbWGdm2eMBAuT\
        FfuwZ7/hwsl7d2txfYzWVcbPs1j31FBSFw6kKefNldeW3HjIHYaQ7Trfkhhn1JDr5a0mAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const MINISIGN_PUBLIC: &str = "RWTn9msVa1+rJlj31FBSFw6kKefNldeW3HjIHYaQ7Trfkhhn1JDr5a0m";

    #[test]
    fn signatures_verify_with_the_right_key_only() {
        let directory = tempfile::tempdir().unwrap();
        let (key, public) = SigningKey::create(&directory.path().join("key")).unwrap();
        let again = SigningKey::read(&directory.path().join("key")).unwrap();
        assert_eq!(again.public(), key.public());
        let (other, _) = SigningKey::create(&directory.path().join("other")).unwrap();
        let by_file = PublicKeys::read(&[public.display().to_string()]).unwrap();
        let by_text = PublicKeys::read(&[other.public(), key.public()]).unwrap();
        let (message, signature) = (b"message".as_slice(), key.sign(b"message", "serial 7"));
        for keys in [&by_file, &by_text] {
            assert!(keys.verify(message, signature.as_bytes()));
            assert!(!keys.verify(b"massage", signature.as_bytes()));
            assert!(!keys.verify(message, signature.replace("serial 7", "serial 8").as_bytes()));
        }
        assert!(!by_file.verify(message, other.sign(message, "serial 7").as_bytes()));
        for wrong in ["", "untrusted comment: x\n", "a\nb\nc\nd\n", "\u{fc}\n\n\n\n"] {
            assert!(!by_file.verify(message, wrong.as_bytes()));
        }
    }

    /// Made by `minisign -G -W`, version 0.11.
    #[test]
    fn keys_of_minisign_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut file = own_file::create_private(&path).unwrap();
        writeln!(file, "untrusted comment: minisign encrypted secret key\n{MINISIGN_KEY}").unwrap();
        let key = SigningKey::read(&path).unwrap();
        assert_eq!(key.public(), MINISIGN_PUBLIC);
        let public = PublicKeys::read(&[MINISIGN_PUBLIC.to_owned()]).unwrap();
        assert!(public.verify(b"a", key.sign(b"a", "serial 7").as_bytes()));
    }

    #[test]
    fn damaged_secret_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        SigningKey::create(&path).unwrap();
        assert_eq!(SigningKey::create(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        let text = fs::read_to_string(&path).unwrap();
        let (comment, line) = text.trim_end().split_once('\n').unwrap();
        let bytes = STANDARD.decode(line).unwrap();
        for place in [0, 2, 70, 100] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            fs::write(&path, format!("{comment}\n{}\n", STANDARD.encode(bytes))).unwrap();
            assert!(SigningKey::read(&path).err().unwrap().contains("minisign -G -W"), "{place}");
        }
    }
}
