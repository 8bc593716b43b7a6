//! [`PolicyBuilder`]: rule by rule to a [`Policy`].

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ancestors::Ancestors;
use super::bypass::{BYPASS_NAMES, BypassName};
use super::cname::CnamePolicy;
use super::expect::Expect;
use super::noise::Noise;
use super::route::{Route, Routes};
use super::rule::{Action, Pattern};
use super::suffix_index::SuffixIndex;
use super::trie::TrieBuilder;
use super::{Mode, Policy, RuleSource, SourceCount};
use crate::wire::name::Name;

/// What a policy is compiled with, besides its rules.
pub struct Compile {
    /// What happens to names that no rule allows.
    pub mode: Mode,
    /// Origins answered by local zones, before any rule.
    pub local: Vec<Name>,
    /// Answers with other addresses than their rule expects are not given.
    pub enforce_expect: bool,
    /// DNSSEC's records of the zones above allowed names may be asked for.
    pub dnssec_ancestors: bool,
    /// Where names go; the same for all client groups.
    pub routes: Arc<Routes>,
    /// A digest of what changes answers besides: servers, local zones, how blocked names are answered.
    pub context: [u8; 32],
}

impl Compile {
    /// Rules alone: no local zones, one route.
    pub fn new(mode: Mode) -> Self {
        let (local, routes) = (Vec::new(), Arc::new(Routes::new([], [])));
        Self { mode, local, enforce_expect: false, dnssec_ancestors: true, routes, context: [0; 32] }
    }
}

/// Collects rules and compiles them.
pub struct PolicyBuilder {
    trie: TrieBuilder,
    sources: Vec<SourceCount>,
    noise: Noise,
    digest: Sha256,
}

/// Index of a [`RuleSource`] within a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(u16);

/// The source of the rules for [`BYPASS_NAMES`], whose lines are their places in it; the last one of every policy.
pub(super) const BUILT_IN: u16 = u16::MAX;

impl PolicyBuilder {
    /// An empty set of rules, which blocks everything.
    pub fn new() -> Self {
        Self { trie: TrieBuilder::new(), sources: Vec::new(), noise: Noise::default(), digest: Sha256::new() }
    }

    /// Announces where the next rules come from; at most 65 535 sources.
    pub fn source(&mut self, zone: &str, file: &str) -> SourceId {
        let id = SourceId(self.sources.len().min(usize::from(BUILT_IN) - 1) as u16);
        let source = RuleSource { zone: zone.to_owned(), file: file.to_owned() };
        self.sources.push(SourceCount { source, rules: 0, cname: CnamePolicy::Trust, route: None });
        id
    }

    /// What becomes of aliases in the answers for the names of `source`.
    pub fn cname(&mut self, source: SourceId, cname: CnamePolicy) {
        self.sources[usize::from(source.0)].cname = cname;
    }

    /// Where the names of `source` go that no route of the settings is for.
    pub fn route(&mut self, source: SourceId, route: Route) {
        self.sources[usize::from(source.0)].route = Some(route);
    }

    /// Adds one rule. Where two rules have the same pattern, deny beats allow and else the first stays.
    pub fn rule(&mut self, action: Action, pattern: &Pattern, source: SourceId, line: u32) {
        self.rule_expecting(action, pattern, source, line, Expect::Any);
    }

    /// The same for a rule whose answers should have addresses of one kind.
    pub fn rule_expecting(
        &mut self,
        action: Action,
        pattern: &Pattern,
        source: SourceId,
        line: u32,
        expect: Expect,
    ) {
        self.digest.update([action as u8 | expect.bits() << 1, pattern.scope() as u8]);
        self.digest.update(source.0.to_be_bytes());
        self.digest.update(pattern.name().as_bytes());
        self.sources[usize::from(source.0)].rules += 1;
        self.trie.insert(action, pattern, source.0, line, expect);
    }

    /// Says which of the names that no rule covers are noise; it changes no verdict.
    pub fn noise(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// Compiles the rules.
    pub fn build(mut self, compile: Compile) -> Policy {
        let Compile { mode, local, enforce_expect, dnssec_ancestors, routes, context } = compile;
        for origin in &local {
            self.digest.update(origin.as_bytes());
        }
        for source in &self.sources {
            // The zone's name is in the reason that a blocked answer gives.
            self.digest.update(source.source.zone.as_bytes());
            self.digest.update([0, source.cname as u8, source.route.map_or(u8::MAX, |route| route.0)]);
        }
        self.digest.update([mode as u8, u8::from(enforce_expect), u8::from(dnssec_ancestors)]);
        self.digest.update(context);
        let mut local_ancestors = Ancestors::default();
        for origin in &local {
            local_ancestors.add(origin, false, None);
        }
        let patterns = BypassName::all().map(|(_, pattern)| pattern).zip(0..);
        let built_in =
            patterns.map(|(pattern, line)| self.trie.list(Action::Deny, pattern, BUILT_IN, line)).collect();
        let source = RuleSource { zone: "built-in".to_owned(), file: "built in".to_owned() };
        self.sources.push(SourceCount {
            source,
            rules: BYPASS_NAMES.len(),
            cname: CnamePolicy::Trust,
            route: None,
        });
        Policy {
            trie: self.trie.build(),
            sources: self.sources.into(),
            built_in,
            local_index: SuffixIndex::new(local.iter()),
            local: local.into(),
            local_ancestors,
            noise: self.noise,
            mode,
            enforce_expect,
            dnssec_ancestors,
            routes,
            digest: self.digest.finalize().into(),
        }
    }
}

impl Default for PolicyBuilder {
    fn default() -> Self {
        Self::new()
    }
}
