//! [`LoopWatch`]: detects a server that forwards queries back to this resolver.
//!
//! From time to time each server gets a query for a unique name. If that query arrives at a listener of this process,
//! the server forwards to it, and every allowed name would loop until its deadline. A denial in the reply would be
//! weaker evidence: another namegate behind this one sends the same, and some resolvers omit the authority section.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::query::Question;

/// Parent of the names. It does not exist; unlike `invalid`, no resolver answers for it instead of forwarding.
const ORIGIN: [&[u8]; 2] = [b"namegate-loop", b"arpa"];

/// Type of the loop queries: rare, so checking for these names costs other queries nothing.
pub const QTYPE: Type = Type::HINFO;

/// Time between two checks of a server that answers.
const INTERVAL: Duration = Duration::from_secs(300);

/// How often a loop is logged while it lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What is known about one server.
#[derive(Debug)]
pub struct LoopWatch {
    /// Random label that identifies the server a loop query was sent to, so no other query matches.
    id: String,
    arrivals: AtomicU64,
    arrived: Notify,
    is_looping: AtomicBool,
    /// When the server last answered without a loop.
    answered: Mutex<Option<Instant>>,
    logged: Mutex<Option<Instant>>,
}

impl Default for LoopWatch {
    fn default() -> Self {
        Self {
            id: random_label(),
            arrivals: AtomicU64::new(0),
            arrived: Notify::new(),
            is_looping: AtomicBool::new(false),
            answered: Mutex::new(None),
            logged: Mutex::new(None),
        }
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopChange {
    /// The server forwards to this resolver; log it.
    Loops,
    /// The server did so before, and no longer does.
    LoopEnded,
}

impl LoopWatch {
    /// True while the server is known to forward to this resolver.
    pub fn is_looping(&self) -> bool {
        self.is_looping.load(Ordering::Relaxed)
    }

    /// True if a check is due; rare for a server that has answered.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.answered.lock().is_ok_and(|answered| has_passed(*answered, INTERVAL, now))
    }

    /// A question that was never sent before.
    pub(super) fn question(&self) -> Question {
        let nonce = random_label();
        let labels = [&nonce, &self.id].into_iter().map(String::as_bytes).chain(ORIGIN);
        // Labels and name are shorter than their limits.
        let name = Name::from_labels(labels).unwrap_or(Name::ROOT);
        Question { name, qtype: QTYPE, class: Class::IN }
    }

    /// Counts the arrival of a query for `name`, if this server was queried for it.
    pub(super) fn note_arrival(&self, name: &Name) {
        let mut labels = name.labels().skip(1);
        let is_own = labels.next().is_some_and(|label| label == self.id.as_bytes());
        if is_own && labels.eq(ORIGIN) {
            self.arrivals.fetch_add(1, Ordering::Relaxed);
            self.arrived.notify_one();
        }
    }

    /// How many of its loop queries arrived here.
    pub(super) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Relaxed)
    }

    /// Waits until more than `before` of its loop queries have arrived.
    pub(super) async fn arrival(&self, before: u64) {
        while self.arrivals() <= before {
            self.arrived.notified().await;
        }
    }

    /// Ends, at `now`, the check that began with `before` arrivals. `is_answered`: a reply came.
    pub(super) fn note_end(&self, before: u64, is_answered: bool, now: Instant) -> Option<LoopChange> {
        let (Ok(mut answered), Ok(mut logged)) = (self.answered.lock(), self.logged.lock()) else {
            return None;
        };
        if self.arrivals() > before {
            *answered = None;
            self.is_looping.store(true, Ordering::Relaxed);
            let is_due = has_passed(*logged, LOG_INTERVAL, now);
            if is_due {
                *logged = Some(now);
            }
            return is_due.then_some(LoopChange::Loops);
        }
        if !is_answered {
            return None;
        }
        (*answered, *logged) = (Some(now), None);
        self.is_looping.swap(false, Ordering::Relaxed).then_some(LoopChange::LoopEnded)
    }
}

fn random_label() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// True if `interval` has passed since `last`.
fn has_passed(last: Option<Instant>, interval: Duration, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_own_question_counts_as_a_loop() {
        let (ours, theirs) = (LoopWatch::default(), LoopWatch::default());
        let now = Instant::now();
        for (name, is_loop) in [
            (theirs.question().name, false),
            (Name::ROOT, false),
            (Name::from_labels([&b"namegate-loop"[..], b"arpa"]).unwrap(), false),
            (ours.question().name, true),
        ] {
            let before = ours.arrivals();
            ours.note_arrival(&name);
            ours.note_end(before, true, now);
            assert_eq!(ours.is_looping(), is_loop, "{name}");
        }
    }

    #[test]
    fn a_loop_is_logged_now_and_then_and_ends_with_an_answer() {
        let (watch, start) = (LoopWatch::default(), Instant::now());
        let look = |loops: bool, is_answered: bool, seconds: u64| {
            let before = watch.arrivals();
            if loops {
                watch.note_arrival(&watch.question().name);
            }
            watch.note_end(before, is_answered, start + Duration::from_secs(seconds))
        };
        assert_eq!(look(false, true, 0), None);
        assert_eq!(look(true, true, 5), Some(LoopChange::Loops));
        assert_eq!(look(true, false, 10), None, "just logged");
        assert_eq!(look(false, false, 15), None, "silence proves nothing");
        assert!(watch.is_looping());
        assert_eq!(look(true, true, 66), Some(LoopChange::Loops));
        assert_eq!(look(false, true, 70), Some(LoopChange::LoopEnded));
        assert_eq!(look(true, true, 75), Some(LoopChange::Loops), "a new loop is logged at once");
    }

    #[test]
    fn answering_server_is_checked_rarely() {
        let (watch, start) = (LoopWatch::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        watch.note_end(0, false, at(0));
        assert!(watch.is_due(at(0)), "silence proves nothing");
        watch.note_end(0, true, at(5));
        assert!(!watch.is_due(at(304)) && watch.is_due(at(305)));
        watch.note_arrival(&watch.question().name);
        watch.note_end(0, true, at(305));
        assert!(watch.is_due(at(305)), "while it loops");
    }
}
