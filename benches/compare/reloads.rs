//! [`Reloads`]: client latency while a server reloads its rules, compared with latency at rest.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::tally::Tally;
use crate::load::workload::Workload;
use crate::load::{Load, after};
use crate::server::Server;

/// Reloads per measurement.
const RELOADS: usize = 5;
/// Timeout for a reload: the server shares one core with answering.
const LIMIT: Duration = Duration::from_secs(120);
/// Interval of checks whether a reload is over.
const STEP: Duration = Duration::from_millis(20);
/// Time after a reload that still counts as part of it: the old rules are freed, and lost queries time out.
const AFTERMATH: Duration = Duration::from_millis(1_500);

/// The same traffic at rest and during reloads.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reloads {
    pub(crate) quiet: Waits,
    pub(crate) reloading: Waits,
    /// Longest time from the signal until the new rules are in force, in seconds.
    pub(crate) longest_seconds: f64,
}

/// Client latency, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    pub(crate) p999_microseconds: f64,
    pub(crate) max_microseconds: f64,
    /// Answered queries per second.
    pub(crate) queries_per_second: f64,
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Reloads {
    /// Sends the traffic to a server for one `window` per reload, first without reloads and then during them.
    ///
    /// Also returns the tally of all queries. Errors: a reload fails or times out.
    pub(crate) fn measure(
        server: &Server,
        load: &mut dyn Load,
        workload: &mut Workload,
        window: Duration,
    ) -> io::Result<(Self, Tally)> {
        let quiet_time = window * RELOADS as u32;
        let mut quiet = load.run(workload, &after(quiet_time))?;
        let begin = Instant::now();
        let (during, longest) = thread::scope(|scope| {
            let reloads = scope.spawn(|| reload_in_turn(server));
            let during = load.run(workload, &|| reloads.is_finished());
            (during, reloads.join())
        });
        let reload_time = begin.elapsed();
        let longest = longest.unwrap_or_else(|panic| resume_unwind(panic))?;
        let mut during = during?;
        let reloads = Self {
            quiet: Waits::of(&mut quiet, quiet_time),
            reloading: Waits::of(&mut during, reload_time),
            longest_seconds: longest.as_secs_f64(),
        };
        quiet.add(during);
        Ok((reloads, quiet))
    }

    /// What reloading adds to the 99th percentile of latency, in milliseconds.
    pub(crate) fn added_milliseconds(&self) -> f64 {
        (self.reloading.p99_microseconds - self.quiet.p99_microseconds) / 1e3
    }
}

/// Reloads one after the other; returns the longest duration.
fn reload_in_turn(server: &Server) -> io::Result<Duration> {
    let mut longest = Duration::ZERO;
    for reload in 1..=RELOADS {
        let begin = Instant::now();
        server.reload()?;
        while server.reloads()? < reload {
            if begin.elapsed() > LIMIT {
                return Err(io::Error::other(format!("reload {reload} has not finished after {LIMIT:?}")));
            }
            thread::sleep(STEP);
        }
        longest = longest.max(begin.elapsed());
        thread::sleep(AFTERMATH);
    }
    Ok(longest)
}

impl Waits {
    fn of(tally: &mut Tally, time: Duration) -> Self {
        let [p50, p99, p999, max] = tally.quantiles([0.50, 0.99, 0.999, 1.0]);
        Self {
            p50_microseconds: p50,
            p99_microseconds: p99,
            p999_microseconds: p999,
            max_microseconds: max,
            queries_per_second: tally.answered as f64 / time.as_secs_f64(),
            answered: tally.answered,
            wrong: tally.wrong,
            lost: tally.lost,
        }
    }
}
