//! [`RuleRef`]: a rule within its policy.

use std::fmt;

use super::builder::BUILT_IN;
use super::bypass::{BYPASS_NAMES, BypassName};
use super::cname::CnamePolicy;
use super::expect::Expect;
use super::rule::{Action, Pattern, Scope};
use super::trie::{RuleId, RuleRecord};
use super::until::Until;
use super::{Policy, RuleSource, RuleText};
use crate::wire::name::Name;

/// A rule within its policy.
#[derive(Clone, Copy)]
pub struct RuleRef<'p> {
    pub(super) policy: &'p Policy,
    pub(super) id: RuleId,
    pub(super) rule: RuleRecord<'p>,
}

impl<'p> RuleRef<'p> {
    /// Id of the rule within its policy.
    pub fn id(&self) -> RuleId {
        self.id
    }

    /// `file:line` of the rule.
    pub fn place(&self) -> String {
        if self.bypass().is_some() {
            return self.source().file.clone();
        }
        format!("{}:{}", self.source().file, self.line())
    }

    /// The bypass name of a built-in rule.
    pub fn bypass(&self) -> Option<&'static BypassName> {
        if self.rule.source == BUILT_IN { BYPASS_NAMES.get(self.rule.line as usize) } else { None }
    }

    /// True for a rule without effect, because built-in rules cover its names.
    pub fn is_overruled(&self) -> bool {
        self.bypass().is_none() && BypassName::overrules(self.action(), &self.pattern())
    }

    /// Allow or deny.
    pub fn action(&self) -> Action {
        self.rule.action
    }

    /// The rule's source.
    pub fn source(&self) -> &'p RuleSource {
        &self.policy.sources[self.source_index()].source
    }

    /// Index of the rule's source in [`Policy::sources`]; one past the end for a built-in rule.
    pub fn source_index(&self) -> usize {
        usize::from(self.rule.source).min(self.policy.sources.len() - 1)
    }

    /// How CNAME targets in answers for the rule's names are treated.
    pub fn cname(&self) -> CnamePolicy {
        self.policy.sources[self.source_index()].cname
    }

    /// The kind of address that answers for the rule's names should have.
    pub fn expect(&self) -> Expect {
        self.rule.expect
    }

    /// What people wrote about the rule.
    pub fn text(&self) -> RuleText<'p> {
        self.policy.texts.get(self.id)
    }

    /// When the rule ends; `None` if it does not.
    pub fn until(&self) -> Option<Until> {
        if self.rule.ends { self.policy.trie.until(self.id) } else { None }
    }

    /// True if the rule has ended, so that it decides nothing.
    pub fn is_over(&self) -> bool {
        self.rule.ends && self.policy.trie.is_over(self.id)
    }

    /// Line within the source's file, from 1.
    pub fn line(&self) -> u32 {
        self.rule.line
    }

    /// Which names it covers, relative to the name it is written with.
    pub fn scope(&self) -> Scope {
        self.rule.scope
    }

    /// The name the rule is written with, in wire format.
    pub fn suffix(&self) -> &'p [u8] {
        self.rule.name
    }

    /// The rule's pattern.
    pub fn pattern(&self) -> Pattern {
        Pattern::new(self.rule.scope, Name::parse(self.rule.name).unwrap_or(Name::ROOT))
    }
}

/// The rule's pattern as text: `*.azureml.ms`.
impl fmt::Display for RuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pattern().fmt(f)
    }
}

impl fmt::Debug for RuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleRef({self})")
    }
}
