//! [`CacheSettings`]: what is remembered of upstream answers.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

use crate::config::{limits, write};
use crate::diagnostics::Section;

/// What is remembered of upstream answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheSettings {
    /// [`limits::CACHE_BYTES`]; 0: no cache.
    #[serde(serialize_with = "write::quantity")]
    pub max_bytes: ByteSize,
    /// [`limits::CACHE_MAX_TTL`], whole seconds.
    #[serde(serialize_with = "write::quantity")]
    pub max_ttl: Duration,
    /// [`limits::CACHE_MAX_NEGATIVE_TTL`], whole seconds.
    #[serde(serialize_with = "write::quantity")]
    pub max_negative_ttl: Duration,
    /// Answers that are asked for again and again are fetched anew shortly before they expire.
    pub prefetch: bool,
    /// Expired answers are given while no upstream has a newer one (RFC 8767).
    pub serve_stale: bool,
    /// [`limits::CACHE_MAX_STALE`], whole seconds.
    #[serde(serialize_with = "write::quantity")]
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
