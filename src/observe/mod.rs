//! What the resolver did, for people and machines that watch it.
//!
//! Every thread has an [`EventSender`](crate::events::sender::EventSender), which counts on the thread's own
//! [`counters`](crate::events::counters) and puts what somebody wants to know into the thread's own queue. The [`catalogue`] sums
//! the counts and hands them to the Prometheus registry just before it is rendered; [`metric`] lists them. The [`event_log`]
//! empties the queues: into the [`query_log`], to a [`dnstap`] reader, and onto the [`live_stats`] for the pages.

pub mod blocked_names;
pub mod canary;
pub mod canary_results;
pub mod catalogue;
pub mod client;
pub mod clock;
pub mod dnstap;
pub mod event_log;
pub mod few;
mod heavy_keeper;
pub mod live_stats;
pub mod log;
pub mod metric;
mod publish;
pub mod query_log;
mod series;
pub mod top;
