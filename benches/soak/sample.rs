//! [`Sample`]: namegate's state at one moment, from outside and from its own counters.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::load::process;
use crate::support::Gate;

/// Namegate's state at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Time since the start.
    pub(crate) at: Duration,
    /// Memory in bytes: resident, and the part that is anonymous.
    pub(crate) resident: u64,
    pub(crate) anonymous: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    /// From its own counters.
    pub(crate) queries: f64,
    pub(crate) responses: f64,
    pub(crate) dropped: f64,
    pub(crate) in_flight: f64,
    pub(crate) cache_bytes: f64,
}

impl Sample {
    /// Header line of the CSV.
    pub(crate) const HEAD: &str = "seconds,resident_kib,anonymous_kib,descriptors,threads,queries,responses,dropped,in_flight,cache_kib";

    /// Takes a sample.
    pub(crate) fn take(gate: &Gate, at: Duration) -> io::Result<Self> {
        let metrics = gate.metrics();
        let sum = |name| metrics.sum(name, &[]);
        let memory = process::memory(gate.pid())?;
        Ok(Self {
            at,
            resident: memory.resident,
            anonymous: memory.anonymous,
            descriptors: process::descriptors(gate.pid())?,
            threads: process::threads(gate.pid())?,
            queries: sum("namegate_queries_total"),
            responses: sum("namegate_responses_total"),
            dropped: sum("namegate_dropped_total"),
            in_flight: sum("namegate_queries_in_flight"),
            cache_bytes: sum("namegate_cache_bytes"),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            resident,
            anonymous,
            descriptors,
            threads,
            queries,
            responses,
            dropped,
            in_flight,
            ..
        } = self;
        write!(
            formatter,
            "{:.0},{},{},{descriptors},{threads},{queries},{responses},{dropped},{in_flight},{:.0}",
            at.as_secs_f64(),
            resident >> 10,
            anonymous >> 10,
            self.cache_bytes / 1024.0,
        )
    }
}
