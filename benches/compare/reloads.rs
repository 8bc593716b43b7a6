//! [`Reloads`]: how long clients wait while a server reads its rules again, beside how long they do otherwise.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::tally::Tally;
use crate::load::workload::Workload;
use crate::load::{Load, after};
use crate::server::Server;

/// Reloads of one measurement.
const RELOADS: usize = 5;
/// How long a reload may take: the server may have no more than what answering leaves of one core.
const LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked whether a reload is over.
const STEP: Duration = Duration::from_millis(20);
/// What belongs to a reload after it: the old rules are freed, and the queries it lost are found to be lost.
const AFTERMATH: Duration = Duration::from_millis(1_500);

/// The same traffic at rest and during reloads.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Reloads {
    pub(crate) quiet: Waits,
    pub(crate) reloading: Waits,
    /// The longest from the signal to the new rules being in force, in seconds.
    pub(crate) longest_seconds: f64,
}

/// How long clients waited for their replies, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    pub(crate) p999_microseconds: f64,
    pub(crate) max_microseconds: f64,
    /// Answered in a second.
    pub(crate) queries_per_second: f64,
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Reloads {
    /// Puts the traffic on a server for a `window` without a reload for each that follows, and then during these.
    ///
    /// Returns also what came of all queries. Errors: a reload fails, or takes too long.
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

    /// What reloading adds to the time within which all but a hundredth of the replies come, in milliseconds.
    pub(crate) fn added_milliseconds(&self) -> f64 {
        (self.reloading.p99_microseconds - self.quiet.p99_microseconds) / 1e3
    }
}

/// Reloads one time after the other; says how long the longest took.
fn reload_in_turn(server: &Server) -> io::Result<Duration> {
    let mut longest = Duration::ZERO;
    for reload in 1..=RELOADS {
        let begin = Instant::now();
        server.reload()?;
        while server.reloads()? < reload {
            if begin.elapsed() > LIMIT {
                return Err(io::Error::other(format!("reload {reload} is not over after {LIMIT:?}")));
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
