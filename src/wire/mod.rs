//! Bytes ↔ typed facts, in place: no I/O, no clock, no allocation on the way of a query.
//!
//! A request is read by [`query`] (with [`name`], [`header`], [`edns`]), an upstream's reply by [`answer`], and every
//! message to a client is written by [`reply`]. All reading is strict: what is not exactly a query is refused, so
//! that no byte whose meaning is open reaches the policy.

pub mod answer;
pub mod code;
pub mod cookie;
pub mod denial;
pub mod edns;
pub mod header;
pub mod letter_case;
pub mod name;
pub mod presentation;
pub mod query;
pub mod records;
pub mod reply;
pub mod request;
pub mod section;

#[cfg(test)]
mod tests;
