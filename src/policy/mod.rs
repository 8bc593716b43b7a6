//! The decision: which names may be forwarded, and why.
//!
//! A [`Policy`] is one client group's rules, compiled once from allowlists and settings. [`Policies`] holds all of
//! them, with the client groups and the grants. A reload builds a new one. Only [`Policies`] creates an
//! [`AllowedQuery`], and cache and upstream accept nothing else: a name is only sent upstream after a verdict on
//! exactly its bytes.

mod ancestors;
mod builder;
mod rule_ref;
mod rule_text;
mod suffix_index;

pub mod bypass;
pub mod clients;
pub mod cname;
pub mod expect;
pub mod followed;
pub mod noise;
pub mod policies;
pub mod route;
pub mod rule;
pub mod shadow;
pub mod temporary;
pub mod trie;
pub mod tunnel_guard;
pub mod until;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

pub use builder::{Compile, NewRule, PolicyBuilder, SourceId};
pub use policies::Policies;
pub use rule_ref::RuleRef;
pub use rule_text::RuleText;
pub use verdict::{AllowReason, AllowedQuery, Reason, Verdict};

use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::query::Question;
use ancestors::Ancestors;
use cname::CnamePolicy;
use noise::Noise;
use route::{Route, Routes};
use rule::{Action, Scope};
use rule_text::RuleTexts;
use suffix_index::SuffixIndex;
use trie::{RuleId, Trie, TrieMatch};

/// Whether names that no rule allows are blocked.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Block them.
    Enforce,
    /// Forward names that no rule allows, except bypass names, and count them: to try an allowlist before it blocks.
    Observe,
}

/// The source of rules: an allowlist, or the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// Name for metric labels: `azure-ml`; `settings` for rules in the settings.
    pub zone: String,
    /// File as displayed.
    pub file: String,
}

/// A compiled, immutable set of rules: what one client group may query.
pub struct Policy {
    trie: Trie,
    texts: RuleTexts,
    sources: Box<[SourceCount]>,
    /// The built-in rules for [`bypass::BYPASS_NAMES`], in the same order.
    built_in: Box<[Option<RuleId>]>,
    local: Box<[Name]>,
    local_index: SuffixIndex,
    local_ancestors: Ancestors,
    noise: Noise,
    mode: Mode,
    enforce_expect: bool,
    dnssec_ancestors: bool,
    routes: Arc<Routes>,
    digest: [u8; 32],
}

/// A source, the settings of all its rules, and how many rules it has.
#[derive(Clone, Debug)]
struct SourceCount {
    source: RuleSource,
    rules: usize,
    cname: CnamePolicy,
    route: Option<Route>,
}

