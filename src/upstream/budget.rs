//! [`Budget`]: how much one upstream may be asked, at once and per second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Queries that may wait for room at one upstream. More could not be served within the deadline anyway: at 180 in
/// flight and 10 ms each, 1,000 wait 60 ms; at 4 s each they are lost.
const MAX_WAITING: usize = 1000;

/// How far a burst may run ahead of the steady rate: a tenth of a second's worth, well inside the difference between
/// our 900 and Azure's 1,000 queries a second.
const BURST: Duration = Duration::from_millis(100);

/// Time that must be left when a query is sent; with less, its answer would come too late for anyone.
const USEFUL: Duration = Duration::from_millis(100);

/// Limits on one upstream's use (Azure's resolver drops beyond 200 pending and 1,000 queries a second per VM).
#[derive(Debug)]
pub struct Budget {
    slots: std::sync::Arc<Semaphore>,
    max_in_flight: usize,
    /// Time between queries at the steady rate; zero is no limit.
    interval: Duration,
    /// When the next query is due at the steady rate (the generic cell rate algorithm's theoretical arrival time).
    due: Mutex<Option<Instant>>,
    waiting: AtomicUsize,
}

/// Why a query got no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// All places in flight stayed taken.
    InFlight,
    /// The rate was spent.
    Rate,
    /// Too many are waiting already.
    Queue,
}

impl Shed {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::InFlight, Self::Rate, Self::Queue];

    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Rate => "rate",
            Self::Queue => "queue",
        }
    }
}

/// Leave to ask; the place in flight is free again when this is dropped.
pub type Permit = OwnedSemaphorePermit;

impl Budget {
    /// At most `max_in_flight` at once and `max_qps` a second; zero a second is no limit.
    pub fn new(max_in_flight: usize, max_qps: u32) -> Self {
        Self {
            slots: std::sync::Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            interval: if max_qps == 0 { Duration::ZERO } else { Duration::from_secs(1) / max_qps },
            due: Mutex::new(None),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Queries in flight.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight.saturating_sub(self.slots.available_permits())
    }

    /// How long a query would have to wait now; [`Duration::MAX`] where no place is free.
    pub fn wait(&self) -> Duration {
        if self.slots.available_permits() == 0 {
            return Duration::MAX;
        }
        if self.interval.is_zero() {
            return Duration::ZERO;
        }
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now() + BURST))
    }

    /// A place, where there is one at once and the rate allows it; nothing is taken otherwise.
    pub fn try_acquire(&self, now: Instant, deadline: Instant) -> Option<Permit> {
        let permit = std::sync::Arc::clone(&self.slots).try_acquire_owned().ok()?;
        if self.interval.is_zero() {
            return Some(permit);
        }
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let arrival = due.map_or(now, |due| due.max(now));
        if arrival > now + BURST || now + USEFUL > deadline {
            return None;
        }
        *due = Some(arrival + self.interval);
        Some(permit)
    }

    /// Waits for a place and for the rate, at most until `deadline`.
    pub async fn acquire(&self, deadline: Instant) -> Result<Permit, Shed> {
        let waiting = Waiting::enter(&self.waiting)?;
        let slots = std::sync::Arc::clone(&self.slots);
        let Ok(Ok(permit)) = timeout_at(deadline, slots.acquire_owned()).await else {
            return Err(Shed::InFlight);
        };
        let now = Instant::now();
        if now + USEFUL > deadline {
            return Err(Shed::InFlight);
        }
        let start = self.book(now, deadline).ok_or(Shed::Rate)?;
        if start > now {
            sleep_until(start).await;
        }
        drop(waiting);
        Ok(permit)
    }

    /// Books the next query's time: now, or later within `deadline`.
    fn book(&self, now: Instant, deadline: Instant) -> Option<Instant> {
        if self.interval.is_zero() {
            return Some(now);
        }
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let arrival = due.map_or(now, |due| due.max(now));
        let start = arrival.checked_sub(BURST).map_or(now, |earliest| earliest.max(now));
        if start + USEFUL > deadline {
            return None;
        }
        *due = Some(arrival + self.interval);
        Some(start)
    }
}

/// Counts one waiting query, for as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, Shed> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING { Err(Shed::Queue) } else { Ok(waiting) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_rate_is_held_beyond_the_burst() {
        let budget = Budget::new(10, 100);
        let now = Instant::now();
        let deadline = now + Duration::from_secs(6);
        let starts: Vec<Duration> =
            (0..31).map(|_| budget.book(now, deadline).unwrap().duration_since(now)).collect();
        // 100 ms of burst at 10 ms each, then one every 10 ms.
        assert_eq!(starts[10], Duration::ZERO);
        assert_eq!(starts[11], Duration::from_millis(10));
        assert_eq!(starts[30], Duration::from_millis(200));
        assert_eq!(budget.book(now, now + Duration::from_millis(150)), None);
        assert!(budget.try_acquire(now, deadline).is_none());
    }

    #[test]
    fn what_need_not_wait_is_booked_like_the_rest() {
        let budget = Budget::new(20, 100);
        let now = Instant::now();
        let deadline = now + Duration::from_secs(6);
        let permits: Vec<_> = (0..20).map_while(|_| budget.try_acquire(now, deadline)).collect();
        assert_eq!(permits.len(), 11);
        assert_eq!(budget.book(now, deadline), Some(now + Duration::from_millis(10)));
        let unlimited = Budget::new(2, 0);
        let _first = unlimited.try_acquire(now, deadline).unwrap();
        let second = unlimited.try_acquire(now, deadline).unwrap();
        assert!(unlimited.try_acquire(now, deadline).is_none());
        drop(second);
        assert!(unlimited.try_acquire(now, deadline).is_some());
    }
}
