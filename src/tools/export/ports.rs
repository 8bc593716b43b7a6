//! The ports and the purpose of a rule, from its allowlist.

use super::Context;
use crate::allowlist::Port;
use crate::policy::RuleRef;

impl Context<'_> {
    /// The ports that the rule's vendor says to open; empty if unknown.
    pub(super) fn ports(&self, rule: Option<RuleRef<'_>>) -> &[Port] {
        rule.and_then(|rule| self.assembly.written(rule)).map_or(&[], |written| &written.ports)
    }

    /// The purpose of the rule's names; empty if unknown.
    pub(super) fn purpose(&self, rule: Option<RuleRef<'_>>) -> &str {
        rule.and_then(|rule| self.assembly.written(rule)).map_or("", |written| &written.purpose)
    }
}
