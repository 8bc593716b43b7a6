//! [`Top`]: the most frequent items of the last hour, in fixed memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::heavy_keeper::HeavyKeeper;

/// Period that counts cover.
pub const WINDOW: Duration = Duration::from_secs(3600);

/// Parts of the window. The oldest part is dropped as a whole, so counts cover the last 55 to 60 minutes.
const PARTS: u32 = 12;

/// Candidates tracked per item shown, because an item that is frequent over the hour need not be so in every part.
const CANDIDATES: usize = 4;

/// The most frequent items of the last hour; counts are approximate.
///
/// All memory is allocated at the start, so that memory use does not appear to grow for an hour.
pub struct Top<T> {
    size: usize,
    start: Instant,
    parts: Vec<Part<T>>,
}

struct Part<T> {
    /// Index since the start.
    number: u32,
    sketch: HeavyKeeper<T>,
}

impl<T: Ord + Clone + Hash> Top<T> {
    /// Starts counting at `start`; `size` items will be shown.
    pub fn new(size: usize, start: Instant) -> Self {
        let part = |number| Part { number, sketch: HeavyKeeper::new(size * CANDIDATES) };
        Self { size, start, parts: (0..PARTS).map(part).collect() }
    }

    /// Counts `item` `times` times.
    pub fn add<Q>(&mut self, item: &Q, times: u32, now: Instant)
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = T> + ?Sized,
    {
        let number = self.number(now);
        let part = &mut self.parts[(number % PARTS) as usize];
        if part.number != number {
            part.number = number;
            part.sketch.clear();
        }
        part.sketch.add(item, times);
    }

    /// The most frequent items with their counts, most frequent first.
    pub fn list(&self, now: Instant) -> Vec<(T, u64)> {
        let mut all = self.all(now);
        all.truncate(self.size);
        all
    }

    /// The items of [`Top::list`] that stand out: more frequent than every item that is not in the list. In a flood of
    /// random names, each seen once, nothing stands out.
    pub fn heavy(&self, now: Instant) -> Vec<(T, u64)> {
        let mut all = self.all(now);
        let beyond = all.get(self.size).map_or(0, |(_, count)| *count);
        all.truncate(self.size);
        all.retain(|(_, count)| *count > beyond);
        all
    }

    fn all(&self, now: Instant) -> Vec<(T, u64)> {
        let number = self.number(now);
        let parts = self.parts.iter().filter(|part| part.number <= number && number - part.number < PARTS);
        let mut counts = HashMap::<&T, u64>::new();
        for (item, count) in parts.flat_map(|part| part.sketch.candidates()) {
            *counts.entry(item).or_default() += u64::from(count);
        }
        let mut all: Vec<(T, u64)> = counts.into_iter().map(|(item, count)| (item.clone(), count)).collect();
        all.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        all
    }

    /// Index of the part that contains `now`.
    fn number(&self, now: Instant) -> u32 {
        let number = now.saturating_duration_since(self.start).as_secs() / (WINDOW / PARTS).as_secs();
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_frequent_stand_out_of_a_flood_of_the_rare() {
        let start = Instant::now();
        let mut top = Top::new(3, start);
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
    fn nothing_stands_out_if_each_item_is_seen_once() {
        let start = Instant::now();
        let mut top = Top::new(5, start);
        for number in 0..1000_u32 {
            top.add(&number, 1, start);
        }
        assert_eq!(top.list(start).len(), 5);
        assert!(top.heavy(start).is_empty());
    }

    #[test]
    fn few_are_all_shown() {
        let start = Instant::now();
        let mut top = Top::new(5, start);
        top.add(&"only", 1, start);
        assert_eq!(top.heavy(start), [("only", 1)]);
    }

    #[test]
    fn what_is_an_hour_old_is_forgotten() {
        let start = Instant::now();
        let mut top = Top::new(5, start);
        top.add(&"old", 1, start);
        top.add(&"new", 1, start + 30 * MINUTE);
        assert_eq!(top.list(start + 59 * MINUTE), [("new", 1), ("old", 1)]);
        assert_eq!(top.list(start + 60 * MINUTE), [("new", 1)]);
        assert!(top.list(start + 95 * MINUTE).is_empty());
    }
}
