//! Events: the outcome of each query, counted per thread and queued for the log, dnstap and the status page.

pub mod counters;
pub mod event;
pub mod histogram;
pub mod outcome;
pub mod own_clients;
pub mod rule_hits;
pub mod sender;
