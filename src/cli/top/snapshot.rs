//! [`TopSnapshot`]: the status of a resolver at one moment, and [`Reader`], which fetches it.

use std::collections::VecDeque;

use serde::Serialize;

use crate::api::pages::{LookupJson, RecentJson, StatusJson, TopJson};
use crate::cli::http::AdminClient;
use crate::cli::http::NoJson;

/// Blocked lookups held, as many as the resolver holds.
const KEPT: usize = 200;

/// The status of a resolver; every text in it is printable ASCII.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TopSnapshot {
    pub(super) status: StatusJson,
    pub(super) top: TopJson,
    pub(super) recent: RecentJson,
}

/// Queries one resolver repeatedly and collects its blocked lookups.
pub(super) struct Reader {
    listener: AdminClient,
    uptime: f64,
    next: Option<u64>,
    lookups: VecDeque<LookupJson>,
}

impl Reader {
    pub(super) fn new(listener: AdminClient) -> Self {
        Self { listener, uptime: 0.0, next: None, lookups: VecDeque::new() }
    }

    /// Fetches everything, but only those blocked lookups that are new.
    pub(super) async fn read(&mut self) -> Result<TopSnapshot, NoJson> {
        let status: StatusJson = self.listener.json("/api/v1/status").await?;
        if status.uptime_seconds < self.uptime {
            // A restarted process counts from zero.
            self.next = None;
        }
        self.uptime = status.uptime_seconds;
        let top = self.listener.json("/api/v1/top").await?;
        let after = self.next.map(|next| format!("?after={next}")).unwrap_or_default();
        let recent: RecentJson = self.listener.json(&format!("/api/v1/recent{after}")).await?;
        Ok(TopSnapshot { status, top, recent: self.joined(recent) })
    }

    /// The previous and the current state.
    fn joined(&mut self, recent: RecentJson) -> RecentJson {
        if self.next.is_none() {
            self.lookups.clear();
        }
        self.lookups.extend(recent.lookups);
        self.lookups.drain(..self.lookups.len().saturating_sub(KEPT));
        self.next = Some(recent.next);
        RecentJson { next: recent.next, lookups: self.lookups.iter().cloned().collect() }
    }
}
