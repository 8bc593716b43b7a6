//! [`TunnelGuard`]: how many new names a client asks for below one rule.
//!
//! Whoever may ask for any name below a suffix can carry data out in the names. Names that were asked before carry nothing
//! new, so that what counts is how many new ones there are, and how long. Only queries that no kept answer answers are
//! looked at.

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

/// Clients and rules watched at once, at some ten bytes for each of a budget's names. Beyond, those that were quiet for two
/// windows are forgotten, and then a quarter of the others: those with the fewest new names, so that nobody who uses a budget
/// up is lost sight of for others' sake.
const MAX: usize = 4096;

/// Types that stub resolvers, validators and common software ask for: NS, PTR, MX, SRV, DS and DNSKEY are those without a name
/// here.
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

/// Bytes that an unusual type carries, and a name that the client chose among those that answers led it to.
const CHOICE: u64 = 2;

/// What a client may ask for within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelBudget {
    /// New names.
    pub names: u32,
    /// Bytes of those, the labels of the rule itself left out.
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

/// Who asks below what.
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
    /// Hashes of names seen in this window and in the one before.
    seen: [HashSet<u64, RandomState>; 2],
    exceeded: u64,
}

/// A client beyond its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// Who: the first of its addresses.
    pub client: IpAddr,
    /// The name below which it asks.
    pub suffix: Name,
    /// New names within its window, those within the budget alone.
    pub names: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Names beyond the budget so far.
    pub exceeded: u64,
}

impl TunnelGuard {
    /// Watches with `budget`; what exceeds it is to be blocked where `enforce` says so.
    pub fn new(budget: TunnelBudget, enforce: bool) -> Self {
        Self { budget, enforce, watched: Mutex::default(), hasher: RandomState::default() }
    }

    /// True where names beyond the budget are to be blocked.
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// What it was made with.
    pub fn budget(&self) -> TunnelBudget {
        self.budget
    }

    /// Notes that `client` asks at `now` the `question`, whose name `rule` allows, or an answer for a name that it allows led
    /// to; false where that is beyond its budget.
    ///
    /// A name asked for with another of the usual types is not new; with any other type it is, for types can carry data as well.
    /// The one name of an exact rule is never new, its unusual types are.
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

    /// Clients that went beyond their budget in the window before `now`, the worst first.
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
            // Two windows on, nothing of the one before is known.
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

/// Forgets who is of least interest, so that there is room.
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
