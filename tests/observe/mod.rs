//! Metrics, logs and what happened lately.

mod dnstap;
mod metrics;
mod prometheus;
mod query_log;
mod stuck_outputs;
mod top;
