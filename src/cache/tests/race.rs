//! Readers during constant overwriting: every answer found is complete and belongs to the requested name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

const NAMES: u64 = 64;
const INSERTIONS: u64 = 400_000;

/// Records that identify themselves: name, version, then a pattern whose content and length depend on both.
fn records(name: u64, version: u64) -> Vec<u8> {
    let seed = (name << 32 | version).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = 16 + (seed >> 56) as usize;
    let pattern = (0..len - 16).map(|index| (seed >> (index % 8 * 8)) as u8 ^ index as u8);
    name.to_ne_bytes().into_iter().chain(version.to_ne_bytes()).chain(pattern).collect()
}

/// The version of `found`, which must be an answer stored for `name`.
fn check(name: u64, found: &[u8]) -> u64 {
    let version = u64::from_ne_bytes(found[8..16].try_into().unwrap());
    assert_eq!(found, records(name, version));
    version
}

#[test]
fn readers_never_see_a_torn_answer() {
    let (asker, now) = (Asker::new(), Instant::now());
    let queries: Vec<_> = (0..NAMES).map(|name| asker.a(&format!("n{name}.test"))).collect();
    let cache = Cache::new(8000, LENIENT, None);
    let (is_over, hits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (cache, queries, is_over, hits) = (&cache, &queries, &is_over, &hits);
            scope.spawn(move || {
                let (mut kept, mut found, mut round) = (HitBuffer::default(), 0, reader);
                let mut newest = [0; NAMES as usize];
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    let name = round % NAMES;
                    // Covers times late enough that expiring, held and stale entries occur.
                    let time = now + seconds(round % 200);
                    if let Some(hit) = cache.get_stale(&queries[name as usize], time, &mut kept) {
                        let version = check(name, hit.answer.records());
                        assert!(version >= newest[name as usize], "an older answer came back");
                        newest[name as usize] = version;
                        found += 1;
                    }
                }
                hits.fetch_add(found, Ordering::Relaxed);
            });
        }
        for version in 0..INSERTIONS {
            // Some entries are replaced soon, others evicted first.
            let name = version.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & version >> 3 & (NAMES - 1);
            let records = records(name, version);
            cache.insert(&queries[name as usize], answer(Lifetime::Positive(100), &records), now);
            if version % 16 == 0 {
                cache.hold_stale(&queries[name as usize], now + seconds(120), seconds(30));
            }
            if version % 1024 == 0 {
                cache.retain(|name, _| name.wire_len() % 2 == 0);
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(hits.load(Ordering::Relaxed) > 0);
    assert!(cache.evictions() > 0);
}
