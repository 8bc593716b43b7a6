//! [`CookieSettings`]: DNS cookies (RFC 7873).

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::serializers;
use crate::config::values::optional_path;
use crate::diagnostics::Section;

/// Whether clients are given cookies, and what they are made with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CookieSettings {
    /// Answer DNS cookies (RFC 7873): who brings back the one it was given has not forged its address.
    pub enabled: bool,
    /// A file with the secret they are made with, 32 hexadecimal digits, for several gates behind one address; a second
    /// line may have the secret before. Empty: one that is made up at each start.
    #[serde(serialize_with = "serializers::optional_path")]
    pub secret_file: Option<PathBuf>,
}

impl Default for CookieSettings {
    fn default() -> Self {
        Self { enabled: true, secret_file: None }
    }
}

/// Reads `[cookies]`.
pub(super) fn cookies(mut section: Section<'_, '_>, base: &Path) -> CookieSettings {
    let default = CookieSettings::default();
    let cookies = CookieSettings {
        enabled: section.or("enabled", default.enabled),
        secret_file: optional_path(&mut section, "secret_file", base),
    };
    section.finish();
    cookies
}
