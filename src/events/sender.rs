//! [`EventSender`]: one thread's way to say what it did.
//!
//! The packet path counts, and puts what somebody wants to know into a queue of its own, which no other thread writes.
//! When the queue is full the lookup is lost and counted, never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::counters::Counters;
use crate::config::{LogQueries, Settings};
use crate::events::event::{AnsweredQuery, QueryEvent};
use crate::util::sync::lock;

/// Lookups a queue holds, of 0.4 KiB each: at 200,000 a second from one thread, 10 ms for the reader to catch its
/// breath.
const QUEUE: usize = 2048;

/// Blocked lookups in a tenth of a second that the pages are told of one by one; of more, one stands for [`SPARSE`].
/// What is frequent is seen all the same, and a flood costs little more than its replies.
const EACH: u32 = 500;
const SPARSE: u32 = 64;

/// How long [`EACH`] is counted for.
const TENTH: Duration = Duration::from_millis(100);

/// Which lookups somebody wants to be told of.
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    log: LogQueries,
    /// One in this many of the lookups that are not blocked is logged.
    sample: u32,
    answers: bool,
    tap: LogQueries,
    /// The pages want blocked lookups.
    pages: bool,
}

impl Interest {
    /// What the settings ask for.
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

fn wants(queries: LogQueries, blocked: bool) -> bool {
    match queries {
        LogQueries::None => false,
        LogQueries::Blocked => blocked,
        LogQueries::All => true,
    }
}

/// Counts what one thread did, and tells of it.
pub struct EventSender {
    counters: Arc<Counters>,
    interest: Interest,
    queue: Producer<QueryEvent>,
    lost: Arc<AtomicU64>,
    /// Lookups that are not blocked, since the last that was logged.
    skipped: u32,
    pages: Pages,
}

/// How many blocked lookups there were for the pages alone.
struct Pages {
    /// The tenth of a second that is counted, and the last time something was received in it.
    since: Instant,
    last: Instant,
    seen: u32,
    untold: u32,
}

impl Pages {
    /// How many lookups the one received at `received` stands for, if it is to be told.
    fn weight(&mut self, received: Instant) -> Option<u32> {
        // Lookups of one batch were received at one time.
        if received != self.last {
            self.last = received;
            if received.saturating_duration_since(self.since) >= TENTH {
                (self.since, self.seen) = (received, 0);
            }
        }
        self.seen = self.seen.saturating_add(1);
        self.untold += 1;
        (self.seen <= EACH || self.untold >= SPARSE).then(|| std::mem::take(&mut self.untold))
    }
}

impl EventSender {
    /// A sender and the end that its lookups come out of; those that find no room are counted in `lost`.
    pub fn new(
        counters: Arc<Counters>,
        interest: Interest,
        lost: Arc<AtomicU64>,
    ) -> (Self, Consumer<QueryEvent>) {
        let (queue, lookups) = RingBuffer::new(QUEUE);
        let now = Instant::now();
        let pages = Pages { since: now, last: now, seen: 0, untold: 0 };
        (Self { counters, interest, queue, lost, skipped: 0, pages }, lookups)
    }

    /// The counters it counts on.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// A reply was made.
    pub fn replied(&mut self, exchange: &AnsweredQuery<'_>) {
        self.counters.response(exchange.record, exchange.elapsed);
        let blocked = exchange.is_blocked();
        let logged = wants(self.interest.log, blocked) && (blocked || self.is_sampled());
        let tapped = wants(self.interest.tap, blocked);
        let shown = if blocked && self.interest.pages { self.pages.weight(exchange.received) } else { None };
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

/// A sender that tasks on several threads share; off the path of replies that need nobody else.
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
    /// The counters it counts on.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// A reply was made.
    pub fn replied(&self, exchange: &AnsweredQuery<'_>) {
        lock(&self.sender).replied(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_by_a_part_that_stands_for_all() {
        let start = Instant::now();
        let mut pages = Pages { since: start, last: start, seen: 0, untold: 0 };
        let mut tell = |count: u32, after: u64| {
            let received = start + Duration::from_millis(after);
            let told: Vec<u32> = (0..count).filter_map(|_| pages.weight(received)).collect();
            (told.len() as u32, told.iter().sum::<u32>())
        };
        assert_eq!(tell(EACH, 0), (EACH, EACH));
        assert_eq!(tell(SPARSE * 10, 50), (10, SPARSE * 10));
        assert_eq!(tell(SPARSE - 1, 60), (0, 0));
        // What was left untold goes with the next.
        assert_eq!(tell(1, 100), (1, SPARSE));
        assert_eq!(tell(2, 110), (2, 2));
    }
}
