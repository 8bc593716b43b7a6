//! The decision: which names may leave, which may not, and why.
//!
//! A [`Policy`] is compiled once from zone files and settings and never changes; a reload makes a new one. It is the
//! only maker of [`AllowedQuery`], and cache and upstream take nothing else: no byte about a name leaves this host
//! before a verdict on exactly those bytes.

pub mod clients;
pub mod noise;
pub mod rule;
pub mod trie;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use verdict::{AllowedQuery, Reason, Verdict};

use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;
use noise::Noise;
use rule::{Action, Pattern};
use trie::{Rule, RuleId, Trie};

/// Whether the verdict is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Block what is not allowed.
    Enforce,
    /// Forward everything and count what would be blocked, so that a list can be tried before it bites.
    Observe,
}

/// Where rules came from: a zone file, or the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name for labels: `azure-ml`; `settings` for rules written inline.
    pub zone: String,
    /// File as shown to people.
    pub file: String,
}

/// A compiled, immutable set of rules.
pub struct Policy {
    trie: Trie,
    sources: Box<[SourceCount]>,
    local: Box<[Name]>,
    noise: Noise,
    mode: Mode,
    generation: u64,
    digest: [u8; 32],
}

/// A source and how many of its rules are in force.
#[derive(Clone, Debug)]
struct SourceCount {
    source: Source,
    rules: usize,
}

/// Collects rules and compiles them.
pub struct PolicyBuilder {
    trie: trie::TrieBuilder,
    sources: Vec<SourceCount>,
    noise: Noise,
    digest: Sha256,
}

/// Index of a [`Source`] within a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(u16);

impl PolicyBuilder {
    /// An empty set of rules, which blocks everything.
    pub fn new() -> Self {
        Self {
            trie: trie::TrieBuilder::new(),
            sources: Vec::new(),
            noise: Noise::default(),
            digest: Sha256::new(),
        }
    }

    /// Announces where the next rules come from; at most 65 536 sources.
    pub fn source(&mut self, zone: &str, file: &str) -> SourceId {
        let id = SourceId(self.sources.len().min(usize::from(u16::MAX)) as u16);
        let source = Source { zone: zone.to_owned(), file: file.to_owned() };
        self.sources.push(SourceCount { source, rules: 0 });
        id
    }

    /// Adds one rule. Where two rules have the same pattern, deny beats allow and else the first stays.
    pub fn rule(&mut self, action: Action, pattern: &Pattern, source: SourceId, line: u32) {
        self.digest.update([action as u8, pattern.scope() as u8]);
        self.digest.update(pattern.name().as_bytes());
        self.sources[usize::from(source.0)].rules += 1;
        self.trie.insert(action, pattern, source.0, line);
    }

    /// Says which of the names that no rule covers are noise; it changes no verdict.
    pub fn noise(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// Compiles the rules. `local` are the origins answered by local zones, before any rule; `generation` numbers
    /// the policies of one process upwards.
    pub fn build(mut self, mode: Mode, mut local: Vec<Name>, generation: u64) -> Policy {
        for origin in &local {
            self.digest.update(origin.as_bytes());
        }
        self.digest.update([mode as u8]);
        local.sort_by_key(|origin| std::cmp::Reverse(origin.wire_len()));
        Policy {
            trie: self.trie.build(),
            sources: self.sources.into(),
            local: local.into(),
            noise: self.noise,
            mode,
            generation,
            digest: self.digest.finalize().into(),
        }
    }
}

impl Default for PolicyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// Decides on a question: the one place where a query may become an [`AllowedQuery`].
    pub fn decide<'q>(&self, question: &'q Question, flags: AnswerFlags) -> Verdict<'q, '_> {
        if question.class != Class::IN || is_never_forwarded(question.qtype) {
            return Verdict::Refused;
        }
        if self.local.iter().any(|origin| question.name.is_within(origin)) {
            return Verdict::Local;
        }
        let reason = match self.rule_for(&question.name) {
            Some(rule) if rule.action() == Action::Allow => {
                return match question.qtype {
                    Type::ANY => Verdict::MinimalAny,
                    _ => Verdict::Allowed(AllowedQuery::new(question, flags, self.generation, Some(rule.id))),
                };
            }
            Some(rule) => Reason::Denied(rule),
            None if self.noise.covers(&question.name) => Reason::Noise,
            None => Reason::NotListed,
        };
        match self.mode {
            Mode::Enforce => Verdict::Blocked(reason),
            Mode::Observe if question.qtype == Type::ANY => Verdict::MinimalAny,
            Mode::Observe => {
                Verdict::Observed(AllowedQuery::new(question, flags, self.generation, None), reason)
            }
        }
    }

    /// The most specific rule that covers a name.
    pub fn rule_for(&self, name: &Name) -> Option<RuleRef<'_>> {
        self.rule_by_id(self.trie.find(name)?)
    }

    /// The rule with a number this policy gave out.
    pub fn rule_by_id(&self, id: RuleId) -> Option<RuleRef<'_>> {
        self.trie.rule(id).map(|rule| RuleRef { policy: self, id, rule })
    }

    /// The rule that allowed a query; none where it was forwarded by observe mode or under another policy.
    pub fn rule_of(&self, query: &AllowedQuery<'_>) -> Option<RuleRef<'_>> {
        self.rule_by_id(query.rule().filter(|_| query.generation() == self.generation)?)
    }

    /// All rules in the order they were added, those that another of the same pattern hides included.
    pub fn iter(&self) -> impl Iterator<Item = RuleRef<'_>> {
        self.trie.iter().map(|(id, rule)| RuleRef { policy: self, id, rule })
    }

    /// Number of this policy within the process.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What happens to names that no rule allows.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Rules in force.
    pub fn rules(&self) -> usize {
        self.trie.rules()
    }

    /// Sources with the number of rules each put in force, in the order they were read.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = (&Source, usize)> {
        self.sources.iter().map(|counted| (&counted.source, counted.rules))
    }

    /// First 16 hexadecimal digits of a SHA-256 over rules, local origins and mode: equal policies have equal hashes.
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

/// Types that ask for a server's doings and not for a name's data; none of them is ever sent upstream.
fn is_never_forwarded(qtype: Type) -> bool {
    matches!(
        qtype,
        Type::AXFR | Type::IXFR | Type::MAILA | Type::MAILB | Type::TKEY | Type::TSIG | Type::OPT | Type(0)
    )
}

/// A rule within its policy.
#[derive(Clone, Copy)]
pub struct RuleRef<'p> {
    policy: &'p Policy,
    id: RuleId,
    rule: Rule<'p>,
}

impl<'p> RuleRef<'p> {
    /// Number of the rule within its policy.
    pub fn id(&self) -> RuleId {
        self.id
    }

    /// `file:line` of the rule.
    pub fn place(&self) -> String {
        format!("{}:{}", self.source().file, self.line())
    }

    /// Allow or deny.
    pub fn action(&self) -> Action {
        self.rule.action
    }

    /// Where the rule came from.
    pub fn source(&self) -> &'p Source {
        &self.policy.sources[self.source_index()].source
    }

    /// Index of the rule's source among [`Policy::sources`].
    pub fn source_index(&self) -> usize {
        usize::from(self.rule.source)
    }

    /// Line within the source's file, from 1.
    pub fn line(&self) -> u32 {
        self.rule.line
    }

    /// The rule's pattern.
    pub fn pattern(&self) -> Pattern {
        Pattern::new(self.rule.scope, Name::parse(self.rule.name).unwrap_or(Name::ROOT))
    }
}

/// The rule as it would be written: `*.azureml.ms`.
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
