//! [`Entry`]: an answer with the time it came and the time it goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::answer::{Answer, AnswerRef, Lifetime};
use crate::wire::reply::Ageing;

/// How long a failure is kept: RFC 9520 section 3.2 wants at least 1 s and at most 5 min; Azure's resolver recovers
/// within seconds, so that a short time spares it without prolonging an outage.
pub const FAILURE_TTL: Duration = Duration::from_secs(2);

/// Bounds on how long answers are kept and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For answers with data.
    pub max: Duration,
    /// For answers that say there is no such name or data.
    pub max_negative: Duration,
    /// Stale.
    pub max_stale: Duration,
    /// Prefetch.
    pub prefetch: bool,
}

impl Lifetimes {
    /// How long `answer` may be kept; zero is not at all.
    pub fn of(&self, answer: AnswerRef<'_>) -> Duration {
        match answer.lifetime() {
            Lifetime::Positive(ttl) => Duration::from_secs(u64::from(ttl)).min(self.max),
            Lifetime::Negative(ttl) => Duration::from_secs(u64::from(ttl)).min(self.max_negative),
            Lifetime::Failure => FAILURE_TTL,
            Lifetime::Unknown => Duration::ZERO,
        }
    }

    /// How `answer`'s TTLs are shown when it is `age` old.
    pub fn ageing(&self, answer: AnswerRef<'_>, age: Duration) -> Ageing {
        let max_ttl = match answer.lifetime() {
            Lifetime::Negative(_) => self.max_negative,
            _ => self.max,
        };
        Ageing::By { age, max_ttl }
    }
}

/// A kept answer.
#[derive(Clone, Debug)]
pub struct Entry {
    answer: Arc<Answer>,
    stored: Instant,
    expires: Instant,
}

impl Entry {
    /// Keeps `answer`, received at `now`; none where it may not be kept.
    pub fn new(answer: Arc<Answer>, lifetimes: &Lifetimes, now: Instant) -> Option<Self> {
        let lifetime = lifetimes.of(answer.as_ref().as_ref());
        (!lifetime.is_zero()).then(|| Self { answer, stored: now, expires: now + lifetime })
    }

    /// The answer and its age, while it may be used.
    pub fn fresh(&self, now: Instant) -> Option<(&Answer, Duration)> {
        (now < self.expires).then(|| (&*self.answer, now.saturating_duration_since(self.stored)))
    }

    /// The answer, for those who hold it longer than the entry.
    pub fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }

    /// When the answer was received.
    pub fn received(&self) -> Instant {
        self.stored
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        size_of::<Answer>() + 2 * size_of::<usize>() + self.answer.as_ref().as_ref().bytes().len()
    }
}
