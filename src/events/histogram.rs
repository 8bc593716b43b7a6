//! [`Histogram`]: durations in fixed buckets, without allocation per sample.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds. They range from a reply from the cache over Azure's slowest reply (4 s)
/// to the longest `deadline` plus the time a failure takes after it.
const BOUNDS_MICROS: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    4_000_000, 8_000_000, 16_000_000, 32_000_000,
];

/// Counts of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One count per bound, and one above the last bound.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration, from any thread.
    pub fn observe(&self, duration: Duration) {
        let (bucket, nanos) = self.cell_for(duration);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts one duration with plain loads and stores; only for a single writer.
    pub fn observe_alone(&self, duration: Duration) {
        let (bucket, nanos) = self.cell_for(duration);
        bucket.store(bucket.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.sum_nanos.store(self.sum_nanos.load(Ordering::Relaxed) + nanos, Ordering::Relaxed);
    }

    fn cell_for(&self, duration: Duration) -> (&AtomicU64, u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| bound * 1000 < nanos);
        (&self.buckets[bucket], nanos)
    }

    /// The current counts.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_nanos: self.sum_nanos.load(Ordering::Relaxed),
        }
    }
}

/// Counts of a [`Histogram`], or sums over several.
#[derive(Clone, Debug, Default)]
pub struct HistogramSnapshot {
    buckets: [u64; BOUNDS_MICROS.len() + 1],
    sum_nanos: u64,
}

impl HistogramSnapshot {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
        self.sum_nanos += other.sum_nanos;
    }

    /// Mean duration; none without samples.
    pub fn mean(&self) -> Option<Duration> {
        self.sum_nanos.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Writes the series `name` with `labels` (`a="b",c="d"`) in Prometheus' text format, without its header.
    pub fn render(&self, out: &mut String, name: &str, labels: &str) {
        let mut cumulative = 0;
        for (bound, count) in BOUNDS_MICROS.iter().zip(self.buckets) {
            cumulative += count;
            let le = *bound as f64 / 1e6;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {cumulative}");
        }
        let count = self.count();
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum_nanos as f64 / 1e9);
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}

/// Writes the header (HELP and TYPE) of a histogram.
pub fn render_head(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}");
    let _ = writeln!(out, "# TYPE {name} histogram");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_reach_beyond_the_longest_deadline() {
        let longest = crate::config::limits::DEADLINE.max;
        assert!(BOUNDS_MICROS.last().is_some_and(|last| Duration::from_micros(*last) > longest));
    }

    #[test]
    fn buckets_are_cumulative_and_bounds_inclusive() {
        let histogram = Histogram::default();
        for micros in [1, 50, 51, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut out = String::new();
        histogram.snapshot().render(&mut out, "x_seconds", "a=\"b\"");
        assert!(out.contains("x_seconds_bucket{a=\"b\",le=\"0.00005\"} 2\n"), "{out}");
        assert!(out.contains("x_seconds_bucket{a=\"b\",le=\"0.0001\"} 3\n"), "{out}");
        assert!(out.contains("x_seconds_bucket{a=\"b\",le=\"8\"} 3\n"), "{out}");
        assert!(out.contains("x_seconds_bucket{a=\"b\",le=\"+Inf\"} 4\n"), "{out}");
        assert!(out.contains("x_seconds_count{a=\"b\"} 4\n"), "{out}");
    }
}
