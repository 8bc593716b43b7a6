//! Counting: what became of each query, on counters of its thread, and the queue to those who tell it.

pub mod counters;
pub mod event;
pub mod histogram;
pub mod outcome;
pub mod sender;
pub mod untold;
