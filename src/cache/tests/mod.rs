//! The cache's public behaviour: what is found, and for how long.
#![allow(clippy::unwrap_used)]

mod admission;
mod bounds;
mod oracle;
mod race;

use std::time::{Duration, Instant};

use super::*;
use crate::policy::clients::GroupId;
use crate::policy::{AllowedQuery, Compile, Mode, Policies, PolicyBuilder, Verdict};
use crate::wire::answer::{Answer, AnswerHead, AnswerRef, Lifetime};
use crate::wire::code::{Class, Type};
use crate::wire::header::Flags;
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

const A: Type = Type(1);
const AAAA: Type = Type(28);

const LIFETIMES: Lifetimes = Lifetimes {
    max: Duration::from_secs(3600),
    max_negative: Duration::from_secs(300),
    max_stale: Duration::ZERO,
    prefetch: false,
};

/// With an hour of stale answers, and prefetch.
const LENIENT: Lifetimes = Lifetimes { max_stale: Duration::from_secs(3600), prefetch: true, ..LIFETIMES };

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Makes queries under a policy that allows everything.
struct Asker(Policies);

impl Asker {
    fn new() -> Self {
        Self(Policies::for_all(PolicyBuilder::new().build(Compile::new(Mode::Observe)), 0))
    }

    fn query(&self, name: &str, qtype: Type, flags: AnswerFlags) -> AllowedQuery<'static> {
        let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
        let asker = (std::net::Ipv4Addr::LOCALHOST.into(), GroupId::DEFAULT);
        match self.0.decide(asker, &Question { name, qtype, class: Class::IN }, flags, Instant::now()) {
            Verdict::Observed(query, _) => query.into_owned(),
            verdict => panic!("{verdict:?}"),
        }
    }

    fn a(&self, name: &str) -> AllowedQuery<'static> {
        self.query(name, A, AnswerFlags::default())
    }
}

/// An answer whose only bytes are `records`.
fn answer(lifetime: Lifetime, records: &[u8]) -> AnswerRef<'_> {
    let head = AnswerHead {
        flags: Flags(Flags::QR),
        counts: [1, 0, 0],
        records: records.len() as u16,
        ttls: 0,
        extended_errors: 0,
        lifetime,
    };
    AnswerRef::new(head, records).unwrap()
}

/// What the cache returns: records, age in seconds, freshness.
fn get(cache: &Cache, query: &AllowedQuery<'_>, now: Instant) -> Option<(Vec<u8>, u64, Freshness)> {
    let mut kept = HitBuffer::default();
    let hit = cache.get(query, now, &mut kept)?;
    Some((hit.answer.records().to_vec(), hit.age.as_secs(), hit.freshness))
}

fn get_stale(cache: &Cache, query: &AllowedQuery<'_>, now: Instant) -> Option<(Vec<u8>, u64, Freshness)> {
    let mut kept = HitBuffer::default();
    let hit = cache.get_stale(query, now, &mut kept)?;
    Some((hit.answer.records().to_vec(), hit.age.as_secs(), hit.freshness))
}

#[test]
fn an_answer_comes_back_whole_until_its_time_is_over() {
    let message = b"\0\0\x81\xb0\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04";
    let parsed = Answer::parse(message).unwrap();
    let (cache, now) = (Cache::new(1 << 20, LIFETIMES, None), Instant::now());
    let query = Asker::new().a("a");
    let mut kept = HitBuffer::default();
    assert!(cache.get(&query, now, &mut kept).is_none());
    cache.insert(&query, parsed.as_ref(), now);
    for (age, is_kept) in [(0, true), (4999, true), (5000, false)] {
        let hit = cache.get(&query, now + Duration::from_millis(age), &mut kept);
        assert_eq!(hit.is_some(), is_kept, "after {age} ms");
        if let Some(hit) = hit {
            assert_eq!((hit.answer, hit.freshness), (parsed.as_ref(), Freshness::Fresh));
            assert_eq!(hit.age, Duration::from_millis(age));
        }
    }
}

