//! [`WebhookResults`]: what became of the webhook's messages.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::counter;
use strum::VariantArray;

use crate::util::label::Label;

/// What became of a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum WebhookResult {
    /// The receiver accepted it.
    Delivered,
    /// The receiver refused it, or all attempts failed.
    Failed,
    /// Too many messages were waiting.
    Lost,
}

/// Counts of messages.
#[derive(Debug, Default)]
pub struct WebhookResults {
    counts: [AtomicU64; WebhookResult::VARIANTS.len()],
}

impl WebhookResults {
    /// Counts one message.
    pub fn count(&self, result: WebhookResult) {
        self.counts[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Updates the metrics.
    pub(super) fn publish(&self) {
        for (result, count) in WebhookResult::VARIANTS.iter().zip(&self.counts) {
            counter!("namegate_webhook_messages_total", "result" => result.label())
                .absolute(count.load(Ordering::Relaxed));
        }
    }
}
