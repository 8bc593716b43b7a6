//! Stale answers: what is given while nobody has a newer one (RFC 8767), where the settings allow it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::{Freshness, Hit, Kept};
use crate::engine::State;
use crate::policy::AllowedQuery;
use crate::upstream::{Fetched, is_failure};

/// How long clients wait for a newer answer before they get the stale one (RFC 8767 section 5: 1.8 seconds, "to give
/// resolution a chance" before stub resolvers ask again).
pub(super) const CLIENT_PATIENCE: Duration = Duration::from_millis(1800);

/// How long after a failed attempt no new one is made (RFC 8767 section 5: the failure recheck timer, at most 30 seconds).
const RECHECK: Duration = Duration::from_secs(30);

/// A kept answer for those who wait.
pub(super) fn fetched(hit: &Hit<'_>, now: Instant) -> Fetched {
    Fetched {
        answer: Arc::new(hit.answer.to_answer()),
        received: now.checked_sub(hit.age).unwrap_or(now),
        upstream: None,
        is_stale: hit.freshness == Freshness::Stale,
    }
}

/// What goes out instead of a failure: an answer that is still fresh, or a stale one, which is then held for a while.
pub(super) fn instead_of(
    fetched: &Fetched,
    state: &State,
    query: &AllowedQuery<'_>,
    now: Instant,
    kept: &mut Kept,
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
