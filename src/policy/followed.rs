//! [`Followed`]: names that answers led to, allowed until the answers expire (`cname = "follow"`).
//!
//! The owner of an allowed name chooses what its answers lead to, so the table is divided into shares. Every group has
//! an equal part. A new name is added only if `4 × both + max(client, rule) < free`:
//!
//! - `both`: names of this client through this rule
//! - `client`: names of this client
//! - `rule`: names through this rule
//! - `free`: unused entries of the group's part
//!
//! So new names give no rule and no client more than half, and one client through one rule at most a sixth. Each
//! further greedy client gets a third less than the one before. Renewing a name is always possible and moves it to the
//! client and rule that renew it, which may take them over their share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use papaya::{HashMap, Operation};

use super::clients::{GroupId, WholeClient};
use super::route::RouteId;
use super::trie::RuleId;
use crate::util::sync::lock;
use crate::wire::name::Name;

/// Maximum names over all groups. Each takes about 300 bytes, at most 1 KiB: 64 MiB in all.
const MAX: usize = 65_536;

/// Weight of one client's names through one rule in the share formula. A higher weight leaves more room for others.
const PAIR_WEIGHT: usize = 4;

/// Shortest time that a name is followed, also after an answer with TTL 0: the client queries the target right after
/// it.
pub(super) const SHORTEST: Duration = Duration::from_secs(10);

/// Minimum time between two sweeps for expired names: each scans a whole group.
const SWEEP: Duration = Duration::from_secs(1);

/// Names that answers led to, by group. Lookups take no lock.
#[derive(Debug, Default)]
pub struct Followed {
    groups: Box<[FollowedGroup]>,
    /// Set with the first name. Without `cname = "follow"` rules, lookups check only this flag.
    is_used: AtomicBool,
    /// Names refused because a share was full.
    refused: AtomicU64,
    /// The share that was full last.
    full: Mutex<Option<(GroupId, Share)>>,
}

/// The followed names of one group.
#[derive(Debug, Default)]
struct FollowedGroup {
    names: HashMap<Box<[u8]>, FollowedName>,
    /// Number of names per share; no entry is zero.
    held: HashMap<Share, usize>,
    /// When expired names were last removed.
    swept: Mutex<Option<Instant>>,
}

/// How a name came to be followed, and until when.
#[derive(Clone, Debug)]
struct FollowedName {
    /// The name that a rule allows, where the chain begins: folded, in wire format.
    root: Box<[u8]>,
    /// The rule that allows the root.
    rule: RuleId,
    /// The client that queried.
    client: WholeClient,
    /// The route of the answer; the followed name uses the same route.
    route: RouteId,
    until: Instant,
}

/// A share of a group's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// All names followed through one rule.
    Rule(RuleId),
    /// All names followed for one client.
    Client(WholeClient),
    /// The names followed for one client through one rule.
    ClientByRule(WholeClient, RuleId),
}

/// The start of a chain: the query of a client and the rule that allowed it.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The client that queried.
    pub client: WholeClient,
    /// The name that a rule allows.
    pub root: &'a Name,
    /// That rule.
    pub rule: RuleId,
    /// The route of the answer.
    pub route: RouteId,
}

impl FollowedName {
    fn shares(&self) -> [Share; 3] {
        let Self { client, rule, .. } = *self;
        [Share::Rule(rule), Share::Client(client), Share::ClientByRule(client, rule)]
    }
}

impl FollowedGroup {
    /// The result of `read` for the followed `name`, unless it has expired at `now`.
    fn get<T>(&self, name: &Name, now: Instant, read: impl FnOnce(&FollowedName) -> T) -> Option<T> {
        self.names.pin().get(name.as_bytes()).filter(|entry| entry.until > now).map(read)
    }

    fn insert(&self, name: Box<[u8]>, entry: FollowedName) {
        for share in entry.shares() {
            self.held.pin().update_or_insert(share, |held| held + 1, 1);
        }
        if let Some(before) = self.names.pin().insert(name, entry) {
            self.give_back(before);
        }
    }

