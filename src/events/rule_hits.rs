//! [`RuleHits`]: how many queries each rule decided, since its policy was made.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rapidhash::RapidHashMap;

use crate::policy::clients::GroupId;
use crate::policy::trie::RuleId;
use crate::policy::{Policies, Policy};
use crate::util::sync::lock;

/// Threads with counts of their own; further ones share the last counts.
const WRITERS: usize = 256;

/// A thread that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitWriter {
    index: usize,
    is_shared: bool,
}

impl HitWriter {
    /// The `index`th writer; `is_shared` if several threads use it.
    pub fn new(index: usize, is_shared: bool) -> Self {
        Self { index: index.min(WRITERS - 1), is_shared: is_shared || index >= WRITERS - 1 }
    }
}

/// Counts of the rules of all policies. Each thread writes its own, so that counting takes no lock and shares no memory.
#[derive(Debug)]
pub struct RuleHits {
    /// By client group: the index of its policy in `sizes`.
    of_group: Box<[usize]>,
    /// By policy: an upper bound of its rule ids.
    sizes: Box<[usize]>,
    writers: Box<[OnceLock<Tables>]>,
    /// What [`RuleHits::take`] has returned so far.
    taken: Mutex<RapidHashMap<(usize, RuleId), u32>>,
}

/// Counts by policy and rule id. The memory is mapped at the first count: a million rules cost only what is used.
type Tables = Box<[Box<[AtomicU32]>]>;

impl RuleHits {
    /// Zero for every rule of `policies`.
    pub fn new(policies: &Policies) -> Self {
        let mut different: Vec<&Arc<Policy>> = Vec::new();
        let mut of_group = Vec::new();
        for group in policies.groups() {
            let known = different.iter().position(|policy| Arc::ptr_eq(policy, &group.policy));
            of_group.push(known.unwrap_or(different.len()));
            if known.is_none() {
                different.push(&group.policy);
            }
        }
        Self {
            of_group: of_group.into(),
            sizes: different.iter().map(|policy| policy.rule_id_bound()).collect(),
            writers: (0..WRITERS).map(|_| OnceLock::new()).collect(),
            taken: Mutex::default(),
        }
    }

    /// Counts a query that a rule of `group` decided.
    #[inline]
    pub fn count(&self, writer: HitWriter, group: GroupId, rule: RuleId) {
        let tables = self.writers[writer.index].get_or_init(|| self.tables());
        let Some(cell) = self.of_group.get(group.index()).and_then(|index| tables[*index].get(rule.index()))
        else {
            return;
        };
        match writer.is_shared {
            true => drop(cell.fetch_add(1, Ordering::Relaxed)),
            false => cell.store(cell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed),
        }
    }

    #[cold]
    fn tables(&self) -> Tables {
        self.sizes.iter().map(|size| bytemuck::zeroed_slice_box(*size)).collect()
    }

    /// The rules with queries since the last call, each with a group that has it and the number of queries.
    pub fn take(&self) -> Vec<(GroupId, RuleId, u32)> {
        let mut taken = lock(&self.taken);
        let mut found = Vec::new();
        for (policy, size) in self.sizes.iter().enumerate() {
            let group = self.of_group.iter().position(|index| *index == policy).and_then(GroupId::new);
            let tables: Vec<&[AtomicU32]> =
                self.writers.iter().filter_map(OnceLock::get).map(|tables| &*tables[policy]).collect();
            let (Some(group), false) = (group, tables.is_empty()) else { continue };
            for rule in (0..*size).filter_map(RuleId::of_index) {
                let cells = tables.iter().map(|table| table[rule.index()].load(Ordering::Relaxed));
                let count = cells.fold(0_u32, u32::wrapping_add);
                if count == 0 {
                    continue;
                }
                match taken.entry((policy, rule)) {
                    Entry::Occupied(mut before) => {
                        let more = count.wrapping_sub(before.insert(count));
                        found.extend((more > 0).then_some((group, rule, more)));
                    }
                    Entry::Vacant(before) => {
                        before.insert(count);
                        found.push((group, rule, count));
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::{Action, Pattern};
    use crate::policy::{Compile, Mode, NewRule, PolicyBuilder};

    #[test]
    fn every_writer_counts_and_each_count_is_taken_once() {
        let mut builder = PolicyBuilder::new();
        let source = builder.source("test", "test.toml");
        for pattern in ["a.example", "*.b.example"] {
            builder.rule(NewRule::new(Action::Allow, &Pattern::parse(pattern).unwrap(), source, 1));
        }
        let policies = Policies::for_all(builder.build(Compile::new(Mode::Enforce)), 1);
        let ids: Vec<RuleId> = policies.default().iter().map(|rule| rule.id()).collect();
        let hits = RuleHits::new(&policies);
        assert!(hits.take().is_empty());
        let writers = [HitWriter::new(0, false), HitWriter::new(1, true), HitWriter::new(WRITERS * 2, false)];
        for writer in writers {
            hits.count(writer, GroupId::DEFAULT, ids[0]);
            hits.count(writer, GroupId::DEFAULT, ids[0]);
        }
        hits.count(writers[0], GroupId::DEFAULT, ids[1]);
        assert_eq!(hits.take(), [(GroupId::DEFAULT, ids[0], 6), (GroupId::DEFAULT, ids[1], 1)]);
        assert!(hits.take().is_empty());
        hits.count(writers[1], GroupId::DEFAULT, ids[1]);
        assert_eq!(hits.take(), [(GroupId::DEFAULT, ids[1], 1)]);
    }
}
