//! Load on a server from outside: what is asked, how fast, and what came of it; the upstream behind it, and what the
//! server takes of the machine meanwhile.
//!
//! [`Load`] is whatever can put a workload on a server for a while, [`Pace`] how fast. [`udp`] and [`tcp`] ask the next
//! thing when an earlier one is answered, [`open`] at its own pace whatever is answered.

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

/// How often queries without a reply are looked for.
pub(crate) const EXPIRY: Duration = Duration::from_millis(100);

/// Puts a workload on a server. Queries under way at the end of a run are waited for in the next.
pub(crate) trait Load {
    /// Asks until `is_over`.
    fn run(&mut self, workload: &mut Workload, is_over: &dyn Fn() -> bool) -> io::Result<Tally>;
}

/// Whether so much time has passed from now on.
pub(crate) fn after(duration: Duration) -> impl Fn() -> bool {
    let end = Instant::now() + duration;
    move || Instant::now() >= end
}

/// How fast queries are sent, beyond what is allowed to be outstanding. What could not be sent in time is made up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    per_second: Option<f64>,
    start: Instant,
    sent: u64,
}

impl Pace {
    /// The next one as soon as an earlier one is answered.
    pub(crate) fn as_answered() -> Self {
        Self { per_second: None, start: Instant::now(), sent: 0 }
    }

    /// So many a second.
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

    /// Queries that should have been sent by now and were not.
    pub(crate) fn due(&self, now: Instant) -> u64 {
        let rate = self.per_second.unwrap_or(f64::INFINITY);
        ((now.saturating_duration_since(self.start).as_secs_f64() * rate) as u64).saturating_sub(self.sent)
    }

    /// Milliseconds after which to look again though nothing came.
    pub(crate) fn tick(&self) -> u8 {
        if self.per_second.is_some() { 1 } else { 100 }
    }
}
