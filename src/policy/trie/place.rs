//! [`RuleId`] and [`NodePlace`]: the number of a rule, and what a node of the trie says with it.

/// Rule numbers are below this: a [`NodePlace`] keeps one together with two bits, and [`NodePlace::WAY`] is none.
pub(super) const MAX_ID: usize = (1 << 30) - 1;

/// Number of a rule within its trie: where its record begins, in units of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(super) u32);

#[cfg(test)]
impl RuleId {
    /// A number for tests that have no trie.
    pub(in crate::policy) fn numbered(number: u32) -> Self {
        Self(number)
    }
}

/// A rule of a node and what it is for, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodePlace(pub(super) u32);

impl NodePlace {
    /// The rule is for the node's own name.
    pub(super) const ITSELF: u32 = 1 << 30;
    /// The rule is for names below the node's.
    pub(super) const BELOW: u32 = 2 << 30;
    /// No rule, but nodes below.
    pub(super) const WAY: Self = Self(!(Self::ITSELF | Self::BELOW));

    /// No rule of its own; `rule` allows names below. [`Self::rule`] gives it, so that its name can be compared.
    pub(super) fn way_to(rule: RuleId) -> Self {
        Self(rule.0)
    }

    /// A rule for what `covered` says: [`NodePlace::ITSELF`], [`NodePlace::BELOW`] or both.
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

    /// The same rule for less; [`NodePlace::WAY`] where nothing is left.
    pub(super) fn without(self, covered: u32) -> Self {
        match self.covered() & !covered {
            0 => Self::WAY,
            rest => Self::new(self.rule(), rest),
        }
    }
}
