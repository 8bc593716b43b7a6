//! [`Lifetimes`]: how long answers are kept and shown.

use std::time::Duration;

use crate::wire::answer::{AnswerRef, Lifetime};
use crate::wire::reply::Ageing;

/// How long a failure is kept, in milliseconds: RFC 9520 section 3.2 wants at least 1 s and at most 5 min; Azure's
/// resolver recovers within seconds, so that a short time spares it without prolonging an outage.
const FAILURE: u64 = 2000;

/// Bounds on how long answers are kept and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For answers with data.
    pub max: Duration,
    /// For answers that say there is no such name or data.
    pub max_negative: Duration,
    /// How long beyond its time an answer may stand in for one that cannot be had (RFC 8767); zero is not at all.
    pub max_stale: Duration,
    /// Whether an answer in demand is said to be expiring shortly before it does, so that it is fetched anew in time.
    pub prefetch: bool,
}

impl Lifetimes {
    /// How `answer`'s TTLs are shown when it is `age` old and not stale.
    pub fn ageing(&self, answer: AnswerRef<'_>, age: Duration) -> Ageing {
        let max_ttl = match answer.lifetime() {
            Lifetime::Negative(_) => self.max_negative,
            _ => self.max,
        };
        Ageing::By { age, max_ttl }
    }
}

/// The same in milliseconds, as entries are judged.
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
    /// The age from which on an answer is no longer fresh; zero is not to be kept.
    pub(super) fn fresh(&self, lifetime: Lifetime) -> u64 {
        match lifetime {
            Lifetime::Positive(ttl) => (u64::from(ttl) * 1000).min(self.max),
            Lifetime::Negative(ttl) => (u64::from(ttl) * 1000).min(self.max_negative),
            Lifetime::Failure => FAILURE,
            Lifetime::Unknown => 0,
        }
    }

    /// The age from which on it is of no use, not even where no newer one can be had. A failure is never stale data.
    pub(super) fn stale(&self, lifetime: Lifetime) -> u64 {
        match lifetime {
            Lifetime::Positive(_) | Lifetime::Negative(_) => {
                self.fresh(lifetime).saturating_add(self.max_stale)
            }
            Lifetime::Failure | Lifetime::Unknown => self.fresh(lifetime),
        }
    }
}
