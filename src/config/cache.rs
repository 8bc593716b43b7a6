//! [`CacheSettings`]: what is remembered of upstream answers.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use crate::config::{limits, serializers};
use crate::diagnostics::Section;

/// What is remembered of upstream answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheSettings {
    /// Memory for answers, up to 64GiB; "0B" turns the cache off.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_bytes: ByteSize,
    /// Longest that an answer is kept, 0s to 24h, whatever its own time to live. Lower it while private endpoints move.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_ttl: Duration,
    /// Longest that "no such name" is kept, 0s to 3h. Lower it while names are being created.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_negative_ttl: Duration,
    /// Fetch an answer anew when it is asked for in the last tenth of its time, so that no client waits for it.
    pub prefetch: bool,
    /// While no upstream answers, give answers that have expired (RFC 8767) rather than SERVFAIL, to be kept for 30 s.
    pub serve_stale: bool,
    /// Longest time after its end that an answer is given so, 1s to 3days.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_stale: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            max_bytes: limits::CACHE_BYTES.default,
            max_ttl: limits::CACHE_MAX_TTL.default,
            max_negative_ttl: limits::CACHE_MAX_NEGATIVE_TTL.default,
            prefetch: true,
            serve_stale: false,
            max_stale: limits::CACHE_MAX_STALE.default,
        }
    }
}

/// Reads `[cache]`.
pub(super) fn cache(mut section: Section<'_, '_>) -> CacheSettings {
    let default = CacheSettings::default();
    let cache = CacheSettings {
        max_bytes: section.limited("max_bytes", limits::CACHE_BYTES),
        max_ttl: section.limited("max_ttl", limits::CACHE_MAX_TTL),
        max_negative_ttl: section.limited("max_negative_ttl", limits::CACHE_MAX_NEGATIVE_TTL),
        prefetch: section.or("prefetch", default.prefetch),
        serve_stale: section.or("serve_stale", default.serve_stale),
        max_stale: section.limited("max_stale", limits::CACHE_MAX_STALE),
    };
    section.finish();
    cache
}
