//! [`Top`]: the most frequent of many, within the last hour and within fixed memory.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use heavykeeper::TopK;

/// How far back counts reach.
pub const WINDOW: Duration = Duration::from_secs(3600);

/// Parts the window is counted in; the oldest is dropped whole, so that counts reach back 55 to 60 minutes.
const PARTS: u32 = 12;

/// Candidates followed for each one shown: what is frequent over the hour need not lead in every part of it.
const CANDIDATES: usize = 4;

/// Counters of a part's sketch: 32 KiB with four rows of 512, which at 20 shown keeps errors far below one in a hundred.
const WIDTH: usize = 512;
const DEPTH: usize = 4;

/// How strongly the frequent wear away what shares their counters; the value of the HeavyKeeper paper (Gong et al.,
/// USENIX ATC 2018) is 1.08, whose inverse this is.
const DECAY: f64 = 0.925;

/// Counts the most frequent items of the last hour, approximately and never too high.
pub struct Top<T: Ord + Clone + Hash> {
    size: usize,
    seed: u64,
    start: Instant,
    parts: VecDeque<(u32, TopK<T>)>,
}

impl<T: Ord + Clone + Hash> Top<T> {
    /// Counts from `start`; `size` items will be shown. `seed` is kept from clients, so that they cannot choose names
    /// that wear others away.
    pub fn new(size: usize, seed: u64, start: Instant) -> Self {
        Self { size, seed, start, parts: VecDeque::new() }
    }

    /// Counts one `times`.
    pub fn add<Q>(&mut self, item: &Q, times: u32, now: Instant)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = T> + ?Sized,
    {
        let part = self.part(now);
        self.forget(part);
        if self.parts.back().is_none_or(|(newest, _)| *newest < part) {
            let sketch = TopK::with_seed(self.size * CANDIDATES, WIDTH, DEPTH, DECAY, self.seed);
            self.parts.push_back((part, sketch));
        }
        if let Some((_, sketch)) = self.parts.back_mut() {
            sketch.add(item, u64::from(times));
        }
    }

    /// The most frequent with their counts, most frequent first.
    pub fn list(&mut self, now: Instant) -> Vec<(T, u64)> {
        let mut all = self.all(now);
        all.truncate(self.size);
        all
    }

    /// Those that stand out: of [`Top::list`], what is more frequent than all that did not make it. Where many come once,
    /// as in a flood of random names, none does.
    pub fn heavy(&mut self, now: Instant) -> Vec<(T, u64)> {
        let mut all = self.all(now);
        let beyond = all.get(self.size).map_or(0, |(_, count)| *count);
        all.truncate(self.size);
        all.retain(|(_, count)| *count > beyond);
        all
    }

    fn all(&mut self, now: Instant) -> Vec<(T, u64)> {
        self.forget(self.part(now));
        let mut counts = HashMap::<T, u64>::new();
        for node in self.parts.iter().flat_map(|(_, sketch)| sketch.list()) {
            *counts.entry(node.item).or_default() += node.count;
        }
        let mut all: Vec<(T, u64)> = counts.into_iter().collect();
        all.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        all
    }

    fn part(&self, now: Instant) -> u32 {
        let part = now.saturating_duration_since(self.start).as_secs() / (WINDOW / PARTS).as_secs();
        u32::try_from(part).unwrap_or(u32::MAX)
    }

    fn forget(&mut self, part: u32) {
        while self.parts.front().is_some_and(|(oldest, _)| oldest.saturating_add(PARTS) <= part) {
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_frequent_stand_out_of_a_flood_of_the_rare() {
        let start = Instant::now();
        let mut top = Top::new(3, 7, start);
        for round in 0..2000_u32 {
            let now = start + Duration::from_secs(u64::from(round));
            top.add(&format!("random{round}"), 1, now);
            for (name, every) in [("first", 2), ("second", 4), ("third", 8)] {
                if round % every == 0 {
                    top.add(&name.to_owned(), 1, now);
                }
            }
        }
        let now = start + Duration::from_secs(2000);
        let list = top.list(now);
        let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["first", "second", "third"]);
        for ((_, count), truth) in list.iter().zip([1000, 500, 250]) {
            assert!(*count <= truth && *count * 100 >= truth * 95, "{list:?}");
        }
        assert_eq!(top.heavy(now), list);
    }

    #[test]
    fn where_all_come_once_none_stands_out() {
        let start = Instant::now();
        let mut top = Top::new(5, 7, start);
        for number in 0..1000_u32 {
            top.add(&number, 1, start);
        }
        assert_eq!(top.list(start).len(), 5);
        assert!(top.heavy(start).is_empty());
    }

    #[test]
    fn few_are_all_shown() {
        let start = Instant::now();
        let mut top = Top::new(5, 7, start);
        top.add(&"only", 1, start);
        assert_eq!(top.heavy(start), [("only", 1)]);
    }

    #[test]
    fn what_is_an_hour_old_is_forgotten() {
        let start = Instant::now();
        let mut top = Top::new(5, 7, start);
        top.add(&"old", 1, start);
        top.add(&"new", 1, start + 30 * MINUTE);
        assert_eq!(top.list(start + 59 * MINUTE), [("new", 1), ("old", 1)]);
        assert_eq!(top.list(start + 60 * MINUTE), [("new", 1)]);
        assert!(top.list(start + 95 * MINUTE).is_empty());
        assert!(top.parts.is_empty());
    }
}
