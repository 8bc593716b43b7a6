//! [`Tally`]: counts of queries by result, with latencies.

use std::time::Duration;

/// Counts of queries by result over one interval.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Queries sent; counted only by loads with a fixed pace.
    pub(crate) sent: u64,
    /// Queries with the correct reply.
    pub(crate) answered: u64,
    /// Queries with a wrong reply.
    pub(crate) wrong: u64,
    /// Queries without a reply.
    pub(crate) lost: u64,
    /// Replies to no query, or to one that was already answered.
    pub(crate) stray: u64,
    /// The first fault found.
    pub(crate) complaint: Option<String>,
    /// Latency of each answered query, in nanoseconds.
    latencies: Vec<u32>,
}

impl Tally {
    pub(crate) fn answer(&mut self, latency: Duration) {
        self.answered += 1;
        self.latencies.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        self.wrong += 1;
        self.complaint.get_or_insert(complaint);
    }

    /// Adds the tally of another interval.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.stray += other.stray;
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.complaint = self.complaint.take().or(other.complaint);
        self.latencies.extend(other.latencies);
    }

    /// The counts without latencies.
    pub(crate) fn without_waits(self) -> Self {
        Self { latencies: Vec::new(), ..self }
    }

    /// Quantiles of latency, in microseconds.
    pub(crate) fn quantiles<const N: usize>(&mut self, shares: [f64; N]) -> [f64; N] {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        shares.map(|share| {
            let index = last.min((self.latencies.len() as f64 * share) as usize);
            self.latencies.get(index).map_or(f64::NAN, |nanoseconds| f64::from(*nanoseconds) / 1_000.0)
        })
    }
}
