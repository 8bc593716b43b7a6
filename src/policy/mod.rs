//! The decision: which names may leave, which may not, and why.
//!
//! A [`Policy`] is one client group's rules, compiled once from zone files and settings; [`Policies`] is all of them, with
//! who each is for and what is allowed for a time. A reload makes new ones. Policies are the only maker of
//! [`AllowedQuery`], and cache and upstream take nothing else: no byte about a name leaves this host before a verdict on
//! exactly those bytes.

mod ancestors;
mod builder;
mod rule_ref;
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
pub mod verdict;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use builder::{Compile, PolicyBuilder, SourceId};
pub use policies::Policies;
pub use rule_ref::RuleRef;
pub use verdict::{AllowReason, AllowedQuery, Reason, Verdict};

use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::query::Question;
use ancestors::Ancestors;
use cname::CnamePolicy;
use noise::Noise;
use route::{Route, Routes};
use rule::{Action, Scope};
use suffix_index::SuffixIndex;
use trie::{RuleId, Trie, TrieMatch};

/// Whether the verdict is carried out.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Block what is not allowed.
    Enforce,
    /// Forward everything and count what would be blocked, so that a list can be tried before it bites.
    Observe,
}

/// Where rules came from: a zone file, or the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// Name for labels: `azure-ml`; `settings` for rules written inline.
    pub zone: String,
    /// File as shown to people.
    pub file: String,
}

/// A compiled, immutable set of rules: what one client group may ask.
pub struct Policy {
    trie: Trie,
    sources: Box<[SourceCount]>,
    /// The rules for [`bypass::BYPASS_NAMES`], in the same order.
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

/// A source, what holds for all its rules, and how many of them are in force.
#[derive(Clone, Debug)]
struct SourceCount {
    source: RuleSource,
    rules: usize,
    cname: CnamePolicy,
    route: Option<Route>,
}

impl Policy {
    /// What these rules say of a question at `now`, and nothing else does.
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
        if is_node && self.trie.allows_below(name) || self.local_ancestors.contains(name, now) {
            return Judgement::NotAllowed(Reason::Ancestor(rule));
        }
        Judgement::NotAllowed(match rule {
            Some(rule) => Reason::Denied(rule),
            None if self.noise.covers(name) => Reason::Noise,
            None => Reason::NotListed,
        })
    }

    /// True where rules or local zones let some name below `name` be asked for, which no rule allows itself.
    fn is_ancestor(&self, name: &Name, now: Instant) -> bool {
        self.trie.allows_below(name) || self.local_ancestors.contains(name, now)
    }

    /// True where `name` belongs to a local zone.
    pub fn is_local(&self, name: &Name) -> bool {
        self.local_index.find(name, |origin| name.is_within(&self.local[origin])).is_some()
    }

    /// Where `name` goes, which `rule` allows: as the most specific route of the settings says, else the rule's zone; where no
    /// rule allows it, the zone that would.
    pub fn route(&self, name: &Name, rule: Option<RuleRef<'_>>) -> Route {
        let of_zone = || match rule {
            Some(rule) => self.sources[rule.source_index()].route,
            None => self.routes.of_zones(name),
        };
        self.routes.named(name).or_else(of_zone).unwrap_or(Route::DEFAULT)
    }

    /// True where answers for some rule's names may lead on to names that no rule allows.
    pub fn follows(&self) -> bool {
        self.sources.iter().any(|counted| counted.cname == CnamePolicy::Follow)
    }

    /// Answers with other addresses than their rule expects are not given.
    pub fn enforces_expect(&self) -> bool {
        self.enforce_expect
    }

    /// Resolvers may ask for the zones above allowed names.
    pub fn asks_for_ancestors(&self) -> bool {
        self.dnssec_ancestors
    }

    /// The most specific rule that covers a name; where the name is one of [`bypass::BYPASS_NAMES`], the rule that is built in,
    /// unless one allows just this name and may.
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

    /// The rule with a number this policy gave out.
    pub fn rule_by_id(&self, id: RuleId) -> Option<RuleRef<'_>> {
        self.trie.rule(id).map(|rule| RuleRef { policy: self, id, rule })
    }

    /// All rules in the order they were added, those that another of the same pattern hides included.
    pub fn iter(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.all().filter(|rule| rule.bypass().is_none())
    }

    /// The rules that are built in.
    pub fn built_in(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.all().filter(|rule| rule.bypass().is_some())
    }

    fn all(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.trie.iter().map(|(id, rule)| RuleRef { policy: self, id, rule })
    }

    /// What happens to names that no rule allows.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Rules in force, those that are built in not counted.
    pub fn rules(&self) -> usize {
        self.sources().map(|(_, rules)| rules).sum()
    }

    /// Sources with the number of rules each put in force, in the order they were read.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = (&RuleSource, usize)> {
        let (_, read) = self.sources.split_last().unwrap_or((&self.sources[0], &[]));
        read.iter().map(|counted| (&counted.source, counted.rules))
    }

    /// First 16 hexadecimal digits of a SHA-256 over everything that changes an answer: rules with their sources, routes, local zones,
    /// mode and how blocked names are answered. Equal policies have equal hashes.
    pub fn hash(&self) -> String {
        use fmt::Write;
        self.digest[..8].iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first four bytes of the hash: serial number of the SOA in blocked answers.
    pub fn serial(&self) -> u32 {
        u32::from_be_bytes([self.digest[0], self.digest[1], self.digest[2], self.digest[3]])
    }

    /// Bytes on the heap that grow with the rules.
    pub fn heap_size(&self) -> usize {
        self.trie.heap_size()
    }
}

/// What rules say of a question.
enum Judgement<'p> {
    Refused,
    Local,
    Allowed(RuleRef<'p>),
    NotAllowed(Reason<'p>),
}

/// Types by which resolvers find zones and validate what is in them; of an ancestor of allowed names they may be asked for.
fn is_about_zones(qtype: Type) -> bool {
    matches!(qtype, Type::DS | Type::DNSKEY | Type::NS | Type::SOA)
}

/// Types that ask for a server's doings and not for a name's data; none of them is ever sent upstream.
fn is_never_forwarded(qtype: Type) -> bool {
    matches!(
        qtype,
        Type::AXFR | Type::IXFR | Type::MAILA | Type::MAILB | Type::TKEY | Type::TSIG | Type::OPT | Type(0)
    )
}