#[test]
fn every_part_of_the_key_counts() {
    let (asker, cache, now) = (Asker::new(), Cache::new(1 << 20, LIFETIMES, None), Instant::now());
    let mut queries = Vec::new();
    for name in ["a.test", "b.test", "test"] {
        for qtype in [A, AAAA] {
            for (dnssec_ok, checking_disabled) in [(false, false), (true, false), (false, true), (true, true)]
            {
                queries.push(asker.query(name, qtype, AnswerFlags { dnssec_ok, checking_disabled }));
            }
        }
    }
    for (number, query) in queries.iter().enumerate() {
        assert_eq!(get(&cache, query, now), None);
        cache.insert(query, answer(Lifetime::Positive(60), &[number as u8]), now);
    }
    for (number, query) in queries.iter().enumerate() {
        assert_eq!(get(&cache, query, now), Some((vec![number as u8], 0, Freshness::Fresh)));
    }
    assert_eq!(cache.len(), queries.len());
    let folded = asker.a("A.TEST");
    assert_eq!(get(&cache, &folded, now), get(&cache, &queries[0], now));
}

#[test]
fn each_kind_of_answer_has_its_own_time() {
    let (asker, now) = (Asker::new(), Instant::now());
    let cases = [
        (Lifetime::Positive(86_400), 3600),
        (Lifetime::Positive(7), 7),
        (Lifetime::Negative(86_400), 300),
        (Lifetime::Failure, 2),
        (Lifetime::Unknown, 0),
        (Lifetime::Positive(0), 0),
    ];
    for (lifetime, time) in cases {
        let cache = Cache::new(1 << 20, LIFETIMES, None);
        let query = asker.a("a.test");
        cache.insert(&query, answer(lifetime, b"x"), now);
        assert_eq!(cache.len(), usize::from(time > 0), "{lifetime:?}");
        assert!(get(&cache, &query, now + seconds(time)).is_none(), "{lifetime:?}");
        if time > 0 {
            let last = now + seconds(time) - Duration::from_nanos(1_000_000);
            assert!(get(&cache, &query, last).is_some(), "{lifetime:?}");
            assert!(
                get(&cache, &query, now + seconds(time) - Duration::from_nanos(1)).is_none(),
                "{lifetime:?}"
            );
        }
    }
}

#[test]
fn a_newer_answer_takes_the_place_of_the_older() {
    let (cache, query, now) =
        (Cache::new(1 << 20, LIFETIMES, None), Asker::new().a("a.test"), Instant::now());
    cache.insert(&query, answer(Lifetime::Positive(60), b"first"), now);
    let bytes = cache.bytes();
    cache.insert(&query, answer(Lifetime::Positive(60), b"other"), now + seconds(30));
    assert_eq!(get(&cache, &query, now + seconds(80)), Some((b"other".to_vec(), 50, Freshness::Fresh)));
    cache.insert(&query, answer(Lifetime::Positive(0), b"never"), now + seconds(81));
    assert_eq!(get(&cache, &query, now + seconds(81)), Some((b"other".to_vec(), 51, Freshness::Fresh)));
    assert_eq!((cache.len(), cache.bytes()), (1, bytes));
    // Received on another thread before the first use of the cache.
    cache.insert(&query, answer(Lifetime::Positive(60), b"early"), now - seconds(50));
    assert_eq!(get(&cache, &query, now), Some((b"early".to_vec(), 50, Freshness::Fresh)));
    assert_eq!(get(&cache, &query, now + seconds(10)), None);
}

