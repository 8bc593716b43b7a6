//! What the gate did, for people and machines that watch it.
//!
//! The packet path counts on per-thread [`counters`]; they are summed and handed to the Prometheus registry by the
//! [`catalogue`] just before it is rendered. Blocked lookups go to the [`query_log`].

pub mod catalogue;
pub mod counters;
pub mod histogram;
pub mod log;
pub mod query_log;
