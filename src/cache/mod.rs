//! Answers kept as bytes, found by what was allowed to be asked.
//!
//! The key is everything that changes an answer: name, type, DO and CD (class is always IN). An answer never outlives
//! the TTL it came with unless the settings let stale ones stand in for what cannot be had, blocked names never get one,
//! and the whole is bounded in bytes.
//!
//! ```text
//!   store      the cache: asking (no lock), keeping, holding, dropping
//!     ↓
//!   table      index: hash → place        ring: place → words, read while others write
//!     ↑                                   entry: words ↔ key and answer
//!   evictor    the one writer: what stays and what goes (S3-FIFO; ghosts: what went)
//! ```

mod clock;
mod entry;
mod evictor;
mod ghosts;
mod hit;
mod index;
mod key;
mod lifetimes;
mod ring;
mod store;
mod table;

#[cfg(all(test, namegate_loom))]
mod models;
#[cfg(test)]
mod tests;

pub use hit::{Freshness, Hit, Kept};
pub use lifetimes::Lifetimes;
pub use store::Cache;