#[test]
fn what_is_in_demand_is_said_to_expire_once() {
    let (cache, query, now) = (Cache::new(1 << 20, LENIENT, None), Asker::new().a("a.test"), Instant::now());
    let freshness = |after| get(&cache, &query, now + seconds(after)).map(|(_, _, freshness)| freshness);
    cache.insert(&query, answer(Lifetime::Positive(100), b"x"), now);
    // Not requested before.
    assert_eq!(freshness(95), Some(Freshness::Fresh));
    assert_eq!(freshness(90), Some(Freshness::Fresh));
    assert_eq!(freshness(91), Some(Freshness::Expiring));
    assert_eq!(freshness(92), Some(Freshness::Fresh));
    cache.insert(&query, answer(Lifetime::Positive(10), b"x"), now + seconds(93));
    assert_eq!(freshness(102), Some(Freshness::Fresh));
    let eager = Cache::new(1 << 20, LIFETIMES, None);
    eager.insert(&query, answer(Lifetime::Positive(100), b"x"), now);
    for after in [1, 99] {
        assert_eq!(get(&eager, &query, now + seconds(after)).unwrap().2, Freshness::Fresh);
    }
}

#[test]
fn stale_answers_are_given_and_never_too_old() {
    let (cache, query, now) = (Cache::new(1 << 20, LENIENT, None), Asker::new().a("a.test"), Instant::now());
    let stale = |age| Some((b"x".to_vec(), age, Freshness::Stale));
    cache.insert(&query, answer(Lifetime::Positive(100), b"x"), now);
    assert_eq!(get_stale(&cache, &query, now + seconds(10)).unwrap().2, Freshness::Fresh);
    assert_eq!(get(&cache, &query, now + seconds(100)), None);
    assert_eq!(get_stale(&cache, &query, now + seconds(100)), stale(100));
    cache.hold_stale(&query, now + seconds(110), seconds(30));
    assert_eq!(get(&cache, &query, now + seconds(139)), stale(139));
    assert_eq!(get(&cache, &query, now + seconds(140)), None);
    assert_eq!(get_stale(&cache, &query, now + seconds(3699)), stale(3699));
    cache.hold_stale(&query, now + seconds(3690), seconds(30));
    assert_eq!(get(&cache, &query, now + seconds(3699)), stale(3699));
    assert_eq!(get(&cache, &query, now + seconds(3700)), None);
    assert_eq!(get_stale(&cache, &query, now + seconds(3700)), None);
    cache.hold_stale(&query, now + seconds(3701), seconds(30));
    assert_eq!(get(&cache, &query, now + seconds(3702)), None);

    let strict = Cache::new(1 << 20, LIFETIMES, None);
    strict.insert(&query, answer(Lifetime::Positive(100), b"x"), now);
    strict.hold_stale(&query, now + seconds(99), seconds(30));
    assert_eq!(get_stale(&strict, &query, now + seconds(99)).unwrap().2, Freshness::Fresh);
    assert_eq!(get_stale(&strict, &query, now + seconds(100)), None);
    assert_eq!(get(&strict, &query, now + seconds(100)), None);
}

#[test]
fn a_failure_takes_the_place_only_of_what_is_of_no_use() {
    let (query, now) = (Asker::new().a("a.test"), Instant::now());
    let failure = answer(Lifetime::Failure, b"failure");
    for (lifetimes, after, is_taken) in [
        (LENIENT, 50, false),
        (LENIENT, 3699, false),
        (LENIENT, 3700, true),
        (LIFETIMES, 50, false),
        (LIFETIMES, 100, true),
    ] {
        let cache = Cache::new(1 << 20, lifetimes, None);
        cache.insert(&query, answer(Lifetime::Positive(100), b"data"), now);
        cache.insert(&query, failure, now + seconds(after));
        let found = get_stale(&cache, &query, now + seconds(after)).map(|(records, ..)| records);
        let expected = if is_taken { &b"failure"[..] } else { b"data" };
        assert_eq!(found.as_deref(), Some(expected), "after {after} s");
    }
    // A failure is never served stale, and anything replaces it.
    let cache = Cache::new(1 << 20, LENIENT, None);
    cache.insert(&query, failure, now);
    cache.insert(&query, failure, now + seconds(1));
    assert!(get(&cache, &query, now + Duration::from_millis(2999)).is_some());
    assert_eq!(get_stale(&cache, &query, now + seconds(3)), None);
    cache.insert(&query, answer(Lifetime::Negative(100), b"data"), now);
    assert_eq!(get(&cache, &query, now).unwrap().0, b"data");
}
