//! [`TunnelGuard`]: limits the new names that a client queries below one rule.
//!
//! A client that may query any name below a suffix can exfiltrate data in the names. A repeated name carries no new
//! data, so the guard counts new names and their bytes. It sees only cache misses.

#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hashbrown::{HashSet, HashTable};
use rapidhash::fast::RandomState;

use super::RuleRef;
use super::clients::WholeClient;
use super::rule::Scope;
use crate::util::sync::lock;
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::query::Question;

/// Maximum pairs of client and rule watched at once. Each pair uses up to about 40 bytes of memory per name of the
/// budget. Above that number, pairs whose last window began two windows ago are dropped, then a quarter of the rest:
/// those with the fewest new names. So a pair that uses up its budget stays watched.
const MAX: usize = 4096;

/// Types that stub resolvers, validators and common software query. The numbers are NS, PTR, MX, SRV, DS and DNSKEY.
const USUAL_TYPES: [Type; 13] = [
    Type::A,
    Type::AAAA,
    Type::HTTPS,
    Type::SVCB,
    Type::CNAME,
    Type::SOA,
    Type::TXT,
    Type(2),
    Type(12),
    Type(15),
    Type(33),
    Type(43),
    Type(48),
];

/// Bytes counted for an unusual type, because a client can encode data in the QTYPE (two bytes), and for a followed
/// name, because a client can encode data in which of them it queries.
const CHOICE: u64 = 2;

/// What a client may query below one rule within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelBudget {
    /// New names.
    pub names: u32,
    /// Bytes of the new names, without the rule's own labels.
    pub bytes: u64,
    /// The window.
    pub window: Duration,
}

/// Counts new names by client and rule.
#[derive(Debug)]
pub struct TunnelGuard {
    budget: TunnelBudget,
    enforce: bool,
    watched: Mutex<HashTable<(Subject, Watched)>>,
    hasher: RandomState,
}

/// A client and the suffix of a rule.
#[derive(Clone, Debug)]
struct Subject {
    client: WholeClient,
    suffix: Box<[u8]>,
}

#[derive(Debug)]
struct Watched {
    window: Instant,
    names: u32,
    bytes: u64,
    /// Hashes of the names in this window and in the previous one.
    seen: [HashSet<u64, RandomState>; 2],
    exceeded: u64,
}

/// A client beyond its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// The client: the first of its addresses.
    pub client: IpAddr,
    /// The suffix of the rule.
    pub suffix: Name,
    /// New names in the window, without those beyond the budget.
    pub names: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Names beyond the budget in the window.
    pub exceeded: u64,
}

impl TunnelGuard {
    /// A guard with `budget`. With `enforce`, names beyond it are blocked.
    pub fn new(budget: TunnelBudget, enforce: bool) -> Self {
        Self { budget, enforce, watched: Mutex::default(), hasher: RandomState::default() }
    }

    /// True if names beyond the budget are blocked.
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// The budget of each client and rule.
    pub fn budget(&self) -> TunnelBudget {
        self.budget
    }

    /// Records a query of `client` at `now`; false if it is beyond the budget. `rule` allows the name, or the name is
    /// followed: it is a target in an answer for a name that `rule` allows.
    ///
    /// A known name counts as new again only with an unusual type, because a client can encode data in the type. The
    /// name of an exact rule is never new; its unusual types are.
    pub fn admit(&self, client: WholeClient, rule: RuleRef<'_>, question: &Question, now: Instant) -> bool {
        let (name, suffix) = (&question.name, rule.suffix());
        let is_usual = USUAL_TYPES.contains(&question.qtype);
        if is_usual && rule.scope() == Scope::Exact && name.as_bytes() == suffix {
            return true;
        }
        let labels = name.as_bytes().strip_suffix(suffix);
        let bytes = labels.map_or(CHOICE, |labels| labels.len() as u64) + if is_usual { 0 } else { CHOICE };
        let hash = self.hasher.hash_one((client, suffix));
        let is_subject =
            |(subject, _): &(Subject, Watched)| subject.client == client && *subject.suffix == *suffix;
        let mut watched = self.lock();
        if watched.find(hash, is_subject).is_none() {
            if watched.len() >= MAX {
                make_room(&mut watched, now, self.budget.window);
            }
            let subject = Subject { client, suffix: suffix.into() };
            let rehash =
                |(subject, _): &(Subject, Watched)| self.hasher.hash_one((subject.client, &*subject.suffix));
            watched.insert_unique(hash, (subject, Watched::new(now)), rehash);
        }
        let Some((_, one)) = watched.find_mut(hash, is_subject) else { return true };
        let qtype = if is_usual { Type::A } else { question.qtype };
        one.admit(self.hasher.hash_one((name.as_bytes(), qtype)), bytes, self.budget, now)
    }

    /// Clients beyond their budget in the window before `now`, worst first.
    pub fn suspects(&self, now: Instant) -> Vec<Suspect> {
        let watched = self.lock();
        let recent = |one: &Watched| now.saturating_duration_since(one.window) < self.budget.window;
        let mut suspects: Vec<Suspect> = watched
            .iter()
            .filter(|(_, one)| one.exceeded > 0 && recent(one))
            .filter_map(|(Subject { client, suffix }, one)| {
                let Watched { names, bytes, exceeded, .. } = *one;
                Some(Suspect {
                    client: client.address(),
                    suffix: Name::parse(suffix).ok()?,
                    names,
                    bytes,
                    exceeded,
                })
            })
            .collect();
        suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.exceeded));
        suspects
    }

    fn lock(&self) -> MutexGuard<'_, HashTable<(Subject, Watched)>> {
        lock(&self.watched)
    }
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self { window: now, names: 0, bytes: 0, seen: Default::default(), exceeded: 0 }
    }

    fn admit(&mut self, hash: u64, bytes: u64, budget: TunnelBudget, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.window);
        if since >= budget.window {
            let [current, _] = std::mem::take(&mut self.seen);
            // After two windows the previous one was empty.
            let before = if since < budget.window * 2 { current } else { HashSet::default() };
            *self = Self { seen: [HashSet::default(), before], ..Self::new(now) };
        }
        if self.seen[0].contains(&hash) {
            return true;
        }
        if self.seen[1].contains(&hash) {
            self.seen[0].insert(hash);
            return true;
        }
        if self.names >= budget.names || self.bytes + bytes > budget.bytes {
            self.exceeded += 1;
            return false;
        }
        self.names += 1;
        self.bytes += bytes;
        self.seen[0].insert(hash);
        true
    }
}

/// Drops the least interesting pairs to make room.
fn make_room(watched: &mut HashTable<(Subject, Watched)>, now: Instant, window: Duration) {
    watched.retain(|(_, one)| now.saturating_duration_since(one.window) < window * 2);
    let interest = |one: &Watched| if one.exceeded > 0 { u32::MAX } else { one.names };
    let mut interests: Vec<u32> = watched.iter().map(|(_, one)| interest(one)).collect();
    if interests.len() < MAX {
        return;
    }
    let (_, &mut least, _) = interests.select_nth_unstable(MAX / 4);
    let mut surplus = MAX / 4;
    watched.retain(|(_, one)| {
        let goes = surplus > 0 && interest(one) <= least;
        surplus -= usize::from(goes);
        !goes
    });
}
