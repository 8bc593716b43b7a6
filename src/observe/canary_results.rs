//! [`CanaryResults`]: results of the last round of canary queries in the running resolver.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::gauge;

use super::canary::Canary;
use crate::util::label::Label;
use crate::util::sync::lock;

/// Results of the last completed round.
#[derive(Debug, Default)]
pub struct CanaryResults {
    last: Mutex<Option<Round>>,
}

/// One round: the resolver queried itself for every canary.
#[derive(Clone, Debug)]
pub struct Round {
    /// When it ended.
    pub ended: SystemTime,
    /// Every canary, in the order of the settings.
    pub canaries: Vec<CanaryOutcome>,
}

/// Result of one canary.
#[derive(Clone, Debug)]
pub struct CanaryOutcome {
    /// The canary.
    pub canary: Canary,
    /// Its result.
    pub result: CanaryResult,
}

/// Result of the queries for one canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryResult {
    /// All replies were as expected.
    Passed,
    /// The first unexpected reply, as text.
    Failed(String),
    /// It was not queried: the name must not resolve, but observe mode forwards it.
    Observed,
}

impl CanaryResults {
    /// The last round, if there was one.
    pub fn last(&self) -> Option<Round> {
        self.lock().clone()
    }

    /// Stores a completed round, or none if it was inconclusive. Returns the previous round.
    pub(crate) fn set(&self, round: Option<Round>) -> Option<Round> {
        std::mem::replace(&mut *self.lock(), round)
    }

    /// Updates the metrics from the last round.
    pub fn publish(&self) {
        let Some(round) = self.last() else { return };
        for CanaryOutcome { canary, result } in &round.canaries {
            let is_ok = match result {
                CanaryResult::Passed => 1,
                CanaryResult::Failed(_) => 0,
                CanaryResult::Observed => continue,
            };
            let (name, expect) = (canary.name.to_string(), canary.expect.label());
            gauge!("namegate_canary_ok", "name" => name, "expect" => expect).set(is_ok);
        }
        let ended = round.ended.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("namegate_canary_last_run_timestamp_seconds").set(ended.as_secs() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Round>> {
        lock(&self.last)
    }
}
