//! [`Load`]: whatever can put a workload on a server for a while; [`Pace`]: how fast.

use std::io;
use std::time::{Duration, Instant};

use crate::tally::Tally;
use crate::workload::Workload;

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

    /// Milliseconds after which to look again though nothing came.
    pub(crate) fn tick(&self) -> u8 {
        if self.per_second.is_some() { 1 } else { 100 }
    }
}
