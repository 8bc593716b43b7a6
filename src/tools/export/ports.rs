//! The ports of a rule, as its zone file lists them.

use super::Context;
use crate::allowlist::Port;
use crate::policy::RuleRef;

impl Context<'_> {
    /// Ports the rule's vendor says to open; empty where nothing is known.
    pub(super) fn ports(&self, rule: Option<RuleRef<'_>>) -> &[Port] {
        rule.and_then(|rule| self.assembly.written(rule)).map_or(&[], |written| &written.ports)
    }

    /// What the rule's names are for; empty where nothing is known.
    pub(super) fn purpose(&self, rule: Option<RuleRef<'_>>) -> &str {
        rule.and_then(|rule| self.assembly.written(rule)).map_or("", |written| &written.purpose)
    }
}
