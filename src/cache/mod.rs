//! The cache: answers as bytes, keyed by allowed queries.
//!
//! The key is everything that affects an answer: name, type, DO, CD and route (the class is always IN). No answer
//! outlives its TTL unless the settings allow stale answers when no newer one is available. Blocked names get no cache
//! entry. The size is bounded in bytes.
//!
//! ```text
//!   store      the cache: get (no lock), insert, hold, remove
//!     ↓
//!   table      index: hash → place        ring: place → words, read during writes
//!     ↑                                   entry: words ↔ key and answer
//!   evictor    the only writer: evicts entries (S3-FIFO; ghosts: hashes of evicted entries)
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

pub use hit::{Freshness, Hit, HitBuffer};
pub use lifetimes::Lifetimes;
pub use store::Cache;
