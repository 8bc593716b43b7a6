//! [`TunnelGuardSettings`]: how many new names a client may ask for below one rule.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// How many new names a client may ask for below one rule that covers many. Rules for a single name are never its business.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunnelGuardSettings {
    /// What becomes of a client's new names beyond what is set below: "observe" counts and tells them, "enforce" blocks
    /// them, "off" does neither. A server that asks for many clients needs more than the defaults before "enforce".
    pub mode: GuardMode,
    /// New names that one client may ask for below one rule within the window, 10 to 1000000.
    pub new_names: u32,
    /// Bytes of those names, the rule's own labels left out, 1KiB to 1GiB.
    #[serde(serialize_with = "serializers::quantity")]
    pub name_bytes: ByteSize,
    /// Time in which they are counted, 1s to 24h.
    #[serde(serialize_with = "serializers::quantity")]
    pub window: Duration,
}

/// What becomes of names beyond a client's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Nothing is counted.
    Off,
    /// They are counted and told, and answered all the same.
    Observe,
    /// They are blocked.
    Enforce,
}

impl Default for TunnelGuardSettings {
    fn default() -> Self {
        Self {
            mode: GuardMode::Observe,
            new_names: limits::GUARD_NAMES.default,
            name_bytes: limits::GUARD_BYTES.default,
            window: limits::GUARD_WINDOW.default,
        }
    }
}

/// Reads `[tunnel_guard]`.
pub(super) fn tunnel_guard(mut section: Section<'_, '_>) -> TunnelGuardSettings {
    let default = TunnelGuardSettings::default();
    let guard = TunnelGuardSettings {
        mode: section.parsed_or("mode", value::word, default.mode),
        new_names: section.limited("new_names", limits::GUARD_NAMES),
        name_bytes: section.limited("name_bytes", limits::GUARD_BYTES),
        window: section.limited("window", limits::GUARD_WINDOW),
    };
    section.finish();
    guard
}
