//! [`RuleId`] and [`NodePlace`]: the id of a rule, and a rule id with its coverage in a trie node.

/// Upper bound of rule ids: a [`NodePlace`] packs one with two bits, and [`NodePlace::WAY`] is no rule id.
pub(super) const MAX_ID: usize = (1 << 30) - 1;

/// Id of a rule within its trie: the offset of its record, in units of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(super) u32);

impl RuleId {
    /// The id as an index, below the bound of its trie.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The id with this index.
    pub(crate) fn of_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok().map(Self)
    }
}

#[cfg(test)]
impl RuleId {
    /// An id for tests without a trie.
    pub(in crate::policy) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// A rule of a node and what it covers, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodePlace(pub(super) u32);

impl NodePlace {
    /// The rule covers the node's own name.
    pub(super) const ITSELF: u32 = 1 << 30;
    /// The rule covers names below the node's name.
    pub(super) const BELOW: u32 = 2 << 30;
    /// No rule, but nodes below.
    pub(super) const WAY: Self = Self(!(Self::ITSELF | Self::BELOW));

    /// No rule for the node; `rule` allows names below it. [`Self::rule`] returns it, so that its name can be compared.
    pub(super) fn way_to(rule: RuleId) -> Self {
        Self(rule.0)
    }

    /// A rule that covers `covered`: [`NodePlace::ITSELF`], [`NodePlace::BELOW`] or both.
    pub(super) fn new(rule: RuleId, covered: u32) -> Self {
        Self(rule.0 | covered)
    }

    pub(super) fn rule(self) -> RuleId {
        RuleId(self.0 & !(Self::ITSELF | Self::BELOW))
    }

    pub(super) fn covered(self) -> u32 {
        self.0 & (Self::ITSELF | Self::BELOW)
    }

    pub(super) fn is_way(self) -> bool {
        self.covered() == 0
    }

    /// The same rule without `covered`; [`NodePlace::WAY`] if nothing is left.
    pub(super) fn without(self, covered: u32) -> Self {
        match self.covered() & !covered {
            0 => Self::WAY,
            rest => Self::new(self.rule(), rest),
        }
    }
}
