//! [`Ancestors`]: names above allowed names.
//!
//! NXDOMAIN tells a resolver that nothing exists below the name either (RFC 8020). So a blocked name with allowed names
//! below it gets NODATA. The trie knows the ancestors of rules; this module holds those of grants, of local zones and
//! of followed names.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use papaya::HashMap as SharedMap;
use rapidhash::fast::RandomState;

use super::clients::GroupId;
use super::temporary::GrantScope;
use crate::wire::name::Name;

/// Ancestors of names that are known in advance.
#[derive(Clone, Debug, Default)]
pub(super) struct Ancestors {
    names: HashMap<Box<[u8]>, Vec<ScopeEnd>, RandomState>,
}

/// For which clients a name is an ancestor, and until when; `None`: for good.
type ScopeEnd = (GrantScope, Option<Instant>);

impl Ancestors {
    /// Adds the ancestors of `name` for the clients of `scope` until `until`, or for good. With `itself` the name is an
    /// ancestor too.
    pub(super) fn add(&mut self, name: &Name, itself: bool, scope: &GrantScope, until: Option<Instant>) {
        for ancestor in suffixes(name.as_bytes()).skip(usize::from(!itself)) {
            let known = self.names.entry(ancestor.into()).or_default();
            match known.iter_mut().find(|(other, _)| other == scope) {
                Some((_, known)) => *known = known.zip(until).map(|(one, other)| one.max(other)),
                None => known.push((scope.clone(), until)),
            }
        }
    }

    /// True if a client that `is_for` accepts may query some name below `name` at `now`.
    #[inline]
    pub(super) fn contains(&self, name: &Name, now: Instant, is_for: impl Fn(&GrantScope) -> bool) -> bool {
        !self.names.is_empty()
            && self.names.get(name.as_bytes()).is_some_and(|known| {
                known.iter().any(|(scope, until)| until.is_none_or(|until| until > now) && is_for(scope))
            })
    }
}

/// A wire-format name and all its ancestors, including the root.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |suffix| match suffix.first() {
        None | Some(0) => None,
        Some(length) => suffix.get(1 + usize::from(*length)..),
    })
}

/// Ancestors of followed names, by group. Lookups take no lock.
#[derive(Debug, Default)]
pub(super) struct FollowedAncestors {
    groups: Box<[SharedMap<Box<[u8]>, Instant>]>,
    /// Set with the first name. Without `cname = "follow"` rules, lookups check only this flag.
    is_used: AtomicBool,
    /// When expired entries were last removed.
    swept: Mutex<Option<Instant>>,
}

/// Maximum ancestors over all groups: as many as followed names.
const MAX: usize = 65_536;

/// Smallest extension of an expiry that is stored: cached answers repeat.
const RENEWED: Duration = Duration::from_secs(1);

/// Minimum time between two sweeps for expired entries: each scans a whole group.
const SWEEP: Duration = Duration::from_secs(1);

impl FollowedAncestors {
    /// Empty, for this number of groups.
    pub(super) fn new(groups: usize) -> Self {
        Self { groups: (0..groups).map(|_| SharedMap::new()).collect(), ..Self::default() }
    }

    /// Records the ancestors of `name`, which clients of `group` may query until `until`. Removes expired entries if
    /// there is no room.
    pub(super) fn note(&self, group: GroupId, name: &Name, until: Instant, now: Instant) {
        if !self.add(group, name, until)
            && self.may_sweep(now)
            && let Some(names) = self.groups.get(group.index())
        {
            names.pin().retain(|_, until| *until > now);
            self.add(group, name, until);
        }
    }

    /// Adds the ancestors of `name`; false if not all of them fit.
    pub(super) fn add(&self, group: GroupId, name: &Name, until: Instant) -> bool {
        let Some(names) = self.groups.get(group.index()) else { return false };
        let names = names.pin();
        for ancestor in suffixes(name.as_bytes()).skip(1) {
            if names.get(ancestor).is_some_and(|known| *known + RENEWED > until) {
                continue;
            }
            // Each group has its own share, so that no group uses up another's.
            if names.len() >= MAX / self.groups.len() {
                return false;
            }
            names.insert(ancestor.into(), until);
            self.is_used.store(true, Ordering::Relaxed);
        }
        true
    }

    fn may_sweep(&self, now: Instant) -> bool {
        let Ok(mut swept) = self.swept.try_lock() else { return false };
        let is_due = swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if is_due {
            *swept = Some(now);
        }
        is_due
    }

    /// True if an answer to clients of `group` led to a name below `name` and has not expired at `now`.
    pub(super) fn contains(&self, group: GroupId, name: &Name, now: Instant) -> bool {
        self.is_used.load(Ordering::Relaxed)
            && self
                .groups
                .get(group.index())
                .is_some_and(|names| names.pin().get(name.as_bytes()).is_some_and(|until| *until > now))
    }
}
