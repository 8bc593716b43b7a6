//! [`Cache`]: all kept answers, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache as Entries;
use quick_cache::{Lifecycle, Weighter};
use rapidhash::fast::RandomState;

use super::entry::{Entry, Lifetimes};
use super::key::{Key, KeyRef};
use crate::policy::AllowedQuery;
use crate::wire::answer::AnswerRef;
use crate::wire::name::Name;

/// Bytes an entry takes beside key and answer: slot, links and table, as quick_cache lays them out (measured).
const ENTRY_OVERHEAD: usize = 96;

/// Entries the table is laid out for at most; it grows where more come.
const MAX_EXPECTED: usize = 1 << 18;

/// Shim.
#[derive(Clone, Debug, Default)]
pub struct Kept(Option<Entry>);
impl Kept {
    /// new
    pub fn new() -> Self {
        Self(None)
    }
}
/// Shim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Freshness {
    Fresh,
    Expiring,
    Stale,
}
/// Shim.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Hit<'k> {
    pub answer: AnswerRef<'k>,
    pub age: std::time::Duration,
    pub freshness: Freshness,
}

/// Answers of allowed queries, evicted by S3-FIFO when their bytes exceed the bound.
pub struct Cache {
    /// None where the bound is zero.
    entries: Option<Entries<Key, Entry, ByBytes, RandomState, CountEvictions>>,
    lifetimes: Lifetimes,
    evictions: Arc<AtomicU64>,
}

impl Cache {
    /// A cache of at most `max_bytes`; zero keeps nothing. Its count of evictions goes on from `before`'s.
    pub fn new(max_bytes: u64, lifetimes: Lifetimes, before: Option<&Self>) -> Self {
        let evictions = before.map(|before| Arc::clone(&before.evictions)).unwrap_or_default();
        let counting = CountEvictions(Arc::clone(&evictions));
        let expected = usize::try_from(max_bytes / 512).unwrap_or(usize::MAX).clamp(16, MAX_EXPECTED);
        let hasher = RandomState::default();
        let entries = (max_bytes > 0).then(|| Entries::with(expected, max_bytes, ByBytes, hasher, counting));
        Self { entries, lifetimes, evictions }
    }

    /// The kept answer to `query`, if there is one and `now` is within its time.
    pub fn get<'k>(&self, query: &AllowedQuery<'_>, now: Instant, kept: &'k mut Kept) -> Option<Hit<'k>> {
        kept.0 = self.entries.as_ref()?.get(&KeyRef::from(query));
        let (answer, age) = kept.0.as_ref()?.fresh(now)?;
        Some(Hit { answer: answer.as_ref(), age, freshness: Freshness::Fresh })
    }

    /// Stale.
    pub fn get_stale<'k>(
        &self,
        query: &AllowedQuery<'_>,
        now: Instant,
        kept: &'k mut Kept,
    ) -> Option<Hit<'k>> {
        self.get(query, now, kept)
    }

    /// Stale.
    pub fn hold_stale(&self, _query: &AllowedQuery<'_>, _now: Instant, _time: std::time::Duration) {}

    /// Keeps the answer to `query` received at `now`, for as long as it allows.
    pub fn insert(&self, query: &AllowedQuery<'_>, answer: AnswerRef<'_>, now: Instant) {
        let Some(entries) = &self.entries else { return };
        if let Some(entry) = Entry::new(Arc::new(answer.to_answer()), &self.lifetimes, now) {
            entries.insert(Key::from(query), entry);
        }
    }

    /// Drops every entry whose name `keep` refuses.
    pub fn retain(&self, keep: impl Fn(&Name) -> bool) {
        if let Some(entries) = &self.entries {
            entries.retain(|key, _| Name::parse(key.name()).is_ok_and(|name| keep(&name)));
        }
    }

    /// Bounds on how long answers are kept and shown.
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// Entries kept, expired ones not yet evicted included.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.len())
    }

    /// True where nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes kept.
    pub fn bytes(&self) -> u64 {
        self.entries.as_ref().map_or(0, |entries| entries.weight())
    }

    /// Bytes allowed.
    pub fn max_bytes(&self) -> u64 {
        self.entries.as_ref().map_or(0, |entries| entries.capacity())
    }

    /// Entries evicted for want of room since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        (ENTRY_OVERHEAD + size_of::<Key>() + key.heap_size() + size_of::<Entry>() + entry.heap_size()) as u64
    }
}

#[derive(Clone)]
struct CountEvictions(Arc<AtomicU64>);

impl Lifecycle<Key, Entry> for CountEvictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
