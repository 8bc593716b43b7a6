//! [`EventSender`]: counts and queues the events of one thread.
//!
//! Each packet thread writes only its own counters and its own queue. If the queue is full, the lookup is lost and
//! counted; the thread never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::counters::Counters;
use crate::config::{LogQueries, Settings};
use crate::events::event::{AnsweredQuery, QueryEvent};
use crate::util::sync::lock;

/// Queue length in lookups of 0.4 KiB each. At 200,000 lookups a second from one thread, the event log may pause for
/// 10 ms.
const QUEUE: usize = 2048;

/// Blocked lookups per tenth of a second that the status page gets one by one. Above that it samples one in [`SPARSE`]:
/// frequent names still show, and a flood costs little more than its replies.
const EACH: u32 = 500;
const SPARSE: u32 = 64;

/// Period over which [`EACH`] applies.
const TENTH: Duration = Duration::from_millis(100);

/// Which lookups the consumers want.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    log: LogQueries,
    /// Of the lookups that the policy does not object to, one in this many is logged.
    sample: u32,
    answers: bool,
    tap: LogQueries,
    /// The status page wants blocked lookups.
    pages: bool,
}

impl Interest {
    /// The consumers that `settings` enable.
    pub fn of(settings: &Settings) -> Self {
        let writes = settings.log.stdout || settings.log.file.is_some();
        Self {
            log: if writes { settings.log.queries } else { LogQueries::None },
            sample: settings.log.sample,
            answers: settings.log.answers,
            tap: if settings.dnstap.socket.is_some() { settings.dnstap.queries } else { LogQueries::None },
            pages: settings.admin.listen.is_some(),
        }
    }
}

fn wants(queries: LogQueries, objected: bool) -> bool {
    match queries {
        LogQueries::None => false,
        LogQueries::Blocked => objected,
        LogQueries::All => true,
    }
}

/// Counts and queues the events of one thread.
pub struct EventSender {
    counters: Arc<Counters>,
    interest: Interest,
    queue: Producer<QueryEvent>,
    lost: Arc<AtomicU64>,
    /// Lookups without objection since the last one that was logged.
    skipped: u32,
    pages: Pages,
}

/// Sampling of blocked lookups for the status page.
struct Pages {
    /// Start of the current tenth of a second, and the last receive time in it.
    since: Instant,
    last: Instant,
    seen: u32,
    unshown: u32,
}

impl Pages {
    /// The number of lookups that the one received at `received` represents; none if it is skipped.
    fn weight(&mut self, received: Instant) -> Option<u32> {
        // Lookups of one batch have the same receive time.
        if received != self.last {
            self.last = received;
            if received.saturating_duration_since(self.since) >= TENTH {
                (self.since, self.seen) = (received, 0);
            }
        }
        self.seen = self.seen.saturating_add(1);
        self.unshown += 1;
        (self.seen <= EACH || self.unshown >= SPARSE).then(|| std::mem::take(&mut self.unshown))
    }
}

impl EventSender {
    /// Creates a sender and the consumer of its queue; `lost` counts lookups that find the queue full.
    pub fn new(
        counters: Arc<Counters>,
        interest: Interest,
        lost: Arc<AtomicU64>,
    ) -> (Self, Consumer<QueryEvent>) {
        let (queue, lookups) = RingBuffer::new(QUEUE);
        let now = Instant::now();
        let pages = Pages { since: now, last: now, seen: 0, unshown: 0 };
        (Self { counters, interest, queue, lost, skipped: 0, pages }, lookups)
    }

    /// The counters of this sender.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Records a reply.
    pub fn replied(&mut self, exchange: &AnsweredQuery<'_>) {
        self.counters.of(exchange.client).response(exchange.record, exchange.elapsed);
        if exchange.client.is_own {
            return;
        }
        let objected = exchange.record.is_against_policy();
        let logged = wants(self.interest.log, objected) && (objected || self.is_sampled());
        let tapped = wants(self.interest.tap, objected);
        let shown = if exchange.record.is_blocked() && self.interest.pages {
            self.pages.weight(exchange.received)
        } else {
            None
        };
        if !(logged || tapped || shown.is_some()) {
            return;
        }
        let whole = tapped || logged && self.interest.answers;
        if let Some(mut lookup) = QueryEvent::of(exchange, whole) {
            (lookup.logged, lookup.tapped, lookup.shown) = (logged, tapped, shown.unwrap_or(0));
            if self.queue.push(lookup).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn is_sampled(&mut self) -> bool {
        self.skipped += 1;
        let sampled = self.skipped >= self.interest.sample;
        if sampled {
            self.skipped = 0;
        }
        sampled
    }
}

/// A sender that tasks on several threads share. UDP workers use their own for replies that wait for nothing.
#[derive(Clone)]
pub struct SharedEventSender {
    counters: Arc<Counters>,
    sender: Arc<Mutex<EventSender>>,
}

impl From<EventSender> for SharedEventSender {
    fn from(sender: EventSender) -> Self {
        Self { counters: Arc::clone(&sender.counters), sender: Arc::new(Mutex::new(sender)) }
    }
}

impl SharedEventSender {
    /// The counters of this sender.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Records a reply.
    pub fn replied(&self, exchange: &AnsweredQuery<'_>) {
        lock(&self.sender).replied(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_is_sampled_and_counts_add_up() {
        let start = Instant::now();
        let mut pages = Pages { since: start, last: start, seen: 0, unshown: 0 };
        let mut tell = |count: u32, after: u64| {
            let received = start + Duration::from_millis(after);
            let told: Vec<u32> = (0..count).filter_map(|_| pages.weight(received)).collect();
            (told.len() as u32, told.iter().sum::<u32>())
        };
        assert_eq!(tell(EACH, 0), (EACH, EACH));
        assert_eq!(tell(SPARSE * 10, 50), (10, SPARSE * 10));
        assert_eq!(tell(SPARSE - 1, 60), (0, 0));
        // Skipped lookups count toward the next one.
        assert_eq!(tell(1, 100), (1, SPARSE));
        assert_eq!(tell(2, 110), (2, 2));
    }
}
