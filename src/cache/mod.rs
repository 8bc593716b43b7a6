//! Answers kept as bytes, found by what was allowed to be asked.
//!
//! The key is everything that changes an answer: name, type, DO and CD (class is always IN). An entry never outlives
//! the TTL it came with, blocked names never get one, and the whole is bounded in bytes.

pub mod entry;
pub mod key;
pub mod store;

pub use entry::{Entry, Lifetimes};
pub use store::{Cache, Freshness, Hit, Kept};
