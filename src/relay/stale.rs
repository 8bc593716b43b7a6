//! Stale answers (RFC 8767), served while no newer one is available, if the settings allow it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{Freshness, Hit, HitBuffer};
use crate::engine::State;
use crate::policy::AllowedQuery;
use crate::upstream::{Fetched, is_failure};

/// How long clients wait for a newer answer before they get the stale one (RFC 8767 section 5 suggests 1.8 seconds, just
/// under a common client timeout of 2 seconds).
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_millis(1800);

/// Shortest time between a failed attempt and a new one (RFC 8767 section 5, failure recheck timer: "no more
/// frequently than every 30 seconds").
const RECHECK: Duration = Duration::from_secs(30);

/// Makes a result from a cache entry.
pub(super) fn fetched(hit: &Hit<'_>, now: Instant) -> Fetched {
    Fetched {
        answer: Arc::new(hit.answer.to_answer()),
        received: now.checked_sub(hit.age).unwrap_or(now),
        upstream: None,
        is_stale: hit.freshness == Freshness::Stale,
    }
}

/// The answer to send instead of a failure: a fresh one, or a stale one, which the cache then serves
/// without a new attempt for [`RECHECK`].
pub(super) fn instead_of(
    fetched: &Fetched,
    state: &State,
    query: &AllowedQuery<'_>,
    now: Instant,
    kept: &mut HitBuffer,
) -> Option<Fetched> {
    if !is_failure(&fetched.answer) && fetched.upstream.is_some() {
        return None;
    }
    if let Some(hit) = state.cache.get(query, now, kept) {
        return Some(self::fetched(&hit, now));
    }
    let stale = state.cache.get_stale(query, now, kept).map(|hit| self::fetched(&hit, now))?;
    state.cache.hold_stale(query, now, RECHECK);
    Some(stale)
}
