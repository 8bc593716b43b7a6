//! [`RateLimit`]: limits UDP replies per client and second.
//!
//! An attacker who forges addresses makes namegate send replies to others. A limit per address protects them from a
//! flood. Short replies in between (truncated or BADCOOKIE) let a real client prove its address: over TCP or with a
//! cookie.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rapidhash::fast::RandomState;

use crate::policy::clients::WholeClient;

/// Buckets of [`WAYS`] clients each: 65,536 clients in 512 KiB. When a bucket is full, the client with the fewest
/// recent replies is evicted.
const BUCKETS: usize = 16_384;
const WAYS: usize = 4;

/// Bits of a slot for a time in microseconds: nine years. The other bits identify the client.
const TIME_BITS: u32 = 48;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// Burst above the steady rate: one second's worth.
const BURST: Duration = Duration::from_secs(1);

/// Counts replies by client, without a lock. Each slot holds when its client's next reply is due at the steady rate
/// (the generic cell rate algorithm). If two threads write one slot at once, one reply may not be counted; nothing else
/// is lost.
#[derive(Debug)]
pub struct RateLimit {
    slots: Box<[AtomicU64]>,
    /// Time between replies at the steady rate, in microseconds.
    interval: u64,
    /// One in `slip` queries over the limit gets a short reply; 0: none.
    slip: u32,
    exempt: Vec<IpNet>,
    hasher: RandomState,
    began: Instant,
}

impl RateLimit {
    /// At most `per_second` replies a second (at least one) to each client not in `exempt`. One in `slip` queries over
    /// the limit gets a short reply.
    pub fn new(per_second: u32, slip: u32, exempt: Vec<IpNet>, now: Instant) -> Self {
        Self {
            slots: (0..BUCKETS * WAYS).map(|_| AtomicU64::new(0)).collect(),
            interval: u64::from(1_000_000 / per_second.max(1)).max(1),
            slip,
            exempt,
            hasher: RandomState::default(),
            began: now,
        }
    }

    /// Counts one reply at `now` to `address`, which belongs to `client`. False if it is over the limit; then it does
    /// not count.
    pub fn admits(&self, address: IpAddr, client: WholeClient, now: Instant) -> bool {
        let hash = self.hasher.hash_one(client);
        let tag = hash & !TIME;
        let time = (now.saturating_duration_since(self.began).as_micros() as u64).min(TIME);
        let bucket = hash as usize % BUCKETS * WAYS;
        let slots = &self.slots[bucket..bucket + WAYS];
        let due_in = |slot: &AtomicU64| slot.load(Ordering::Relaxed) & TIME;
        let own = slots.iter().find(|slot| slot.load(Ordering::Relaxed) & !TIME == tag);
        let due = own.map_or(time, |slot| due_in(slot).max(time));
        let Some(slot) = own.or_else(|| slots.iter().min_by_key(|slot| due_in(slot))) else { return true };
        if due - time > BURST.as_micros() as u64 {
            return self.exempt.iter().any(|net| net.contains(&address.to_canonical()));
        }
        slot.store(tag | (due + self.interval).min(TIME), Ordering::Relaxed);
        true
    }

    /// True if the `count`th query over the limit, counted from 1, gets a short reply.
    pub fn slips(&self, count: u32) -> bool {
        self.slip > 0 && count.is_multiple_of(self.slip)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::clients::ClientPrefix;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn whole(client: IpAddr) -> WholeClient {
        ClientPrefix::default().whole(client)
    }

    fn admitted(limit: &RateLimit, client: IpAddr, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| limit.admits(client, whole(client), now)).count()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let start = Instant::now();
        let limit = RateLimit::new(100, 2, Vec::new(), start);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(admitted(&limit, ip("10.0.0.1"), at(0), 500), 101);
        assert_eq!(admitted(&limit, ip("10.0.0.1"), at(100), 500), 10);
        assert_eq!(admitted(&limit, ip("10.0.0.2"), at(100), 500), 101, "another client has its own");
        assert_eq!(
            admitted(&limit, ip("10.0.0.1"), at(10_000), 500),
            101,
            "what is not used is not saved up"
        );
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let start = Instant::now();
        let limit = RateLimit::new(1, 0, vec!["10.9.0.0/16".parse().unwrap()], start);
        let total: usize = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"]
            .map(|client| admitted(&limit, ip(client), start, 10))
            .iter()
            .sum();
        assert_eq!(total, 2);
        assert_eq!(admitted(&limit, ip("::ffff:10.0.0.1"), start, 10), 2);
        assert_eq!(admitted(&limit, ip("10.0.0.1"), start, 10), 0);
        assert_eq!(admitted(&limit, ip("10.9.1.1"), start, 10), 10, "exempt");
    }

    #[test]
    fn one_in_so_many_slips() {
        let slips = |slip| {
            let limit = RateLimit::new(1, slip, Vec::new(), Instant::now());
            (1..=12).filter(|count| limit.slips(*count)).count()
        };
        assert_eq!([0, 1, 2, 3, 10].map(slips), [0, 12, 6, 4, 1]);
    }

    #[test]
    fn many_clients_are_told_apart_and_the_busiest_stay() {
        let start = Instant::now();
        let limit = RateLimit::new(10, 0, Vec::new(), start);
        let victim = ip("192.0.2.1");
        let mut to_victim = 0;
        for number in 0..200_000_u32 {
            let now = start + Duration::from_micros(u64::from(number) * 5);
            let other = IpAddr::from(number.to_be_bytes().map(|byte| byte ^ 0x55));
            limit.admits(other, whole(other), now);
            to_victim += usize::from(number % 100 == 0 && limit.admits(victim, whole(victim), now));
        }
        // 2,000 queries came within a second: a burst of 11 replies, then 10 at the steady rate.
        assert!((20..=22).contains(&to_victim), "{to_victim}");
    }
}
