//! [`Tally`]: what came of the queries.

use std::time::Duration;

/// What came of the queries of one stretch of time.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Queries sent, where they are sent at a pace of their own.
    pub(crate) sent: u64,
    /// Queries with the right reply.
    pub(crate) answered: u64,
    /// Queries with another reply.
    pub(crate) wrong: u64,
    /// Queries without a reply.
    pub(crate) lost: u64,
    /// Replies to no query, or to one that had its reply already.
    pub(crate) stray: u64,
    /// What was wrong first.
    pub(crate) complaint: Option<String>,
    /// From sending to receiving, in nanoseconds, of each answered query.
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

    /// Takes in what came of the queries of another stretch.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.stray += other.stray;
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.complaint = self.complaint.take().or(other.complaint);
        self.latencies.extend(other.latencies);
    }

    /// The counts alone.
    pub(crate) fn without_waits(self) -> Self {
        Self { latencies: Vec::new(), ..self }
    }

    /// Latencies, in microseconds, that the given shares of the answered queries did not exceed.
    pub(crate) fn quantiles<const N: usize>(&mut self, shares: [f64; N]) -> [f64; N] {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        shares.map(|share| {
            let index = last.min((self.latencies.len() as f64 * share) as usize);
            self.latencies.get(index).map_or(f64::NAN, |nanoseconds| f64::from(*nanoseconds) / 1_000.0)
        })
    }
}
