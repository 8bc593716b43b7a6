//! [`Cache`]: all cache entries, bounded in bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::clock::CacheClock;
use super::entry::CacheEntry;
use super::hit::{Freshness, Hit, HitBuffer};
use super::key::Key;
use super::lifetimes::{Lifetimes, Limits};
use super::table::CacheTable;
use crate::cache::evictor::{Context, Evictor};
use crate::policy::AllowedQuery;
use crate::policy::route::RouteId;
use crate::util::sync::lock;
use crate::wire::answer::AnswerRef;
use crate::wire::name::Name;

/// Buckets that [`Cache::retain`] checks under one lock, while insertions wait.
const RETAINED_AT_ONCE: usize = 64;

/// An answer is expiring when less than one tenth of its lifetime is left.
const EXPIRING: u64 = 10;

/// Answers to allowed queries.
///
/// Reading takes no lock, allocates only to grow the caller's buffer, and writes at most a few mark bits next to the
/// index slot, only if they change. All writers share one lock.
pub struct Cache {
    table: CacheTable,
    evictor: Mutex<Evictor>,
    clock: CacheClock,
    lifetimes: Lifetimes,
    limits: Limits,
    max_bytes: u64,
    evictions: Arc<AtomicU64>,
}

impl Cache {
    /// A cache of at most `max_bytes`, index included; 0 disables caching. If the memory cannot be reserved, the size
    /// is halved until it can. Memory is used as needed. The eviction count continues from `before`.
    pub fn new(max_bytes: u64, lifetimes: Lifetimes, before: Option<&Self>) -> Self {
        let evictions = before.map(|before| Arc::clone(&before.evictions)).unwrap_or_default();
        let mut bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let (table, ghosts, hands) = loop {
            match CacheTable::new(bytes) {
                Some(parts) => break parts,
                None => bytes /= 2,
            }
        };
        Self {
            table,
            evictor: Mutex::new(Evictor::new(hands, ghosts)),
            clock: CacheClock::default(),
            lifetimes,
            limits: Limits::from(&lifetimes),
            max_bytes: bytes as u64,
            evictions,
        }
    }

    /// The cached answer to `query`, if it is fresh at `now`, or stale and held by [`Cache::hold_stale`].
    pub fn get<'k>(
        &self,
        query: &AllowedQuery<'_>,
        now: Instant,
        hit_buffer: &'k mut HitBuffer,
    ) -> Option<Hit<'k>> {
        self.look_up(query, now, hit_buffer, false)
    }

    /// Like [`Cache::get`], but also returns an answer that expired less than [`Lifetimes::max_stale`] ago.
    pub fn get_stale<'k>(
        &self,
        query: &AllowedQuery<'_>,
        now: Instant,
        hit_buffer: &'k mut HitBuffer,
    ) -> Option<Hit<'k>> {
        self.look_up(query, now, hit_buffer, true)
    }

    fn look_up<'k>(
        &self,
        query: &AllowedQuery<'_>,
        now: Instant,
        hit_buffer: &'k mut HitBuffer,
        allow_stale: bool,
    ) -> Option<Hit<'k>> {
        let key = Key::from(query);
        let slot = self.table.find(key, self.table.hash(key), &mut hit_buffer.words)?;
        let entry = CacheEntry::read(&hit_buffer.words)?;
        let age = entry.age(self.clock.up(now)?);
        let lifetime = self.limits.fresh(entry.answer.lifetime());
        let mut marks = self.table.index.marks(slot);
        let freshness = if age < lifetime {
            let is_expiring = (lifetime - age) * EXPIRING < lifetime;
            if is_expiring && self.lifetimes.prefetch && marks.wants_refresh() {
                marks = marks.told();
                Freshness::Expiring
            } else {
                Freshness::Fresh
            }
        } else if entry.is_held(age) || allow_stale && age < self.limits.stale(entry.answer.lifetime()) {
            Freshness::Stale
        } else {
            return None;
        };
        self.table.index.mark(slot, marks.visited());
        Some(Hit { answer: entry.answer, age: Duration::from_millis(age), freshness })
    }

    /// Caches the answer to `query` received at `now`, for as long as its lifetime allows.
    ///
    /// A failure does not replace an answer that can still be served.
    pub fn insert(&self, query: &AllowedQuery<'_>, answer: AnswerRef<'_>, now: Instant) {
        if self.limits.fresh(answer.lifetime()) > 0 {
            let now = self.clock.down(now);
            self.change(|evictor| evictor.insert(self.context(now), Key::from(query), answer));
        }
    }

    /// Lets [`Cache::get`] return the stale answer to `query` for `time` from `now` on: its refresh has failed and is
    /// not retried during that time (RFC 8767 section 5). The answer's age and its stale limit do not change.
    pub fn hold_stale(&self, query: &AllowedQuery<'_>, now: Instant, time: Duration) {
        let Some(now) = self.clock.up(now) else { return };
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.change(|evictor| evictor.hold(self.context(now), Key::from(query), time));
    }

    /// Removes every entry for whose name and route `keep` returns false.
    pub fn retain(&self, keep: impl Fn(&Name, RouteId) -> bool) {
        let keep = |name: &[u8], route| Name::parse(name).is_ok_and(|name| keep(&name, route));
        let buckets = self.table.index.buckets();
        for first in (0..buckets).step_by(RETAINED_AT_ONCE) {
            self.change(|evictor| {
                for bucket in first..buckets.min(first + RETAINED_AT_ONCE) {
                    evictor.retain(&self.table, bucket, keep);
                }
            });
        }
    }

    /// The configured TTL limits.
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// Entries in the cache, including expired ones that are not yet removed.
    pub fn len(&self) -> usize {
        self.evictor().entries()
    }

    /// True if the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the entries and their index slots.
    pub fn bytes(&self) -> u64 {
        let evictor = self.evictor();
        ((evictor.words() + evictor.entries()) * size_of::<u64>()) as u64
    }

    /// Maximum size in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Entries evicted for lack of room since the start.
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Evictor)) {
        let mut evictor = self.evictor();
        change(&mut evictor);
        self.evictions.fetch_add(evictor.take_evicted(), Ordering::Relaxed);
    }

    fn evictor(&self) -> MutexGuard<'_, Evictor> {
        lock(&self.evictor)
    }

    fn context(&self, now: u64) -> Context<'_> {
        Context { table: &self.table, limits: self.limits, now }
    }
}
