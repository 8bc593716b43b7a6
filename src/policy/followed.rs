//! [`Followed`]: names that answers have led to, allowed while their askers may remember it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use papaya::HashMap;

use super::clients::GroupId;
use super::route::RouteId;
use crate::wire::name::Name;

/// Names remembered at once over all groups; beyond, no new ones are until old ones have ended.
const MAX: usize = 65_536;

/// Shortest time that a name is remembered: an asker that may not keep the answer at all still goes on from it at once.
const SHORTEST: Duration = Duration::from_secs(10);

/// Least time between two looks for what has ended: each goes through a whole group.
const SWEEP: Duration = Duration::from_secs(1);

/// What a thread reads and writes a group's names through.
type HashMapRef<'g, K, V> = papaya::HashMapRef<'g, K, V, std::hash::RandomState, papaya::LocalGuard<'g>>;

/// Names that answers led to, by group. Asking takes no lock.
#[derive(Debug, Default)]
pub struct Followed {
    groups: Box<[HashMap<Box<[u8]>, Lead>]>,
    /// Set with the first name: most gates follow nothing, and look at no more than this.
    is_used: AtomicBool,
    /// When what has ended was last forgotten.
    swept: Mutex<Option<Instant>>,
}

/// How a name came to be allowed.
#[derive(Clone, Debug)]
struct Lead {
    /// The name whose answer led here, folded, in wire format.
    origin: Box<[u8]>,
    /// The name that a rule allows, at the beginning of the way here; none where that is the origin.
    root: Option<Box<[u8]>>,
    /// Where that answer came from: the name's own is asked for there too.
    route: RouteId,
    until: Instant,
}

