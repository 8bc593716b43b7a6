//! What bounds the cache, and what removes entries.

use super::*;

#[test]
fn names_are_dropped_when_told() {
    let (asker, cache, now) = (Asker::new(), Cache::new(1 << 20, LIFETIMES, None), Instant::now());
    let queries: Vec<_> =
        (0..2000).map(|number| asker.a(&format!("n{number}.zone{}.test", number % 2))).collect();
    for query in &queries {
        cache.insert(query, answer(Lifetime::Positive(60), b"x"), now);
    }
    let (origin, bytes) = (Name::from_labels([&b"zone1"[..], b"test"]).unwrap(), cache.bytes());
    cache.retain(|name, _| !name.is_within(&origin));
    assert_eq!((cache.len(), cache.bytes(), cache.evictions()), (1000, bytes / 2, 0));
    for (number, query) in queries.iter().enumerate() {
        assert_eq!(get(&cache, query, now).is_some(), number % 2 == 0);
    }
    cache.retain(|_, _| false);
    assert_eq!((cache.len(), cache.bytes(), cache.is_empty()), (0, 0, true));
}

#[test]
fn any_bound_holds() {
    let (asker, now) = (Asker::new(), Instant::now());
    for max_bytes in [0, 1, 100, 1024, 2048, 4096, 10_000, 65_536, 1 << 20] {
        let cache = Cache::new(max_bytes, LIFETIMES, None);
        assert_eq!(cache.max_bytes(), max_bytes);
        let mut kept = HitBuffer::default();
        for number in 0..3000 {
            let query = asker.a(&format!("n{number}.test"));
            let records = vec![number as u8; number * 7 % 300];
            cache.insert(&query, answer(Lifetime::Positive(60), &records), now);
            assert!(cache.bytes() <= max_bytes, "{} of {max_bytes}", cache.bytes());
            if let Some(hit) = cache.get(&query, now, &mut kept) {
                assert_eq!(hit.answer.records(), records);
            } else {
                assert!(max_bytes < 10_000, "not cached with {max_bytes}");
            }
        }
        assert_eq!(cache.is_empty(), max_bytes < 1024, "{max_bytes}");
        assert!(cache.len() as u64 + cache.evictions() <= 3000);
    }
}

#[test]
fn what_is_too_large_for_the_bound_is_not_kept() {
    let (asker, now) = (Asker::new(), Instant::now());
    let cache = Cache::new(100_000, LIFETIMES, None);
    cache.insert(&asker.a("small.test"), answer(Lifetime::Positive(60), b"x"), now);
    cache.insert(&asker.a("large.test"), answer(Lifetime::Positive(60), &[7; 40_000]), now);
    assert_eq!(get(&cache, &asker.a("large.test"), now), None);
    assert!(get(&cache, &asker.a("small.test"), now).is_some());
    let cache = Cache::new(4 << 20, LIFETIMES, None);
    cache.insert(&asker.a("large.test"), answer(Lifetime::Positive(60), &[7; 65_000]), now);
    assert_eq!(get(&cache, &asker.a("large.test"), now).unwrap().0, [7; 65_000]);
}

#[test]
fn a_new_cache_counts_on() {
    let (asker, now) = (Asker::new(), Instant::now());
    let cache = Cache::new(10_000, LIFETIMES, None);
    for number in 0..1000 {
        cache.insert(&asker.a(&format!("n{number}.test")), answer(Lifetime::Positive(60), b"x"), now);
    }
    let evictions = cache.evictions();
    assert_eq!(evictions + cache.len() as u64, 1000);
    let next = Cache::new(20_000, LIFETIMES, Some(&cache));
    assert_eq!((next.evictions(), next.len()), (evictions, 0));
}