impl Policy {
    /// Decides by the rules alone, without grants and followed names.
    #[inline]
    fn judge(&self, question: &Question, now: Instant) -> Judgement<'_> {
        if question.class != Class::IN || is_never_forwarded(question.qtype) {
            return Judgement::Refused;
        }
        if self.is_local(&question.name) {
            return Judgement::Local;
        }
        let name = &question.name;
        let TrieMatch { rule, is_node } = self.trie.search(name);
        let rule = self.with_built_in(name, rule);
        if let Some(rule) = rule {
            if rule.action() == Action::Allow {
                return Judgement::Allowed(rule);
            }
            if let Some(bypass) = rule.bypass() {
                return Judgement::NotAllowed(Reason::Bypass(bypass));
            }
        }
        if is_node && self.trie.allows_below(name) || self.is_above_local(name, now) {
            return Judgement::NotAllowed(Reason::Ancestor(rule));
        }
        Judgement::NotAllowed(match rule {
            Some(rule) => Reason::Denied(rule),
            None if self.noise.covers(name) => Reason::Noise,
            None => Reason::NotListed,
        })
    }

    /// True if a rule or a local zone allows some name below `name`. Call it only for a name that no rule allows.
    fn is_ancestor(&self, name: &Name, now: Instant) -> bool {
        self.trie.allows_below(name) || self.is_above_local(name, now)
    }

    #[inline]
    fn is_above_local(&self, name: &Name, now: Instant) -> bool {
        self.local_ancestors.contains(name, now, |_| true)
    }

    /// True if `name` belongs to a local zone.
    pub fn is_local(&self, name: &Name) -> bool {
        self.local_index.find(name, |origin| name.is_within(&self.local[origin])).is_some()
    }

    /// The route of `name`, which `rule` allows. The most specific route in the settings comes first, then the route of
    /// the rule's allowlist. Without a rule: the route of the allowlist whose pattern covers the name.
    pub fn route(&self, name: &Name, rule: Option<RuleRef<'_>>) -> Route {
        let of_zone = || match rule {
            Some(rule) => self.sources[rule.source_index()].route,
            None => self.routes.of_zones(name),
        };
        self.routes.named(name).or_else(of_zone).unwrap_or(Route::DEFAULT)
    }

    /// True if some rule has `cname = "follow"`.
    pub fn follows(&self) -> bool {
        self.sources.iter().any(|counted| counted.cname == CnamePolicy::Follow)
    }

    /// True if answers with addresses that their rule does not expect are blocked.
    pub fn enforces_expect(&self) -> bool {
        self.enforce_expect
    }

    /// True if DS, DNSKEY, NS and SOA may be queried for the names above allowed names.
    pub fn asks_for_ancestors(&self) -> bool {
        self.dnssec_ancestors
    }

    /// The most specific rule that covers a name. For [`bypass::BYPASS_NAMES`] it is the built-in rule, unless an exact
    /// rule allows the name and may override it.
    pub fn rule_for(&self, name: &Name) -> Option<RuleRef<'_>> {
        self.with_built_in(name, self.trie.find(name))
    }

    #[inline]
    fn with_built_in<'p>(&'p self, name: &Name, found: Option<RuleId>) -> Option<RuleRef<'p>> {
        let found = found.and_then(|id| self.rule_by_id(id));
        if bypass::may_cover(name) { self.or_built_in(name, found) } else { found }
    }

    #[cold]
    fn or_built_in<'p>(&'p self, name: &Name, found: Option<RuleRef<'p>>) -> Option<RuleRef<'p>> {
        let Some(place) = bypass::place(name) else { return found };
        let is_explicit = |rule: &RuleRef<'_>| {
            rule.action() == Action::Allow && rule.scope() == Scope::Exact && !rule.is_overruled()
        };
        let built_in = || self.rule_by_id(self.built_in.get(place).copied().flatten()?);
        found.filter(is_explicit).or_else(built_in)
    }

    /// The rule with an id of this policy.
    pub fn rule_by_id(&self, id: RuleId) -> Option<RuleRef<'_>> {
        self.trie.rule(id).map(|rule| RuleRef { policy: self, id, rule })
    }

    /// The rules that have not ended, without the built-in ones, in insertion order, including those hidden by another
    /// rule with the same pattern.
    pub fn iter(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.iter_with_ended().filter(|rule| !rule.is_over())
    }

    /// The same, and the rules that have ended.
    pub fn iter_with_ended(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.all().filter(|rule| rule.bypass().is_none())
    }

    /// The built-in rules.
    pub fn built_in(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.all().filter(|rule| rule.bypass().is_some())
    }

    fn all(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.trie.iter().map(|(id, rule)| RuleRef { policy: self, id, rule })
    }

    /// Whether names that no rule allows are blocked.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Number of rules, without the built-in ones.
    pub fn rules(&self) -> usize {
        self.sources().map(|(_, rules)| rules).sum()
    }

    /// Sources with their number of rules, in reading order.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = (&RuleSource, usize)> {
        let (_, read) = self.sources.split_last().unwrap_or((&self.sources[0], &[]));
        read.iter().map(|counted| (&counted.source, counted.rules))
    }

    /// First 16 hexadecimal digits of a SHA-256 over everything that changes an answer: rules with their sources,
    /// routes, local zones, mode and the block answer. Equal policies have equal hashes.
    pub fn hash(&self) -> String {
        use fmt::Write;
        self.digest[..8].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first four bytes of the hash: the SOA serial of blocked answers.
    pub fn serial(&self) -> u32 {
        u32::from_be_bytes([self.digest[0], self.digest[1], self.digest[2], self.digest[3]])
    }

    /// Heap bytes that grow with the rules.
    pub fn heap_size(&self) -> usize {
        self.trie.heap_size() + self.texts.heap_size()
    }

    /// All rule ids are below this index.
    pub fn rule_id_bound(&self) -> usize {
        self.trie.id_bound()
    }

    /// Ends the rules whose time has come at `now`, and returns those that had not ended before.
    pub fn end_rules(&self, now: SystemTime) -> Vec<RuleRef<'_>> {
        self.trie.end_rules(now).into_iter().filter_map(|id| self.rule_by_id(id)).collect()
    }
}

/// The decision by the rules alone.
enum Judgement<'p> {
    Refused,
    Local,
    Allowed(RuleRef<'p>),
    NotAllowed(Reason<'p>),
}

/// Types that resolvers need to find zones and to validate them. They may be queried for an ancestor of allowed names.
fn is_about_zones(qtype: Type) -> bool {
    matches!(qtype, Type::DS | Type::DNSKEY | Type::NS | Type::SOA)
}

/// Types that concern the server and not a name's data. They are never sent upstream.
fn is_never_forwarded(qtype: Type) -> bool {
    matches!(
        qtype,
        Type::AXFR | Type::IXFR | Type::MAILA | Type::MAILB | Type::TKEY | Type::TSIG | Type::OPT | Type(0)
    )
}
