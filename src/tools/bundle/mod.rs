//! Bundles: a policy directory as one signed file (`namegate bundle`), and its installation on the machines of a fleet
//! (`namegate pull`).
//!
//! A bundle is a tar file with two members: `policy.tar.zst.minisig`, a minisign signature, and `policy.tar.zst`, which it
//! signs. Nothing in the latter is read before the signature is verified. Its first member is `manifest.json`: serial, expiry,
//! and a hash for each of the files that follow.

mod check;
mod download;
mod error;
mod identity;
mod install;
mod key;
mod manifest;
mod pack;
mod pull;
mod unpack;

pub(crate) use error::PullError;
pub(crate) use identity::Identity;
pub(crate) use key::{PublicKeys, SigningKey};
pub(crate) use pack::pack;
pub(crate) use pull::{PullRequest, Pulled, pull};

/// Name of the manifest in a bundle.
const MANIFEST: &str = "manifest.json";

/// Names of a bundle's members.
const SIGNATURE: &str = "policy.tar.zst.minisig";
const PAYLOAD: &str = "policy.tar.zst";

/// The settings file in a policy directory, if it has one.
const SETTINGS: &str = "namegate.toml";

/// Most files in a bundle, and most bytes in them.
const MAX_FILES: usize = 1000;
const MAX_BYTES: u64 = 256 << 20;
