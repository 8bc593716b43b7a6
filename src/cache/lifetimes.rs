//! [`Lifetimes`]: how long answers are cached, and the TTLs that clients get.

use std::time::Duration;

use crate::wire::answer::{AnswerRef, Lifetime};
use crate::wire::reply::Ageing;

/// How long a failure is cached, in milliseconds. RFC 9520 section 3.2 requires 1 s to 5 min. Azure's resolver recovers
/// within seconds, so a short time protects it without prolonging an outage.
const FAILURE: u64 = 2000;

/// The configured TTL limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For answers with data.
    pub max: Duration,
    /// For negative answers (no such name or no such data).
    pub max_negative: Duration,
    /// How long an expired answer may be served if no newer one is available (RFC 8767); zero means never.
    pub max_stale: Duration,
    /// Report answers in demand as expiring shortly before they do, so that they are fetched again in time.
    pub prefetch: bool,
}

impl Lifetimes {
    /// How to change the TTLs of `answer` when it is `age` old and not stale.
    pub fn ageing(&self, answer: AnswerRef<'_>, age: Duration) -> Ageing {
        let max_ttl = match answer.lifetime() {
            Lifetime::Negative(_) => self.max_negative,
            _ => self.max,
        };
        Ageing::By { age, max_ttl }
    }
}

/// [`Lifetimes`] in milliseconds, for checking entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    max: u64,
    max_negative: u64,
    max_stale: u64,
}

impl From<&Lifetimes> for Limits {
    fn from(lifetimes: &Lifetimes) -> Self {
        let [max, max_negative, max_stale] = [lifetimes.max, lifetimes.max_negative, lifetimes.max_stale]
            .map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        Self { max, max_negative, max_stale }
    }
}

impl Limits {
    /// The age from which an answer is no longer fresh; zero means that it is not cached.
    pub(super) fn fresh(&self, lifetime: Lifetime) -> u64 {
        match lifetime {
            Lifetime::Positive(ttl) => (u64::from(ttl) * 1000).min(self.max),
            Lifetime::Negative(ttl) => (u64::from(ttl) * 1000).min(self.max_negative),
            Lifetime::Failure => FAILURE,
            Lifetime::Unknown => 0,
        }
    }

    /// The age from which an answer may not even be served stale. A failure is never served stale.
    pub(super) fn stale(&self, lifetime: Lifetime) -> u64 {
        match lifetime {
            Lifetime::Positive(_) | Lifetime::Negative(_) => {
                self.fresh(lifetime).saturating_add(self.max_stale)
            }
            Lifetime::Failure | Lifetime::Unknown => self.fresh(lifetime),
        }
    }
}
