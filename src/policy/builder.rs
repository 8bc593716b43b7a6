//! [`PolicyBuilder`]: collects rules and compiles a [`Policy`].

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::ancestors::Ancestors;
use super::bypass::{BYPASS_NAMES, BypassName};
use super::cname::CnamePolicy;
use super::expect::Expect;
use super::noise::Noise;
use super::route::{Route, Routes};
use super::rule::{Action, Pattern};
use super::rule_text::{RuleText, RuleTexts};
use super::suffix_index::SuffixIndex;
use super::temporary::GrantScope;
use super::trie::{TrieBuilder, TrieRule};
use super::until::Until;
use super::{Mode, Policy, RuleSource, SourceCount};
use crate::wire::name::Name;

/// The settings of a policy besides its rules.
pub struct Compile {
    /// Whether names that no rule allows are blocked.
    pub mode: Mode,
    /// Origins of local zones, which answer before any rule.
    pub local: Vec<Name>,
    /// Block answers with addresses that their rule does not expect.
    pub enforce_expect: bool,
    /// Allow DS, DNSKEY, NS and SOA queries for the parent domains of allowed names.
    pub dnssec_ancestors: bool,
    /// The routes; the same for all client groups.
    pub routes: Arc<Routes>,
    /// A digest of everything else that changes answers: servers, local zones, the block answer.
    pub context: [u8; 32],
    /// The time: rules that end before it do not apply.
    pub now: SystemTime,
}

impl Compile {
    /// Rules alone: no local zones, one route.
    pub fn new(mode: Mode) -> Self {
        let (local, routes) = (Vec::new(), Arc::new(Routes::new([], [])));
        Self {
            mode,
            local,
            enforce_expect: false,
            dnssec_ancestors: true,
            routes,
            context: [0; 32],
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

/// Collects rules and compiles them.
pub struct PolicyBuilder {
    trie: TrieBuilder,
    texts: RuleTexts,
    sources: Vec<SourceCount>,
    noise: Noise,
    digest: Sha256,
}

/// A rule to add to a policy.
#[derive(Clone, Copy)]
pub struct NewRule<'a> {
    /// Allow or deny.
    pub action: Action,
    /// The names it covers.
    pub pattern: &'a Pattern,
    /// Where it comes from.
    pub source: SourceId,
    /// Its line there.
    pub line: u32,
    /// The kind of address that answers should have.
    pub expect: Expect,
    /// When it ends.
    pub until: Option<Until>,
    /// What people wrote about it.
    pub text: RuleText<'a>,
}

impl<'a> NewRule<'a> {
    /// A rule that is only a pattern.
    pub fn new(action: Action, pattern: &'a Pattern, source: SourceId, line: u32) -> Self {
        Self { action, pattern, source, line, expect: Expect::Any, until: None, text: RuleText::default() }
    }
}

/// Index of a [`RuleSource`] within a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(u16);

/// Marks built-in rules; `RuleRef::source_index` maps it to the last source of the policy. Their line is the index into
/// [`BYPASS_NAMES`].
pub(super) const BUILT_IN: u16 = u16::MAX;

impl PolicyBuilder {
    /// No rules: blocks everything.
    pub fn new() -> Self {
        Self {
            trie: TrieBuilder::new(),
            texts: RuleTexts::default(),
            sources: Vec::new(),
            noise: Noise::default(),
            digest: Sha256::new(),
        }
    }

    /// Adds a source of rules; at most 65 535.
    pub fn source(&mut self, zone: &str, file: &str) -> SourceId {
        let id = SourceId(self.sources.len().min(usize::from(BUILT_IN) - 1) as u16);
        let source = RuleSource { zone: zone.to_owned(), file: file.to_owned() };
        self.sources.push(SourceCount { source, rules: 0, cname: CnamePolicy::Trust, route: None });
        id
    }

    /// Sets how CNAME targets in answers for the names of `source` are treated.
    pub fn cname(&mut self, source: SourceId, cname: CnamePolicy) {
        self.sources[usize::from(source.0)].cname = cname;
    }

    /// Sets the route for names of `source` that no route in the settings covers.
    pub fn route(&mut self, source: SourceId, route: Route) {
        self.sources[usize::from(source.0)].route = Some(route);
    }

    /// Adds a rule. Of two rules with the same pattern deny beats allow; otherwise the first wins.
    pub fn rule(&mut self, rule: NewRule<'_>) {
        let NewRule { action, pattern, source, line, expect, until, text } = rule;
        self.digest.update([action as u8 | expect.bits() << 1, pattern.scope() as u8]);
        self.digest.update(source.0.to_be_bytes());
        self.digest.update(pattern.name().as_bytes());
        if let Some(until) = until {
            self.digest.update(until.unix_seconds().to_be_bytes());
        }
        self.sources[usize::from(source.0)].rules += 1;
        let rule = TrieRule { action, pattern, source: source.0, line, expect, until };
        if let Some(id) = self.trie.insert(rule) {
            self.texts.push(id, text);
        }
    }

    /// Sets which names without a rule count as noise. It does not change whether they are blocked.
    pub fn noise(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// Compiles the rules.
    pub fn build(mut self, compile: Compile) -> Policy {
        let Compile { mode, local, enforce_expect, dnssec_ancestors, routes, context, now } = compile;
        for origin in &local {
            self.digest.update(origin.as_bytes());
        }
        for source in &self.sources {
            // Metrics and logs name the allowlist, so a renamed one is another policy.
            self.digest.update(source.source.zone.as_bytes());
            self.digest.update([0, source.cname as u8, source.route.map_or(u8::MAX, |route| route.0)]);
        }
        self.digest.update([mode as u8, u8::from(enforce_expect), u8::from(dnssec_ancestors)]);
        self.digest.update(context);
        let mut local_ancestors = Ancestors::default();
        for origin in &local {
            local_ancestors.add(origin, false, &GrantScope::All, None);
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
        self.texts.shrink_to_fit();
        let trie = self.trie.build();
        trie.end_rules(now);
        Policy {
            trie,
            texts: self.texts,
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
