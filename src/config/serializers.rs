//! Serializers that write settings as TOML that reads back equal.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serializer;

use crate::address::roots::Roots;
use crate::config::value::PLATFORM;
use crate::diagnostics::limit::Quantity;
use crate::wire::name::Name;

/// A number with its unit, as in [`Quantity::written`], but TOML adds the quotes.
pub(super) fn quantity<T: Quantity, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value.written().trim_matches('"'))
}

/// A value in its display form.
pub(super) fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Names in their display form.
pub(super) fn names<S: Serializer>(names: &[Name], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(Name::to_string))
}

/// A path.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// A path, or `""` for none.
pub(super) fn optional_path<S: Serializer>(
    value: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    path(value.as_deref().unwrap_or_else(|| Path::new("")), serializer)
}

/// An address, or `""` for none.
pub(super) fn optional_address<S: Serializer>(
    address: &Option<SocketAddr>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(""),
    }
}

/// The path of the certificates, or `platform`.
pub(super) fn roots<S: Serializer>(roots: &Roots, serializer: S) -> Result<S::Ok, S::Error> {
    match roots {
        Roots::Platform => serializer.serialize_str(PLATFORM),
        Roots::File { path: file, .. } => path(file, serializer),
    }
}
