//! Tests of the cache: lifetimes, prefetching and stale answers.

mod keeping;
mod refresh;
