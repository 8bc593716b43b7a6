//! Observability: metrics, query log, dnstap, and the data of the status page.
//!
//! Every thread has an [`EventSender`](crate::events::sender::EventSender). It counts on the thread's own
//! [`counters`](crate::events::counters) and queues the events that a consumer wants. The [`metrics`] sums the
//! counters and updates the Prometheus registry just before each scrape is rendered; [`metric`] lists all metrics. The
//! [`event_log`] drains the queues into the [`query_log`], to a [`dnstap`] reader, and into the [`live_stats`].

pub mod blocked_names;
pub mod canary;
pub mod canary_results;
pub mod metrics_registry;
pub mod client;
pub mod clock;
pub mod dnstap;
pub mod event_log;
pub mod few;
mod heavy_keeper;
pub mod history;
pub mod live_stats;
pub mod log;
pub mod metric;
pub mod problems;
mod publish;
pub mod query_log;
pub mod readiness;
pub mod rule_uses;
mod series;
pub mod top;
pub mod webhook_results;
