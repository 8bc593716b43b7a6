//! [`Ancestors`]: names above others that may be asked for, kept beside the rules.
//!
//! A resolver that is told that a name does not exist may take it that nothing below it does either (RFC 8020). So a blocked
//! name with allowed ones below it exists and has no data. Of rules the trie knows this itself; here is what is above the
//! names of grants, of local zones, and of names that answers led to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use papaya::HashMap as SharedMap;
use rapidhash::fast::RandomState;

use super::clients::GroupId;
use crate::wire::name::Name;

/// Ancestors of names that are known beforehand.
#[derive(Clone, Debug, Default)]
pub(super) struct Ancestors {
    /// Until when: always, where there is no end.
    names: HashMap<Box<[u8]>, Option<Instant>, RandomState>,
}

impl Ancestors {
    /// Adds what is above `name`; `until` then, or for good. With `itself` the name is an ancestor too.
    pub(super) fn add(&mut self, name: &Name, itself: bool, until: Option<Instant>) {
        for ancestor in suffixes(name.as_bytes()).skip(usize::from(!itself)) {
            let known = self.names.entry(ancestor.into()).or_insert(until);
            *known = known.zip(until).map(|(one, other)| one.max(other));
        }
    }

    /// True where something below `name` may be asked for at `now`.
    pub(super) fn contains(&self, name: &Name, now: Instant) -> bool {
        !self.names.is_empty()
            && self.names.get(name.as_bytes()).is_some_and(|until| until.is_none_or(|until| until > now))
    }
}

/// A wire-format name and what is above it, the root included.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |suffix| match suffix.first() {
        None | Some(0) => None,
        Some(length) => suffix.get(1 + usize::from(*length)..),
    })
}

/// Ancestors of names that answers led to, by group. Asking takes no lock.
#[derive(Debug, Default)]
pub(super) struct FollowedAncestors {
    groups: Box<[SharedMap<Box<[u8]>, Instant>]>,
    /// Set with the first name: most resolvers follow nothing, and look at no more than this.
    is_used: AtomicBool,
    /// When ended ones were last removed.
    swept: Mutex<Option<Instant>>,
}

/// Ancestors held at once over all groups: as many as there are names that answers led to.
const MAX: usize = 65_536;

/// An end that moves by less is left as it is: the same answer is given again and again.
const RENEWED: Duration = Duration::from_secs(1);

/// Least time between two searches for ended ones: each goes through a whole group.
const SWEEP: Duration = Duration::from_secs(1);

impl FollowedAncestors {
    /// None yet, for so many groups.
    pub(super) fn new(groups: usize) -> Self {
        Self { groups: (0..groups).map(|_| SharedMap::new()).collect(), ..Self::default() }
    }

    /// Clients of `group` may ask for `name` until then; noted at `now`.
    pub(super) fn note(&self, group: GroupId, name: &Name, until: Instant, now: Instant) {
        if !self.add(group, name, until)
            && self.may_sweep(now)
            && let Some(names) = self.groups.get(group.index())
        {
            names.pin().retain(|_, until| *until > now);
            self.add(group, name, until);
        }
    }

    /// Adds what is above `name`; false where not all of it finds room.
    pub(super) fn add(&self, group: GroupId, name: &Name, until: Instant) -> bool {
        let Some(names) = self.groups.get(group.index()) else { return false };
        let names = names.pin();
        for ancestor in suffixes(name.as_bytes()).skip(1) {
            if names.get(ancestor).is_some_and(|known| *known + RENEWED > until) {
                continue;
            }
            // Each group has its share, so that none fills another's.
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

    /// True where an answer to clients of `group` led below `name`, and they may remember it at `now`.
    pub(super) fn contains(&self, group: GroupId, name: &Name, now: Instant) -> bool {
        self.is_used.load(Ordering::Relaxed)
            && self
                .groups
                .get(group.index())
                .is_some_and(|names| names.pin().get(name.as_bytes()).is_some_and(|until| *until > now))
    }
}
