//! Which entries stay and which go, measured and compared with an LRU cache.

use std::collections::{BTreeMap, HashMap};

use super::*;

/// An answer that is 120 bytes on the wire, for a name of 28: two records.
fn usual_answer(bytes: &mut Vec<u8>) -> AnswerRef<'_> {
    bytes.resize(120 - 12 - 28 - 4 + 2 * 2, 7);
    let head = AnswerHead {
        flags: Flags(Flags::QR),
        counts: [2, 0, 0],
        records: 76,
        ttls: 2,
        extended_errors: 0,
        lifetime: Lifetime::Positive(3600),
    };
    AnswerRef::new(head, bytes).unwrap()
}

#[test]
fn a_usual_answer_takes_less_than_200_bytes_of_the_bound() {
    let (asker, now, mut bytes) = (Asker::new(), Instant::now(), Vec::new());
    let answer = usual_answer(&mut bytes);
    let cache = Cache::new(4 << 20, LIFETIMES, None);
    for number in 0..60_000 {
        let query = asker.a(&format!("n{number:07}.workspace.test.ms"));
        assert_eq!(query.question().name.wire_len(), 28);
        cache.insert(&query, answer, now);
    }
    assert!(cache.max_bytes() / cache.len() as u64 <= 200, "{} kept", cache.len());
    // One in 2000 other hashes matches the bits that the index stores.
    for number in 0..60_000 {
        assert!(get(&cache, &asker.a(&format!("m{number:07}.workspace.test.ms")), now).is_none());
    }
}

/// Pseudorandom numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A request trace of name numbers: `names` names by Zipf's law with exponent 0.9. After each request follow `scan`
/// names that are never requested again.
fn trace(names: usize, scan: u64, len: usize) -> Vec<u64> {
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=names {
        sum += (rank as f64).powf(-0.9);
        sums.push(sum);
    }
    let (mut random, mut trace) = (Random(88_172_645_463_325_252), Vec::new());
    let mut once = names as u64;
    while trace.len() < len {
        let point = random.below(1 << 40) as f64 / (1_u64 << 40) as f64 * sum;
        trace.push(sums.partition_point(|sum| *sum < point) as u64);
        for _ in 0..scan {
            trace.push(once);
            once += 1;
        }
    }
    trace
}

/// Hits of a cache of `max_bytes`, and its number of entries at the end.
fn hits(max_bytes: u64, trace: &[u64]) -> (usize, usize) {
    let (asker, now, mut bytes, mut kept) = (Asker::new(), Instant::now(), Vec::new(), HitBuffer::default());
    let answer = usual_answer(&mut bytes);
    let cache = Cache::new(max_bytes, LIFETIMES, None);
    let mut hits = 0;
    for number in trace {
        let query = asker.a(&format!("n{number:07}.workspace.test.ms"));
        match cache.get(&query, now, &mut kept) {
            Some(_) => hits += 1,
            None => cache.insert(&query, answer, now),
        }
    }
    (hits, cache.len())
}

/// Hits of an LRU cache of `entries`.
fn least_recently_used(entries: usize, trace: &[u64]) -> usize {
    let (mut used, mut order, mut hits) = (HashMap::new(), BTreeMap::new(), 0);
    for (time, number) in trace.iter().enumerate() {
        if let Some(before) = used.insert(*number, time) {
            order.remove(&before);
            hits += 1;
        }
        order.insert(time, *number);
        if order.len() > entries {
            let (_, oldest) = order.pop_first().unwrap();
            used.remove(&oldest);
        }
    }
    hits
}

#[test]
fn names_asked_for_again_outlast_a_scan() {
    for (scan, at_least) in [(0, 1.0), (1, 1.1), (4, 1.3)] {
        let trace = trace(20_000, scan, 200_000);
        let (hits, entries) = hits(400_000, &trace);
        let others = least_recently_used(entries, &trace);
        let ratio = hits as f64 / others as f64;
        assert!(ratio >= at_least, "{scan} once per name: {hits} hits, {others} of an LRU of {entries}");
    }
}

#[test]
fn what_was_replaced_makes_room_before_what_was_not() {
    let (asker, now, mut bytes) = (Asker::new(), Instant::now(), Vec::new());
    let answer = usual_answer(&mut bytes);
    let cache = Cache::new(400_000, LIFETIMES, None);
    let quiet: Vec<_> = (0..1000).map(|number| asker.a(&format!("q{number}.test"))).collect();
    for query in &quiet {
        cache.insert(query, answer, now);
    }
    let busy: Vec<_> = (0..300).map(|number| asker.a(&format!("b{number}.test"))).collect();
    for query in busy.iter().cycle().take(100_000) {
        cache.insert(query, answer, now);
    }
    // Some in a long run of entries are evicted, so that no insertion takes long.
    assert!(cache.evictions() <= 1000 / 128, "{} evicted", cache.evictions());
    assert_eq!(cache.len() as u64 + cache.evictions(), 1300);
}

#[test]
fn the_expired_make_room_first() {
    let (asker, now, mut bytes) = (Asker::new(), Instant::now(), Vec::new());
    let cache = Cache::new(400_000, LIFETIMES, None);
    let short = answer(Lifetime::Positive(10), &[7; 80]);
    for round in 0..50 {
        for number in 0..500 {
            let query = asker.a(&format!("n{number}.round{round}.test"));
            cache.insert(&query, short, now + seconds(round * 11));
        }
    }
    assert_eq!(cache.evictions(), 0);
    let query = asker.a("long.test");
    cache.insert(&query, usual_answer(&mut bytes), now);
    assert!(get(&cache, &query, now).is_some());
}
