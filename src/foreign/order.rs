//! Lists whose rules are decided in an order: the first rule that covers a name decides it. In namegate the most specific
//! rule decides. Without the entries that another entry decides first, and otherwise, both decide every name the same.

use std::collections::HashMap;

use super::{EntryFault, ListEntry, Listing};
use crate::policy::rule::{Action, Scope};
use crate::wire::name::Name;

/// When an entry decides: the lowest rank first, and of equal ranks deny.
pub(super) type Rank = (u32, u64);

/// What to do with a deny entry that is decided by an entry that allows its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overridden {
    /// Leave it out: the names are allowed.
    LeaveOut,
    /// Keep it: the entry that allows has conditions, such as ports.
    Keep,
}

/// Adds the entries to `listing`, without those whose names another entry decides otherwise, with remarks.
pub(super) fn add_in_order(listing: &mut Listing, entries: Vec<(Rank, ListEntry)>, denied: Overridden) {
    let mut first: HashMap<(Scope, Name), Deciding> = HashMap::new();
    for (index, (rank, entry)) in (0..).zip(&entries) {
        let Some(key) = covered(entry) else { continue };
        // `Action::Allow` and `Action::Deny` have no order of their own.
        let deciding = Deciding { rank: *rank, is_allow: entry.action == Action::Allow, index };
        first.entry(key).and_modify(|known| *known = (*known).min(deciding)).or_insert(deciding);
    }
    let left_out: Vec<Option<String>> = entries
        .iter()
        .map(|(_, entry)| {
            let by = wider(&covered(entry)?).filter_map(|key| first.get(&key).copied()).min()?;
            let (_, by) = entries.get(by.index)?;
            let is_kept =
                by.action == entry.action || (entry.action == Action::Deny && denied == Overridden::Keep);
            let verb = if by.action == Action::Allow { "allowed" } else { "blocked" };
            let place = by.place.text();
            (!is_kept).then(|| format!("`{}`: `{}` ({place}) decides first: {verb}", entry.text, by.text))
        })
        .collect();
    for ((_, entry), remark) in entries.into_iter().zip(left_out) {
        match remark {
            Some(remark) => listing.skip(entry.place, remark),
            None => listing.entries.push(entry),
        }
    }
}

/// An entry, ordered by when it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deciding {
    rank: Rank,
    is_allow: bool,
    index: usize,
}

/// The names that an entry covers; `None` if it is no host name.
fn covered(entry: &ListEntry) -> Option<(Scope, Name)> {
    match &entry.pattern {
        Ok(pattern) => Some((pattern.scope(), pattern.name().clone())),
        Err(EntryFault::Everything) => Some((Scope::Subtree, Name::ROOT)),
        Err(EntryFault::Invalid(_)) => None,
    }
}

/// Every pattern that covers the same names, or more.
fn wider((scope, name): &(Scope, Name)) -> impl Iterator<Item = (Scope, Name)> + use<> {
    let parent = |name: &Name| match name.is_root() {
        true => None,
        false => Name::from_labels(name.labels().skip(1)).ok(),
    };
    let itself = (*scope != Scope::Subtree).then(|| (*scope, name.clone()));
    let above = std::iter::successors(parent(name), parent);
    let above = above.flat_map(|name| [(Scope::Below, name.clone()), (Scope::Subtree, name)]);
    itself.into_iter().chain([(Scope::Subtree, name.clone())]).chain(above)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::ListPlace;
    use super::*;

    #[test]
    fn entries_decided_first_by_others_are_left_out() {
        use Action::{Allow, Deny};
        use Overridden::{Keep, LeaveOut};
        for (entries, denied, kept) in [
            (&[(100, Deny, ".a.test"), (200, Allow, ".w.a.test")][..], LeaveOut, &[".a.test"][..]),
            (&[(200, Deny, ".a.test"), (100, Allow, ".w.a.test")], LeaveOut, &[".a.test", ".w.a.test"]),
            (&[(100, Allow, ".a.test"), (200, Deny, "w.a.test")], LeaveOut, &[".a.test"]),
            (&[(100, Allow, ".a.test"), (200, Deny, "w.a.test")], Keep, &[".a.test", "w.a.test"]),
            (&[(100, Allow, ".a.test"), (200, Allow, "w.a.test")], LeaveOut, &[".a.test", "w.a.test"]),
            (&[(200, Allow, "a.test"), (90, Deny, "a.test")], LeaveOut, &["a.test"]),
            (&[(90, Allow, "a.test"), (90, Deny, "a.test")], LeaveOut, &["a.test"]),
            (&[(90, Deny, "*.a.test"), (91, Allow, "a.test")], LeaveOut, &["*.a.test", "a.test"]),
            (&[(90, Deny, "*.a.test"), (91, Allow, ".a.test")], LeaveOut, &["*.a.test", ".a.test"]),
            (&[(90, Deny, "*"), (91, Allow, "a.test")], LeaveOut, &["*"]),
            (&[(99, Deny, "*"), (91, Allow, "a.test")], LeaveOut, &["*", "a.test"]),
            (&[(90, Allow, "*"), (91, Deny, "a.test")], LeaveOut, &["*"]),
        ] {
            let mut listing = Listing::new("test");
            let ranked = entries.iter().map(|(rank, action, text)| {
                let entry = ListEntry::new(text, ListPlace::Line(1));
                ((*rank, 0), ListEntry { action: *action, ..entry })
            });
            add_in_order(&mut listing, ranked.collect(), denied);
            let texts: Vec<&str> = listing.entries.iter().map(|entry| entry.text.as_str()).collect();
            assert_eq!(texts, kept, "{entries:?}");
            assert_eq!(listing.skipped.len(), entries.len() - kept.len(), "{entries:?}");
        }
    }
}
