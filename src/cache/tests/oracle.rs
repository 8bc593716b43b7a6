//! Random call sequences, compared with a reference table.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Call {
    Insert(u8, Lifetime, u8, u16),
    Get(u8),
    GetStale(u8),
    Hold(u8, u64),
    Drop(u8),
    Wait(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let lifetime = prop_oneof![
        4 => (0..400u32).prop_map(Lifetime::Positive),
        2 => (0..400u32).prop_map(Lifetime::Negative),
        1 => Just(Lifetime::Failure),
        1 => Just(Lifetime::Unknown),
    ];
    prop_oneof![
        4 => (0..40u8, lifetime, any::<u8>(), 0..300u16).prop_map(|(name, lifetime, tag, len)| Call::Insert(name, lifetime, tag, len)),
        4 => (0..40u8).prop_map(Call::Get),
        2 => (0..40u8).prop_map(Call::GetStale),
        1 => (0..40u8, 0..60u64).prop_map(|(name, time)| Call::Hold(name, time)),
        1 => (0..40u8).prop_map(Call::Drop),
        3 => (0..100_000u64).prop_map(Call::Wait),
    ]
}

/// The state of a name: answer, time stored, time until which it is held.
#[derive(Clone)]
struct Known {
    lifetime: Lifetime,
    records: Vec<u8>,
    stored: Duration,
    held: Duration,
}

struct Oracle {
    lifetimes: Lifetimes,
    known: HashMap<u8, Known>,
}

impl Oracle {
    fn insert(&mut self, name: u8, lifetime: Lifetime, records: Vec<u8>, now: Duration) {
        let is_of_use = |known: &Known| known.lifetime != Lifetime::Failure && self.end(known) > now;
        let keeps = lifetime == Lifetime::Failure && self.known.get(&name).is_some_and(is_of_use);
        if !keeps && !self.fresh(lifetime).is_zero() {
            self.known.insert(name, Known { lifetime, records, stored: now, held: Duration::ZERO });
        }
    }

    fn fresh(&self, lifetime: Lifetime) -> Duration {
        match lifetime {
            Lifetime::Positive(ttl) => seconds(ttl.into()).min(self.lifetimes.max),
            Lifetime::Negative(ttl) => seconds(ttl.into()).min(self.lifetimes.max_negative),
            Lifetime::Failure => seconds(2),
            Lifetime::Unknown => Duration::ZERO,
        }
    }

    fn end(&self, known: &Known) -> Duration {
        let stale = match known.lifetime {
            Lifetime::Positive(_) | Lifetime::Negative(_) => self.lifetimes.max_stale,
            _ => Duration::ZERO,
        };
        known.stored + self.fresh(known.lifetime) + stale
    }

    fn get(&self, name: u8, now: Duration, stale_will_do: bool) -> Option<(&[u8], Duration, bool)> {
        let known = self.known.get(&name)?;
        let is_fresh = now < known.stored + self.fresh(known.lifetime);
        let is_given = is_fresh || now < known.held || stale_will_do && now < self.end(known);
        is_given.then_some((&*known.records, now - known.stored, is_fresh))
    }

    fn hold(&mut self, name: u8, now: Duration, time: Duration) {
        if let Some(known) = self.known.get(&name) {
            let until = (now + time).min(self.end(known));
            if until > known.stored + self.fresh(known.lifetime) {
                self.known.insert(name, Known { held: until, ..known.clone() });
            }
        }
    }
}

/// Runs `calls` and checks every answer. A cache with enough room forgets nothing; a smaller one never answers wrongly.
fn compare(max_bytes: u64, max_stale: Duration, calls: &[Call], forgets: bool) -> Result<(), TestCaseError> {
    let (asker, start) = (Asker::new(), Instant::now());
    let lifetimes = Lifetimes { max_stale, ..LENIENT };
    let cache = Cache::new(max_bytes, lifetimes, None);
    let mut oracle = Oracle { lifetimes, known: HashMap::new() };
    let queries: Vec<_> = (0..40).map(|name| asker.a(&format!("n{name}.test"))).collect();
    let mut kept = HitBuffer::default();
    let mut now = Duration::ZERO;
    for call in calls {
        let time = start + now;
        let mut check = |name: u8, stale_will_do: bool| {
            let query = &queries[usize::from(name)];
            let hit = match stale_will_do {
                true => cache.get_stale(query, time, &mut kept),
                false => cache.get(query, time, &mut kept),
            };
            let expected = oracle.get(name, now, stale_will_do);
            let found = hit.map(|hit| (hit.answer.records(), hit.age, hit.freshness != Freshness::Stale));
            if found.is_some() || !forgets {
                prop_assert_eq!(found, expected);
            }
            Ok(())
        };
        match *call {
            Call::Insert(name, lifetime, tag, len) => {
                let records = vec![tag; usize::from(len)];
                if forgets && cache.get_stale(&queries[usize::from(name)], time, &mut kept).is_none() {
                    oracle.known.remove(&name);
                }
                cache.insert(&queries[usize::from(name)], answer(lifetime, &records), time);
                oracle.insert(name, lifetime, records, now);
            }
            Call::Get(name) => check(name, false)?,
            Call::GetStale(name) => check(name, true)?,
            Call::Hold(name, time_held) => {
                cache.hold_stale(&queries[usize::from(name)], time, seconds(time_held));
                oracle.hold(name, now, seconds(time_held));
            }
            Call::Drop(name) => {
                let dropped = queries[usize::from(name)].question().name.clone();
                cache.retain(|name, _| *name != dropped);
                oracle.known.remove(&name);
            }
            Call::Wait(time) => now += Duration::from_millis(time),
        }
        prop_assert!(cache.bytes() <= cache.max_bytes());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_cache_with_room_knows_all(calls in proptest::collection::vec(call(), 1..300), stale in 0..2u64) {
        compare(1 << 20, seconds(stale * 200), &calls, false)?;
    }

    #[test]
    fn a_cache_without_room_says_nothing_wrong(
        calls in proptest::collection::vec(call(), 1..1500),
        max_bytes in 6000..16_000u64,
        stale in 0..2u64,
    ) {
        compare(max_bytes, seconds(stale * 200), &calls, true)?;
    }
}
