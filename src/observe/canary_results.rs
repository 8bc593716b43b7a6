//! [`CanaryResults`]: how the canaries of a running gate fared in its last round.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::gauge;

use super::canary::Canary;
use crate::util::label::Label;
use crate::util::sync::lock;

/// How the canaries fared in the last round that was brought to an end.
#[derive(Debug, Default)]
pub struct CanaryResults {
    last: Mutex<Option<Round>>,
}

/// A round of questions that a gate asked itself.
#[derive(Clone, Debug)]
pub struct Round {
    /// When it ended.
    pub ended: SystemTime,
    /// Every canary, in the order of the settings.
    pub canaries: Vec<CanaryOutcome>,
}

/// What became of a canary.
#[derive(Clone, Debug)]
pub struct CanaryOutcome {
    /// The canary.
    pub canary: Canary,
    /// The first reply that was not as it must be, for people; none where all were.
    pub fault: Option<String>,
}

impl CanaryResults {
    /// The last round; none where there was none yet.
    pub fn last(&self) -> Option<Round> {
        self.lock().clone()
    }

    /// A round ended, or, where it is none, could not tell anything. Gives the one before.
    pub(crate) fn set(&self, round: Option<Round>) -> Option<Round> {
        std::mem::replace(&mut *self.lock(), round)
    }

    /// Hands the last round to the registry of metrics.
    pub fn publish(&self) {
        let Some(round) = self.last() else { return };
        for CanaryOutcome { canary, fault } in &round.canaries {
            let (name, expect) = (canary.name.to_string(), canary.expect.label());
            gauge!("namegate_canary_ok", "name" => name, "expect" => expect).set(u8::from(fault.is_none()));
        }
        let ended = round.ended.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("namegate_canary_last_run_timestamp_seconds").set(ended.as_secs() as f64);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Round>> {
        lock(&self.last)
    }
}
