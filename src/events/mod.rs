//! Counting: what became of each query, on counters of its thread, and the queue to those who tell it.

pub mod counters;
pub mod histogram;
pub mod lookup;
pub mod record;
pub mod teller;
pub mod untold;
