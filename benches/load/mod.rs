//! Load generators: workload, pace and tally of results, the upstream behind the server, and the server's resource use.
//!
//! [`Load`] sends a workload to a server, [`Pace`] says how fast. [`udp`] and [`tcp`] send the next query when an
//! earlier one is answered; [`open`] sends at its own pace, answered or not.

pub(crate) mod flight;
pub(crate) mod open;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod reply;
pub(crate) mod tally;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod upstream;
pub(crate) mod workload;

use std::io;
use std::time::{Duration, Instant};

use tally::Tally;
use workload::Workload;

/// Interval of the search for timed-out queries.
pub(crate) const EXPIRY: Duration = Duration::from_millis(100);

/// Sends a workload to a server. Queries outstanding at the end of a run are awaited in the next.
pub(crate) trait Load {
    /// Sends queries until `is_over`.
    fn run(&mut self, workload: &mut Workload, is_over: &dyn Fn() -> bool) -> io::Result<Tally>;
}

/// Returns a check whether `duration` has passed since this call.
pub(crate) fn after(duration: Duration) -> impl Fn() -> bool {
    let end = Instant::now() + duration;
    move || Instant::now() >= end
}

/// How fast queries are sent, within the limit of outstanding ones. Queries that are late are made up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_second: Option<f64>,
    start: Instant,
    sent: u64,
}

impl Pace {
    /// Sends the next query as soon as an earlier one is answered.
    pub(crate) fn as_answered() -> Self {
        Self { per_second: None, start: Instant::now(), sent: 0 }
    }

    /// Sends this many queries per second.
    pub(crate) fn per_second(queries: f64) -> Self {
        Self { per_second: Some(queries), ..Self::as_answered() }
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        (self.start, self.sent) = (now, 0);
    }

    pub(crate) fn allows(&self, now: Instant) -> bool {
        self.per_second.is_none_or(|rate| (self.sent as f64) < (now - self.start).as_secs_f64() * rate)
    }

    pub(crate) fn count(&mut self) {
        self.sent += 1;
    }

    /// Queries that are due by now and not yet sent.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let rate = self.per_second.unwrap_or(f64::INFINITY);
        ((now.saturating_duration_since(self.start).as_secs_f64() * rate) as u64).saturating_sub(self.sent)
    }

    /// Milliseconds after which to look again even if nothing came.
    pub(crate) fn tick(&self) -> u8 {
        if self.per_second.is_some() { 1 } else { 100 }
    }
}