impl Followed {
    /// Nothing followed yet, for so many groups.
    pub fn new(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| HashMap::new()).collect(),
            is_used: AtomicBool::new(false),
            swept: Mutex::new(None),
        }
    }

    /// Where `name` goes, if an answer to the same group's clients has led there and they may still remember it at `now`.
    pub fn find(&self, group: GroupId, name: &Name, now: Instant) -> Option<RouteId> {
        if !self.is_used() {
            return None;
        }
        let names = self.groups.get(group.index())?.pin();
        names.get(name.as_bytes()).filter(|lead| lead.until > now).map(|lead| lead.route)
    }

    /// The name that a rule allows and whose answers led clients of `group` to `name`, over whatever others, where they may still
    /// remember it at `now`.
    pub fn root(&self, group: GroupId, name: &Name, now: Instant) -> Option<Name> {
        let names = self.groups.get(group.index())?.pin();
        let lead = names.get(name.as_bytes()).filter(|lead| lead.until > now)?;
        Name::parse(lead.root.as_ref().unwrap_or(&lead.origin)).ok()
    }

    /// The answer for `origin`, which came by `route`, has led clients of `group` to `target` at `now`, and they may remember
    /// it for `ttl` seconds. `root` is where the way there began, where that is not the origin.
    pub fn note(
        &self,
        group: GroupId,
        (origin, root): (&Name, Option<&Name>),
        route: RouteId,
        target: &Name,
        ttl: u32,
        now: Instant,
    ) {
        let Some(names) = self.groups.get(group.index()) else { return };
        let until = now + Duration::from_secs(u64::from(ttl)).max(SHORTEST);
        let names = names.pin();
        // The same answer is given again and again: only what it adds is written.
        let added = Duration::from_secs(1);
        if names.get(target.as_bytes()).is_some_and(|lead| lead.until + added > until) {
            return;
        }
        // Each group has its share, so that none fills another's.
        if names.len() >= MAX / self.groups.len() && !self.make_room(&names, now) {
            return;
        }
        names.insert(
            target.as_bytes().into(),
            Lead {
                origin: origin.as_bytes().into(),
                root: root.map(|root| root.as_bytes().into()),
                route,
                until,
            },
        );
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Forgets what has ended; false where that makes no room, or was tried a moment ago.
    fn make_room(&self, names: &HashMapRef<'_, Box<[u8]>, Lead>, now: Instant) -> bool {
        let Ok(mut swept) = self.swept.try_lock() else { return false };
        if swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return false;
        }
        *swept = Some(now);
        names.retain(|_, lead| lead.until > now);
        names.len() < MAX / self.groups.len()
    }

    /// Takes over what `before` had for `theirs`, as far as `still_leads` says that the origin's answers may lead `ours` on by
    /// that route.
    pub fn take_over(
        &self,
        ours: GroupId,
        before: &Self,
        theirs: GroupId,
        still_leads: impl Fn(&Name, RouteId) -> bool,
    ) {
        let (Some(ours), Some(theirs)) = (self.groups.get(ours.index()), before.groups.get(theirs.index()))
        else {
            return;
        };
        let ours = ours.pin();
        for (name, lead) in theirs.pin().iter() {
            if Name::parse(&lead.origin).is_ok_and(|origin| still_leads(&origin, lead.route)) {
                ours.insert(name.clone(), lead.clone());
                self.is_used.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Names remembered, those that have ended and were not yet forgotten included.
    pub fn len(&self) -> usize {
        self.groups.iter().map(HashMap::len).sum()
    }

    /// True where nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True once an answer has led anywhere.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    #[test]
    fn a_name_is_followed_by_its_group_for_its_time() {
        let now = Instant::now();
        let (ours, theirs, route) = (GroupId::DEFAULT, GroupId::new(1).unwrap(), RouteId(3));
        let followed = Followed::new(2);
        followed.note(ours, (&name("a.example"), None), route, &name("b.example"), 60, now);
        followed.note(ours, (&name("a.example"), None), route, &name("c.example"), 0, now);
        for (group, asked, after, expected) in [
            (ours, "b.example", 0, true),
            (ours, "b.example", 59, true),
            (ours, "b.example", 60, false),
            (theirs, "b.example", 0, false),
            (ours, "x.b.example", 0, false),
            (ours, "c.example", 9, true),
            (ours, "c.example", 10, false),
        ] {
            let found = followed.find(group, &name(asked), now + SECOND * after);
            assert_eq!(found, expected.then_some(route), "{asked} after {after} s");
        }
        // A shorter time takes nothing away; a longer one adds.
        followed.note(ours, (&name("a.example"), None), route, &name("b.example"), 1, now);
        assert!(followed.find(ours, &name("b.example"), now + SECOND * 59).is_some());
        followed.note(ours, (&name("a.example"), None), route, &name("b.example"), 90, now);
        assert!(followed.find(ours, &name("b.example"), now + SECOND * 89).is_some());
    }

    #[test]
    fn there_is_room_for_so_many_until_they_end() {
        let now = Instant::now();
        let followed = Followed::new(1);
        let note = |index: usize, now| {
            let target = name(&format!("t{index}.example"));
            followed.note(GroupId::DEFAULT, (&name("a.example"), None), RouteId(0), &target, 60, now);
            followed.find(GroupId::DEFAULT, &target, now).is_some()
        };
        assert!((0..MAX).all(|index| note(index, now)));
        assert!(!note(MAX, now));
        assert!(note(MAX, now + SECOND * 60));
        assert_eq!(followed.len(), 1);
    }

    #[test]
    fn a_reload_keeps_what_still_leads_there() {
        let now = Instant::now();
        let (before, after) = (Followed::new(1), Followed::new(1));
        for (origin, target) in [("a.example", "b.example"), ("gone.example", "c.example")] {
            before.note(GroupId::DEFAULT, (&name(origin), None), RouteId(0), &name(target), 60, now);
        }
        after
            .take_over(GroupId::DEFAULT, &before, GroupId::DEFAULT, |origin, _| *origin == name("a.example"));
        assert!(after.find(GroupId::DEFAULT, &name("b.example"), now).is_some());
        assert!(after.find(GroupId::DEFAULT, &name("c.example"), now).is_none());
    }
}
