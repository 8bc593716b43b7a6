//! [`CacheSettings`]: the cache of upstream answers.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use crate::config::{limits, serializers};
use crate::diagnostics::Section;

/// The cache of upstream answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheSettings {
    /// Memory for cache entries, up to 64GiB; "0B" turns the cache off.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_bytes: ByteSize,
    /// Longest time an answer is cached, 0s to 24h, whatever its TTL. Lower it while addresses of private endpoints
    /// change.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_ttl: Duration,
    /// Longest time a negative answer is cached, 0s to 3h. Lower it while you create new names.
    #[serde(serialize_with = "serializers::quantity")]
    pub max_negative_ttl: Duration,
    /// Refresh a cache entry that is queried in the last tenth of its TTL, so that no client waits for it.
    pub prefetch: bool,
    /// While no upstream answers, serve expired cache entries (RFC 8767) with a TTL of 30 s instead of SERVFAIL.
    pub serve_stale: bool,
    /// Longest time after expiry that a cache entry is served, 1s to 3d.
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
