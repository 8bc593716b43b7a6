//! [`Records`]: the rules in one byte array, in insertion order.

use super::place::{MAX_ID, NodePlace, RuleId};
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Scope};

/// Bytes before a record's name.
const HEAD: usize = 8;
/// Bit of a record's kind: the rule has an end.
const ENDS: u8 = 1 << 5;
/// Records begin at multiples of this, so thirty bits address 4 GiB.
const ALIGN: usize = 4;

/// A rule as stored in the trie.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct RuleRecord<'a> {
    /// In wire format, the final zero included.
    pub(in crate::policy) name: &'a [u8],
    pub(in crate::policy) line: u32,
    pub(in crate::policy) source: u16,
    pub(in crate::policy) action: Action,
    pub(in crate::policy) scope: Scope,
    pub(in crate::policy) expect: Expect,
    /// It has an end; [`super::Trie::is_over`] tells whether it has come.
    pub(in crate::policy) ends: bool,
}

impl RuleRecord<'_> {
    /// The rule's scope as [`NodePlace::ITSELF`], [`NodePlace::BELOW`] or both.
    pub(super) fn covered(self) -> u32 {
        match self.scope {
            Scope::Exact => NodePlace::ITSELF,
            Scope::Below => NodePlace::BELOW,
            Scope::Subtree => NodePlace::ITSELF | NodePlace::BELOW,
        }
    }

    /// True if this rule overrides `standing`, an earlier rule for the same name.
    pub(super) fn prevails_over(self, standing: Self) -> bool {
        self.strength() > standing.strength()
    }

    /// Of two rules for one name, the one with the greater strength decides; of equal ones the first.
    pub(super) fn strength(self) -> (bool, bool) {
        (self.scope == Scope::Exact, self.action == Action::Deny)
    }
}

/// Rules in one array of bytes, in insertion order.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    count: usize,
}

impl Records {
    /// Adds a rule; `None` if there is no room for its id.
    pub(super) fn push(&mut self, rule: RuleRecord<'_>) -> Option<RuleId> {
        let id = Some(self.bytes.len() / ALIGN).filter(|id| *id < MAX_ID)?;
        self.bytes.extend_from_slice(&rule.line.to_le_bytes());
        self.bytes.extend_from_slice(&rule.source.to_le_bytes());
        let kind = rule.action as u8
            | (rule.scope as u8) << 1
            | rule.expect.bits() << 3
            | if rule.ends { ENDS } else { 0 };
        self.bytes.extend_from_slice(&[kind, rule.name.len() as u8]);
        self.bytes.extend_from_slice(rule.name);
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        self.count += 1;
        Some(RuleId(id as u32))
    }

    /// The rule with this id; `None` past the end. An id of another trie returns any rule or `None`.
    pub(super) fn get(&self, id: RuleId) -> Option<RuleRecord<'_>> {
        let (head, rest) = self.bytes.get(id.0 as usize * ALIGN..)?.split_first_chunk::<HEAD>()?;
        let [l0, l1, l2, l3, s0, s1, kind, len] = *head;
        Some(RuleRecord {
            name: rest.get(..usize::from(len))?,
            line: u32::from_le_bytes([l0, l1, l2, l3]),
            source: u16::from_le_bytes([s0, s1]),
            action: if kind & 1 == Action::Allow as u8 { Action::Allow } else { Action::Deny },
            scope: match kind >> 1 & 3 {
                0 => Scope::Exact,
                1 => Scope::Below,
                _ => Scope::Subtree,
            },
            expect: Expect::of_bits(kind >> 3),
            ends: kind & ENDS != 0,
        })
    }

    /// `Some` if the rule's name is exactly `name`: whether the rule has an end.
    #[inline]
    pub(super) fn named(&self, id: RuleId, name: &[u8]) -> Option<bool> {
        let (head, rest) = self.bytes.get(id.0 as usize * ALIGN..)?.split_first_chunk::<HEAD>()?;
        let [.., kind, len] = *head;
        (rest.get(..usize::from(len))? == name).then_some(kind & ENDS != 0)
    }

    /// All rules in insertion order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RuleId, RuleRecord<'_>)> {
        let mut next = RuleId(0);
        std::iter::from_fn(move || {
            let (id, rule) = (next, self.get(next)?);
            next.0 += (HEAD + rule.name.len()).div_ceil(ALIGN) as u32;
            Some((id, rule))
        })
    }

    /// All ids are below this index.
    pub(super) fn id_bound(&self) -> usize {
        self.bytes.len() / ALIGN
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) fn heap_size(&self) -> usize {
        self.bytes.capacity()
    }
}
