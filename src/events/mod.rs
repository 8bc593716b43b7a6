//! Counting: what became of each query, on counters of its thread, and the queue to those who tell it.

pub mod counters;
pub mod histogram;
pub mod untold;
pub mod event;
pub mod outcome;
pub mod sender;