    fn give_back(&self, entry: &FollowedName) {
        for share in entry.shares() {
            self.held.pin().compute(share, |held| match held {
                Some((_, &held)) if held > 1 => Operation::Insert(held - 1),
                Some(_) => Operation::Remove,
                None => Operation::Abort(()),
            });
        }
    }

    /// The share that is full and leaves no room for `entry`, with at most `max` names in the group.
    fn full_share(&self, entry: &FollowedName, max: usize) -> Option<Share> {
        let shares @ [rule, client, both] = entry.shares();
        let held = self.held.pin();
        let [of_rule, of_client, of_both] = shares.map(|share| held.get(&share).copied().unwrap_or(0));
        let free = max.saturating_sub(self.names.len());
        match of_rule.max(of_client) {
            most if most + PAIR_WEIGHT * of_both < free => None,
            most if most < free => Some(both),
            _ if of_rule >= free => Some(rule),
            _ => Some(client),
        }
    }

    /// Removes expired names. False if another thread sweeps, or the last sweep was less than [`SWEEP`] ago.
    fn sweep(&self, now: Instant) -> bool {
        let Ok(mut swept) = self.swept.try_lock() else { return false };
        if swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return false;
        }
        *swept = Some(now);
        let names = self.names.pin();
        for (name, entry) in names.iter().filter(|(_, entry)| entry.until <= now) {
            if let Ok(Some(_)) = names.remove_if(name, |_, found| std::ptr::eq(found, entry)) {
                self.give_back(entry);
            }
        }
        true
    }
}

impl Followed {
    /// Empty, for this number of groups.
    pub fn new(groups: usize) -> Self {
        Self { groups: (0..groups).map(|_| FollowedGroup::default()).collect(), ..Self::default() }
    }

    /// The route of `name`, if an answer to clients of `group` led to it and has not expired at `now`.
    pub fn find(&self, group: GroupId, name: &Name, now: Instant) -> Option<RouteId> {
        if !self.is_used() {
            return None;
        }
        self.groups.get(group.index())?.get(name, now, |entry| entry.route)
    }

    /// The start of the chain that led clients of `group` to `name`, if not expired at `now`: the name that a rule
    /// allows, and that rule.
    pub fn root(&self, group: GroupId, name: &Name, now: Instant) -> Option<(Name, RuleId)> {
        let read = |entry: &FollowedName| Some((Name::parse(&entry.root).ok()?, entry.rule));
        self.groups.get(group.index())?.get(name, now, read)?
    }

    /// The rule that led clients of `group` to `name`, if not expired at `now`.
    pub fn rule(&self, group: GroupId, name: &Name, now: Instant) -> Option<RuleId> {
        self.groups.get(group.index())?.get(name, now, |entry| entry.rule)
    }

