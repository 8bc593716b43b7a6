//! [`HistorySettings`]: past lookups that can be searched.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use crate::config::{limits, serializers};
use crate::diagnostics::Section;

/// Past lookups, for `namegate log` and the status page. They are in `history.sqlite` in `server.state_directory`;
/// without a state directory they are in memory and end with the process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistorySettings {
    /// How long lookups can be searched, up to 30days. 0s: off. It is off too if `admin.listen` is empty.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_age: Duration,
    /// Size of the database, 4MiB to 64GiB; in memory at most 32MiB. When it is full, the client with the most lookups
    /// loses its oldest ones, allowed ones first.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_size: ByteSize,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { max_age: limits::HISTORY_AGE.default, max_size: limits::HISTORY_BYTES.default }
    }
}

/// Reads `[history]`.
pub(super) fn history(mut section: Section<'_, '_>) -> HistorySettings {
    let history = HistorySettings {
        max_age: section.limited("max_age", limits::HISTORY_AGE),
        max_size: section.limited("max_size", limits::HISTORY_BYTES),
    };
    section.finish();
    history
}
