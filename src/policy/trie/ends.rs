//! [`RuleEnds`]: the rules that end, and whether they have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::place::RuleId;
use crate::policy::until::Until;

/// The rules with an end, by id. Ending a rule changes only a flag, so that it needs no new policy.
#[derive(Debug, Default)]
pub(super) struct RuleEnds(Box<[RuleEnd]>);

#[derive(Debug)]
struct RuleEnd {
    id: RuleId,
    until: Until,
    is_over: AtomicBool,
}

impl RuleEnds {
    /// `ends` are in the order of their ids.
    pub(super) fn new(ends: impl IntoIterator<Item = (RuleId, Until)>) -> Self {
        Self(
            ends.into_iter()
                .map(|(id, until)| RuleEnd { id, until, is_over: AtomicBool::new(false) })
                .collect(),
        )
    }

    fn find(&self, id: RuleId) -> Option<&RuleEnd> {
        let index = self.0.binary_search_by_key(&id, |end| end.id).ok()?;
        Some(&self.0[index])
    }

    pub(super) fn until(&self, id: RuleId) -> Option<Until> {
        self.find(id).map(|end| end.until)
    }

    /// The rules that end, but have not yet.
    pub(super) fn lasting(&self) -> impl Iterator<Item = RuleId> {
        self.0.iter().filter(|end| !end.is_over.load(Ordering::Relaxed)).map(|end| end.id)
    }

    #[cold]
    pub(super) fn is_over(&self, id: RuleId) -> bool {
        self.find(id).is_some_and(|end| end.is_over.load(Ordering::Relaxed))
    }

    /// Ends the rules whose time has come, and returns those that had not ended before. A rule that has ended stays so,
    /// even if the clock is set back.
    pub(super) fn end(&self, now: SystemTime) -> Vec<RuleId> {
        let due = self.0.iter().filter(|end| end.until.is_over(now));
        due.filter(|end| !end.is_over.swap(true, Ordering::Relaxed)).map(|end| end.id).collect()
    }

    pub(super) fn heap_size(&self) -> usize {
        size_of_val(&*self.0)
    }
}
