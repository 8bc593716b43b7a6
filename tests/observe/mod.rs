//! Tests of metrics, logs, dnstap and `namegate top`.

mod dnstap;
mod history;
mod metrics;
mod operational_log;
mod prometheus;
mod query_log;
mod stuck_outputs;
mod top;
