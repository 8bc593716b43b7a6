//! [`TunnelGuardSettings`]: limits new names per client and rule.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// Limits new names per client below rules that cover many names. Rules for a single name are not checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunnelGuardSettings {
    /// What happens to a client's new names above `new_names` or `name_bytes`: "observe" counts and reports them,
    /// "enforce" also blocks them, "off" does neither. Before "enforce", raise the limits if a forwarder queries for
    /// many clients.
    pub mode: GuardMode,
    /// New names per client below one rule within `window`, 10 to 1000000. Names in the cache do not count.
    pub new_names: u32,
    /// Bytes of new names per client below one rule within `window`, without the rule's own labels, 1KiB to 1GiB.
    #[serde(serialize_with = "serializers::quantity")]
    pub name_bytes: ByteSize,
    /// Time window for `new_names` and `name_bytes`, 1s to 24h.
    #[serde(serialize_with = "serializers::quantity")]
    pub window: Duration,
}

/// What happens to new names above a client's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// Nothing is counted.
    Off,
    /// They are counted and reported, but answered.
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
