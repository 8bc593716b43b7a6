//! [`LiveStats`]: recent activity, for the status page and its JSON.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use super::blocked_names::{BlockedNames, Sighting};
use super::client::ShownClient;
use super::series::SeriesLimit;
use super::top::Top;
use crate::config::{ClientAddress, Settings};
use crate::events::counters::ResultCounts;
use crate::events::event::QueryEvent;
use crate::policy::verdict::BlockReason;
use crate::util::sync::lock;
use crate::wire::name::Name;

/// Number of recent blocked lookups.
const RECENT: usize = 200;

/// Maximum number of blocked names stored with their clients: about 2 MiB, and more names than a usable allowlist
/// leaves blocked.
const NAMES: usize = 4096;

/// Seconds of rate history.
const RATES: usize = 300;

/// Recent blocked lookups, the most blocked names and clients, and queries per second.
pub struct LiveStats {
    client: ClientAddress,
    recent: Mutex<Recent>,
    names: Mutex<Top<Vec<u8>>>,
    clients: Mutex<Top<ShownClient>>,
    name_series: Mutex<SeriesLimit>,
    client_series: Mutex<SeriesLimit>,
    blocked: Mutex<BlockedNames>,
    rates: Mutex<Rates>,
}

#[derive(Default)]
struct Recent {
    lookups: VecDeque<QueryEvent>,
    /// Lookups since the start, including those no longer stored.
    count: u64,
}

#[derive(Default)]
struct Rates {
    seconds: VecDeque<RecentActivity>,
    last: RecentActivity,
}

/// Counts of a second, of a minute, or since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentActivity {
    /// Queries by result.
    pub results: ResultCounts,
    /// Lookups missing from the query log.
    pub log_lost: u64,
    /// dnstap frames lost.
    pub dnstap_lost: u64,
}

impl RecentActivity {
    fn with(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            results: self.results.with(other.results, combine),
            log_lost: combine(self.log_lost, other.log_lost),
            dnstap_lost: combine(self.dnstap_lost, other.dnstap_lost),
        }
    }
}

impl LiveStats {
    /// Starts empty; `log.client` in `settings` decides how clients are shown.
    pub fn new(settings: &Settings, start: Instant) -> Self {
        Self {
            client: settings.log.client,
            recent: Mutex::default(),
            names: Mutex::new(Top::new(settings.admin.top, start)),
            clients: Mutex::new(Top::new(settings.admin.top, start)),
            name_series: Mutex::new(SeriesLimit::new(settings.admin.top)),
            client_series: Mutex::new(SeriesLimit::new(settings.admin.top)),
            blocked: Mutex::new(BlockedNames::new(NAMES)),
            rates: Mutex::default(),
        }
    }

    /// How clients are shown.
    pub fn client(&self) -> ClientAddress {
        self.client
    }

    /// Adds a blocked lookup that was received at wall-clock time `time`; `following` more are added right after it.
    /// Noise does not count in the most blocked names and clients, and in the blocked names.
    pub fn add(&self, lookup: &QueryEvent, following: usize, now: Instant, time: SystemTime) {
        if lookup.record.reason != Some(BlockReason::Noise) {
            lock(&self.names).add(lookup.question.name.as_bytes(), lookup.weight, now);
            let client = ShownClient::of(lookup.client.ip(), self.client);
            if let Some(client) = client {
                lock(&self.clients).add(&client, lookup.weight, now);
            }
            let denied = lookup.record.rule.is_some();
            let seen = Sighting::once(time, client, lookup.question.qtype, denied);
            lock(&self.blocked).add(&lookup.question.name, &seen);
        }
        let mut recent = lock(&self.recent);
        recent.count += 1;
        if following >= RECENT {
            // The next lookups will replace this one and all earlier ones.
            recent.lookups.clear();
            return;
        }
        if recent.lookups.len() == RECENT {
            recent.lookups.pop_front();
        }
        recent.lookups.push_back(lookup.without_messages());
    }

    /// The stored lookups from number `after` on, oldest first, each with its number; and the next number.
    pub fn recent(&self, after: u64) -> (Vec<(u64, QueryEvent)>, u64) {
        let recent = lock(&self.recent);
        let oldest = recent.count - recent.lookups.len() as u64;
        let numbered = (oldest..).zip(&recent.lookups).filter(|(number, _)| *number >= after);
        (numbered.map(|(number, lookup)| (number, lookup.clone())).collect(), recent.count)
    }

    /// The most blocked names of the last hour.
    pub fn names(&self, now: Instant) -> Vec<(String, u64)> {
        shown(lock(&self.names).list(now), |wire| name(wire))
    }

    /// The clients with the most blocked lookups of the last hour.
    pub fn clients(&self, now: Instant) -> Vec<(String, u64)> {
        shown(lock(&self.clients).list(now), ToString::to_string)
    }

    /// The part of [`LiveStats::names`] that stands out and may become label values; `SeriesLimit` bounds it.
    pub fn name_series(&self, now: Instant) -> Vec<(String, u64)> {
        let heavy = shown(lock(&self.names).heavy(now), |wire| name(wire));
        lock(&self.name_series).admit(heavy, now)
    }

    /// The same for [`LiveStats::clients`].
    pub fn client_series(&self, now: Instant) -> Vec<(String, u64)> {
        let heavy = shown(lock(&self.clients).heavy(now), ToString::to_string);
        lock(&self.client_series).admit(heavy, now)
    }

    /// The names blocked since the start.
    pub fn blocked(&self) -> MutexGuard<'_, BlockedNames> {
        lock(&self.blocked)
    }

    /// Adds one more second; `now` counts since the start.
    pub fn tick(&self, now: RecentActivity) {
        let mut rates = lock(&self.rates);
        // The first second starts with the process, so all earlier counts are zero.
        let last = std::mem::replace(&mut rates.last, now);
        if rates.seconds.len() == RATES {
            rates.seconds.pop_front();
        }
        rates.seconds.push_back(now.with(last, u64::saturating_sub));
    }

    /// Queries in each of the last seconds, oldest first.
    pub fn rates(&self) -> Vec<ResultCounts> {
        lock(&self.rates).seconds.iter().map(|second| second.results).collect()
    }

    /// The last minute.
    pub fn last_minute(&self) -> RecentActivity {
        let rates = lock(&self.rates);
        let seconds = rates.seconds.iter().rev().take(60).copied();
        seconds.fold(RecentActivity::default(), |sum, second| sum.with(second, u64::saturating_add))
    }
}

fn shown<T>(list: Vec<(T, u64)>, show: impl Fn(&T) -> String) -> Vec<(String, u64)> {
    list.into_iter().map(|(item, count)| (show(&item), count)).collect()
}

fn name(wire: &[u8]) -> String {
    Name::parse(wire).map_or_else(|_| String::new(), |name| name.to_string())
}
