//! [`HeavyKeeper`]: finds the most frequent items in fixed memory (Gong et al., "HeavyKeeper: An Accurate Algorithm for
//! Finding Top-k Elephant Flows", USENIX ATC 2018).

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use rapidhash::quality::RandomState;

/// Rows of the sketch and counters per row: 16 KiB in total.
const DEPTH: usize = 4;
const WIDTH: usize = 512;

/// Probability that an item with another fingerprint decays a counter of 1; for a counter of n it is this to the power
/// of n. The paper's base of 1.08 is the inverse.
const DECAY: f64 = 0.925;

/// Counters above this no longer decay: the probability is below one in a million.
const WORN: u32 = 177;

/// Approximate counts, too high only when hashes collide. The hash has a random seed, so clients cannot choose names
/// that decay the counters of others.
pub(super) struct HeavyKeeper<T> {
    rows: Box<[[Counter; WIDTH]; DEPTH]>,
    hash: RandomState,
    /// Most candidates tracked.
    size: usize,
    candidates: HashMap<T, u32>,
    /// When `candidates` is full: the lowest count among them.
    least: u32,
}

#[derive(Clone, Copy, Default)]
struct Counter {
    fingerprint: u32,
    count: u32,
}

impl<T: Hash + Eq> HeavyKeeper<T> {
    /// Tracks the `size` most frequent items.
    pub(super) fn new(size: usize) -> Self {
        let rows = Box::new([[Counter::default(); WIDTH]; DEPTH]);
        Self { rows, hash: RandomState::new(), size, candidates: HashMap::with_capacity(size), least: 0 }
    }

    /// Resets all counts without freeing memory.
    pub(super) fn clear(&mut self) {
        self.rows.as_flattened_mut().fill(Counter::default());
        self.candidates.clear();
        self.least = 0;
    }

    /// Counts `item` `times` times.
    pub(super) fn add<Q>(&mut self, item: &Q, times: u32)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = T> + ?Sized,
    {
        let hash = self.hash.hash_one(item);
        let (fingerprint, mut place) = ((hash >> 32) as u32, hash as u32);
        let mut count = 0;
        for row in self.rows.iter_mut() {
            count = count.max(row[place as usize % WIDTH].add(fingerprint, times));
            // A different index in each row, so that two items that collide in one row differ in the next.
            place = place.wrapping_mul(0x9e37_79b1).wrapping_add(fingerprint).rotate_left(16);
        }
        if let Some(known) = self.candidates.get_mut(item) {
            *known = count.max(*known);
        } else if self.candidates.len() < self.size {
            self.candidates.insert(item.to_owned(), count);
        } else if count > self.least {
            let least = self.candidates.values().copied().min().unwrap_or(u32::MAX);
            if count > least {
                let mut is_out = false;
                // Remove one of those with the lowest count.
                self.candidates
                    .retain(|_, count| is_out || *count > least || std::mem::replace(&mut is_out, true));
                self.candidates.insert(item.to_owned(), count);
            }
            self.least = least;
        }
    }

    /// The tracked items with their counts, in no order.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (&T, u32)> {
        self.candidates.iter().map(|(item, count)| (item, *count))
    }
}

impl Counter {
    /// Counts for `fingerprint`; returns its count, or 0 if the counter still belongs to another fingerprint.
    fn add(&mut self, fingerprint: u32, times: u32) -> u32 {
        let mut left = times;
        if self.fingerprint != fingerprint {
            while self.count > 0 {
                if left == 0 || self.count > WORN {
                    return 0;
                }
                left -= 1;
                if rand::random_bool(DECAY.powi(self.count as i32)) {
                    self.count -= 1;
                }
            }
            self.fingerprint = fingerprint;
        }
        self.count = self.count.saturating_add(left);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_are_counted_and_the_rare_are_not_followed() {
        let mut sketch = HeavyKeeper::<u32>::new(8);
        for round in 0..20_000_u32 {
            sketch.add(&(1000 + round), 1);
            sketch.add(&(round % 4), 1 + round % 4);
        }
        for item in 0..4_u32 {
            let truth = 5_000 * (item + 1);
            let (_, count) = sketch.candidates().find(|(known, _)| **known == item).expect("a frequent one");
            assert!(count <= truth && count * 100 >= truth * 99, "{item}: {count} of {truth}");
        }
        assert_eq!(sketch.candidates().count(), 8);
        assert!(sketch.candidates().filter(|(_, count)| *count > 100).count() == 4);
    }

    #[test]
    fn frequent_items_replace_rare_ones() {
        let mut sketch = HeavyKeeper::<String>::new(2);
        for (item, times) in [("a", 5), ("b", 9), ("c", 1), ("d", 7), ("a", 1)] {
            sketch.add(item, times);
        }
        let mut kept: Vec<(&str, u32)> = sketch.candidates().map(|(item, count)| (&**item, count)).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("b", 9), ("d", 7)]);
        sketch.add("a", 9);
        let kept: Vec<u32> = sketch.candidates().map(|(_, count)| count).collect();
        assert!(kept.contains(&15) && kept.contains(&9), "{kept:?}");
    }
}
