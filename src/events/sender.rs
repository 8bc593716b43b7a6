//! [`EventSender`]: counts and queues the events of one thread.
//!
//! Each packet thread writes only its own counters and its own queue. If the queue is full, the lookup is lost and
//! counted; the thread never waits.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::counters::Counters;
use crate::config::{LogQueries, Settings};
use crate::events::event::{AnsweredQuery, QueryEvent};
use crate::events::outcome::LookupClass;
use crate::util::sync::lock;

/// Queue length in lookups of 0.4 KiB each. At 200,000 lookups a second from one thread, the event log may pause for
/// 10 ms.
const QUEUE: usize = 2048;

/// Lookups per tenth of a second that the status page and the history get one by one, of allowed ones and of all others.
/// Above that they get one in [`SPARSE`]: frequent names still show, and a flood costs little more than its replies.
const EACH: u32 = 500;
const SPARSE: u32 = 64;

/// Parts into which clients are divided in a flood. Each may still have `EACH / SHARES` lookups per tenth of a second.
const SHARES: usize = 16;

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
    /// The history wants all lookups.
    history: bool,
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
            history: settings.admin.listen.is_some() && !settings.history.max_age.is_zero(),
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
    passed: Sampler,
    failed: Sampler,
}

/// Samples lookups of one kind in a flood. Clients are divided into [`SHARES`], so that a client's flood hides only the
/// lookups of clients that share with it.
struct Sampler {
    /// Start of the current tenth of a second, and the last receive time in it.
    since: Instant,
    last: Instant,
    seen: u32,
    shares: [Share; SHARES],
}

#[derive(Clone, Copy, Default)]
struct Share {
    seen: u32,
    skipped: u32,
}

impl Sampler {
    fn new(now: Instant) -> Self {
        Self { since: now, last: now, seen: 0, shares: [Share::default(); SHARES] }
    }

    /// The number of lookups that the one of `client` received at `received` represents; none if it is skipped.
    fn weight(&mut self, client: IpAddr, received: Instant) -> Option<u32> {
        // Lookups of one batch have the same receive time.
        if received != self.last {
            self.last = received;
            if received.saturating_duration_since(self.since) >= TENTH {
                (self.since, self.seen) = (received, 0);
                self.shares.iter_mut().for_each(|share| share.seen = 0);
            }
        }
        let share = &mut self.shares[share(client)];
        self.seen = self.seen.saturating_add(1);
        share.seen = share.seen.saturating_add(1);
        share.skipped += 1;
        let has_room = self.seen <= EACH || share.seen <= EACH / SHARES as u32;
        (has_room || share.skipped >= SPARSE).then(|| std::mem::take(&mut share.skipped))
    }
}

/// The share of a client: neighbouring addresses have different ones.
fn share(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u32 ^ (bits >> 96) as u32 ^ bits as u32
        }
    };
    ((bits ^ bits >> 16 ^ bits >> 8) as usize) % SHARES
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
        let (passed, failed) = (Sampler::new(now), Sampler::new(now));
        (Self { counters, interest, queue, lost, skipped: 0, passed, failed }, lookups)
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
        // Blocked and failed lookups are sampled by themselves, so that allowed ones never crowd them out.
        let weight = if self.interest.history || exchange.record.is_blocked() && self.interest.pages {
            let passed = exchange.record.class() == LookupClass::Allowed;
            let sampler = if passed { &mut self.passed } else { &mut self.failed };
            sampler.weight(exchange.client.address.ip(), exchange.received)
        } else {
            None
        };
        if !(logged || tapped || weight.is_some()) {
            return;
        }
        let whole = tapped || logged && self.interest.answers;
        if let Some(mut lookup) = QueryEvent::of(exchange, whole) {
            (lookup.logged, lookup.tapped, lookup.weight) = (logged, tapped, weight.unwrap_or(0));
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
    use std::net::Ipv4Addr;

    use super::*;

    const FLOODING: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4));

    #[test]
    fn flood_is_sampled_and_counts_add_up() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let mut tell = |count: u32, after: u64| {
            let received = start + Duration::from_millis(after);
            let told: Vec<u32> = (0..count).filter_map(|_| sampler.weight(FLOODING, received)).collect();
            (told.len() as u32, told.iter().sum::<u32>())
        };
        assert_eq!(tell(EACH, 0), (EACH, EACH));
        assert_eq!(tell(SPARSE * 10, 50), (10, SPARSE * 10));
        assert_eq!(tell(SPARSE - 1, 60), (0, 0));
        // Skipped lookups count toward the next one.
        assert_eq!(tell(1, 100), (1, SPARSE));
        assert_eq!(tell(2, 110), (2, 2));
    }

    #[test]
    fn a_flood_of_one_client_does_not_hide_others() {
        let start = Instant::now();
        let mut sampler = Sampler::new(start);
        let flood = (0..EACH * 10).filter_map(|_| sampler.weight(FLOODING, start)).sum::<u32>();
        assert!(flood > EACH * 9);
        let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
        assert!((0..EACH / SHARES as u32).all(|_| sampler.weight(other, start) == Some(1)));
        assert_eq!(sampler.weight(other, start), None);
    }
}
