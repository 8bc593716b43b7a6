//! [`Snapshot`]: what a gate says of itself at one moment, and [`Reader`], which asks it.

use std::collections::VecDeque;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::view::{Lookup, Recent, Status, Top};
use crate::cli::http::{AdminListener, NoPage, printable};

/// Blocked lookups kept: as many as the gate keeps itself.
const KEPT: usize = 200;

/// What a gate says of itself; every text in it is printable ASCII.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) top: Top,
    pub(super) recent: Recent,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSnapshot {
    /// Nothing to read.
    #[error("no answer from {0}: {1}")]
    Unanswered(String, NoPage),
    /// A page, but not the one asked for.
    #[error("{url} has no gate's status (HTTP {status}{why})")]
    NoGate { url: String, status: u16, why: &'static str },
}

/// Asks one gate again and again, and keeps what it said of blocked lookups.
pub(super) struct Reader {
    listener: AdminListener,
    uptime: f64,
    next: Option<u64>,
    lookups: VecDeque<Lookup>,
}

impl Reader {
    pub(super) fn new(listener: AdminListener) -> Self {
        Self { listener, uptime: 0.0, next: None, lookups: VecDeque::new() }
    }

    /// Asks for everything; of blocked lookups only for those that are new.
    pub(super) async fn read(&mut self) -> Result<Snapshot, NoSnapshot> {
        let status: Status = self.page("/api/v1/status").await?;
        if status.uptime_seconds < self.uptime {
            // Another process, which counts from the beginning.
            self.next = None;
        }
        self.uptime = status.uptime_seconds;
        let top = self.page("/api/v1/top").await?;
        let after = self.next.map(|next| format!("?after={next}")).unwrap_or_default();
        let recent: Recent = self.page(&format!("/api/v1/recent{after}")).await?;
        Ok(Snapshot { status, top, recent: self.joined(recent) })
    }

    /// What was told before, and what is told now.
    fn joined(&mut self, recent: Recent) -> Recent {
        if self.next.is_none() {
            self.lookups.clear();
        }
        self.lookups.extend(recent.lookups);
        self.lookups.drain(..self.lookups.len().saturating_sub(KEPT));
        self.next = Some(recent.next);
        Recent { next: recent.next, lookups: self.lookups.iter().cloned().collect() }
    }

    async fn page<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoSnapshot> {
        let url = || self.listener.url(path);
        let page = self
            .listener
            .get(path)
            .await
            .map_err(|error| NoSnapshot::Unanswered(self.listener.url(""), error))?;
        if page.status != 200 {
            return Err(NoSnapshot::NoGate { url: url(), status: page.status, why: "" });
        }
        let why = ", not the JSON expected: is it another version?";
        let no_gate = |_| NoSnapshot::NoGate { url: url(), status: page.status, why };
        let mut value = serde_json::from_slice(&page.body).map_err(no_gate)?;
        make_printable(&mut value);
        serde_json::from_value(value).map_err(no_gate)
    }
}

/// Makes every text within `value` [`printable`].
fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(members) => members.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_printable_at_every_depth() {
        let mut value = json!({"a": ["x\u{1b}[31m", {"b": "y\n", "c": [1, null, true]}]});
        make_printable(&mut value);
        assert_eq!(value, json!({"a": ["x?[31m", {"b": "y?", "c": [1, null, true]}]}));
    }
}
