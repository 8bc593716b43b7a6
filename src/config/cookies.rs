//! [`CookieSettings`]: DNS cookies (RFC 7873).

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::serializers;
use crate::config::values::optional_path;
use crate::diagnostics::Section;

/// DNS cookies (RFC 7873) and their secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CookieSettings {
    /// Answer DNS cookies (RFC 7873). A client that returns its cookie has not forged its address.
    pub enabled: bool,
    /// File with the cookie secret, 32 hexadecimal digits, for several servers behind one address. A second line may
    /// hold the previous secret. Empty: a random secret at each start.
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