    /// Records at `now` that an answer led a client of `group` from `start` to `target`, for `ttl` seconds.
    pub fn note(&self, group: GroupId, start: Start<'_>, target: &Name, ttl: u32, now: Instant) {
        let Some(found) = self.groups.get(group.index()) else { return };
        let until = now + Duration::from_secs(u64::from(ttl)).max(SHORTEST);
        // Cached answers repeat: store the name only if it extends the expiry by at least a second.
        let added = Duration::from_secs(1);
        let before = found.names.pin().get(target.as_bytes()).map(|entry| entry.until);
        if before.is_some_and(|before| before + added > until) {
            return;
        }
        let Start { client, root, rule, route } = start;
        let entry = FollowedName { root: root.as_bytes().into(), rule, client, route, until };
        let full = || found.full_share(&entry, self.share_of_group());
        // A replacement needs no room.
        if before.is_none()
            && let Some(share) = full()
            && (!found.sweep(now) || full().is_some())
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut full) = self.full.try_lock() {
                *full = Some((group, share));
            }
            return;
        }
        found.insert(target.as_bytes().into(), entry);
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Copies the names of group `theirs` in `before` to group `ours`, as far as they fit. `rule_for` returns the rule
    /// that now allows the first name of the chain with `cname = "follow"` and the same route.
    pub fn take_over(
        &self,
        ours: GroupId,
        before: &Self,
        theirs: GroupId,
        rule_for: impl Fn(&Name, RouteId) -> Option<RuleId>,
    ) {
        let (Some(ours), Some(theirs)) = (self.groups.get(ours.index()), before.groups.get(theirs.index()))
        else {
            return;
        };
        for (name, entry) in theirs.names.pin().iter() {
            let root = Name::parse(&entry.root).ok();
            let Some(rule) = root.and_then(|root| rule_for(&root, entry.route)) else { continue };
            let entry = FollowedName { rule, ..entry.clone() };
            if ours.full_share(&entry, self.share_of_group()).is_none() {
                ours.insert(name.clone(), entry);
                self.is_used.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Continues the counter of refused names from `before`.
    pub fn count_on_from(&self, before: &Self) {
        self.refused.fetch_add(before.refused(), Ordering::Relaxed);
    }

    /// Calls `each` with every followed name of `group` and its expiry.
    pub(super) fn each(&self, group: GroupId, mut each: impl FnMut(&Name, Instant)) {
        let Some(found) = self.groups.get(group.index()) else { return };
        for (name, entry) in found.names.pin().iter() {
            if let Ok(name) = Name::parse(name) {
                each(&name, entry.until);
            }
        }
    }

    /// Maximum names of one group.
    fn share_of_group(&self) -> usize {
        MAX / self.groups.len().max(1)
    }

    /// Number of names, including expired ones that are not yet removed.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.names.len()).sum()
    }

    /// True if there are no names.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True once a name was followed.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Number of names refused because a share was full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The share that was full last, if any since the previous call.
    pub fn take_full_share(&self) -> Option<(GroupId, Share)> {
        lock(&self.full).take()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::clients::ClientPrefix;

    const SECOND: Duration = Duration::from_secs(1);

    const OURS: GroupId = GroupId::DEFAULT;

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    /// Follows `target` for the client 10.0.0.`client` through a rule; true if it was stored.
    fn note(followed: &Followed, (client, rule): (u32, u32), target: &str, ttl: u32, now: Instant) -> bool {
        let root = name(&format!("root{rule}.example"));
        let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + client).into();
        let client = ClientPrefix::default().whole(client);
        let start = Start { client, root: &root, rule: RuleId::numbered(rule), route: RouteId(3) };
        followed.note(OURS, start, &name(target), ttl, now);
        followed.find(OURS, &name(target), now).is_some()
    }

    /// Adds names until one is refused; returns their number.
    fn fill(followed: &Followed, client: u32, rule: u32, now: Instant) -> usize {
        let is_noted = |index: &usize| {
            note(followed, (client, rule), &format!("t{index}.c{client}.r{rule}.example"), 60, now)
        };
        (0..=MAX).take_while(is_noted).count()
    }

    #[test]
    fn a_name_is_followed_by_its_group_for_its_time() {
        let now = Instant::now();
        let theirs = GroupId::new(1).unwrap();
        let followed = Followed::new(2);
        note(&followed, (1, 1), "b.example", 60, now);
        note(&followed, (1, 1), "c.example", 0, now);
        for (group, asked, after, expected) in [
            (OURS, "b.example", 0, true),
            (OURS, "b.example", 59, true),
            (OURS, "b.example", 60, false),
            (theirs, "b.example", 0, false),
            (OURS, "x.b.example", 0, false),
            (OURS, "c.example", 9, true),
            (OURS, "c.example", 10, false),
        ] {
            let found = followed.find(group, &name(asked), now + SECOND * after);
            assert_eq!(found, expected.then_some(RouteId(3)), "{asked} after {after} s");
        }
        // A shorter TTL does not shorten the expiry; a longer one extends it.
        note(&followed, (1, 1), "b.example", 1, now);
        assert!(followed.find(OURS, &name("b.example"), now + SECOND * 59).is_some());
        note(&followed, (1, 1), "b.example", 90, now);
        assert!(followed.find(OURS, &name("b.example"), now + SECOND * 89).is_some());
    }

    #[test]
    fn one_client_through_one_rule_gets_a_sixth() {
        let now = Instant::now();
        let followed = Followed::new(1);
        assert_eq!(fill(&followed, 1, 1, now), MAX.div_ceil(6));
        assert_eq!(followed.refused(), 1);
        let full = followed.take_full_share();
        assert!(matches!(full, Some((OURS, Share::ClientByRule(..)))), "{full:?}");
        // A name that it already holds can still be extended.
        note(&followed, (1, 1), "t0.c1.r1.example", 90, now);
        assert!(followed.find(OURS, &name("t0.c1.r1.example"), now + SECOND * 80).is_some());
        assert!(note(&followed, (1, 1), "later.example", 60, now + SECOND * 60));
        assert_eq!(followed.len(), 2);
        let held: Vec<usize> = followed.groups[0].held.pin().values().copied().collect();
        assert_eq!(held, [2, 2, 2], "one rule, one client, one of both");
    }

    #[test]
    fn one_rule_gets_at_most_half() {
        let now = Instant::now();
        let followed = Followed::new(1);
        for client in 1..=10 {
            fill(&followed, client, 1, now);
        }
        assert!(fill(&followed, 200, 1, now) > 100, "another client through the same rule");
        for client in 11..=100 {
            fill(&followed, client, 1, now);
        }
        assert!(followed.len() <= MAX / 2, "{}", followed.len());
        let full = followed.take_full_share();
        assert!(matches!(full, Some((OURS, Share::Rule(_)))), "{full:?}");
        assert!(fill(&followed, 1, 2, now) > 1000, "one of them through another rule");
        assert!(fill(&followed, 201, 2, now) > 1000, "another client through another rule");
    }

    #[test]
    fn one_client_gets_at_most_half() {
        let now = Instant::now();
        let followed = Followed::new(1);
        for rule in 1..=5 {
            fill(&followed, 1, rule, now);
        }
        assert!(fill(&followed, 1, 200, now) > 1000, "the same client through another rule");
        for rule in 6..=100 {
            fill(&followed, 1, rule, now);
        }
        assert!(followed.len() <= MAX / 2, "{}", followed.len());
        let full = followed.take_full_share();
        assert!(matches!(full, Some((OURS, Share::Client(_)))), "{full:?}");
        assert!(fill(&followed, 2, 1, now) > 1000, "another client through a rule whose share is full");
        assert!(fill(&followed, 3, 201, now) > 1000, "another client through another rule");
    }

    #[test]
    fn reload_keeps_names_that_rules_still_follow() {
        let now = Instant::now();
        let (before, after) = (Followed::new(1), Followed::new(1));
        note(&before, (1, 1), "b.example", 60, now);
        note(&before, (1, 2), "c.example", 60, now);
        after.take_over(OURS, &before, OURS, |root, route| {
            (*root == name("root1.example") && route == RouteId(3)).then_some(RuleId::numbered(7))
        });
        assert!(after.find(OURS, &name("b.example"), now).is_some());
        assert_eq!(after.rule(OURS, &name("b.example"), now), Some(RuleId::numbered(7)));
        assert!(after.find(OURS, &name("c.example"), now).is_none());
    }

    #[test]
    fn a_reload_takes_over_every_small_holders_names() {
        let now = Instant::now();
        let (before, after) = (Followed::new(1), Followed::new(1));
        fill(&before, 1, 1, now);
        for index in 0..1000 {
            assert!(note(&before, (index, 2), &format!("healthy{index}.example"), 60, now));
        }
        after.take_over(OURS, &before, OURS, |_, _| Some(RuleId::numbered(2)));
        let is_kept =
            |index: &u32| after.find(OURS, &name(&format!("healthy{index}.example")), now).is_some();
        // All names now count for one rule; still every client but the greedy one keeps its own.
        assert_eq!((0..1000).filter(|index| *index != 1).filter(is_kept).count(), 999);
        assert!(note(&after, (1001, 2), "new.example", 60, now));
    }
}
