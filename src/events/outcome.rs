//! [`QueryOutcome`]: the outcome of one query, in a form that outlives the policy that decided it.

use std::sync::Arc;

use crate::policy::clients::GroupId;
use crate::policy::trie::RuleId;
use crate::policy::verdict::BlockReason;
use crate::policy::{Policies, Reason, RuleRef};
use crate::wire::code::Rcode;

/// Decision about a query; the label `decision`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Decision {
    /// A rule allows the name.
    Allowed,
    /// The name is not allowed.
    Blocked,
    /// The name is not allowed, but observe mode forwarded it.
    Observed,
    /// Answered from a local zone or by the resolver itself.
    Local,
    /// The client, class or type is not served.
    Refused,
    /// The query was malformed or not supported.
    Error,
}

/// Source of a reply; the label `source`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum AnswerSource {
    /// The cache.
    Cache,
    /// An upstream.
    Upstream,
    /// A local zone or the resolver itself.
    Local,
    /// Made from the policy or the protocol alone, without data.
    Policy,
}

/// The four results of a lookup in charts and searches.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum LookupClass {
    /// Allowed by a rule, or answered from a local zone, except with SERVFAIL.
    Allowed,
    /// Blocked, or not allowed but forwarded by observe mode.
    Blocked,
    /// Answered with SERVFAIL, or malformed or not supported.
    Errors,
    /// Refused.
    Other,
}

/// Outcome of one query.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutcome {
    /// The decision.
    pub decision: Decision,
    /// Source of the reply.
    pub source: AnswerSource,
    /// Response code of the reply.
    pub rcode: Rcode,
    /// Why the name is not allowed, if it is not.
    pub reason: Option<BlockReason>,
    /// The rule that decided.
    pub rule: Option<RuleKey>,
    /// The upstream that answered.
    pub upstream: Option<Arc<str>>,
}

impl QueryOutcome {
    /// Its class.
    #[inline]
    pub fn class(&self) -> LookupClass {
        match self.decision {
            Decision::Allowed | Decision::Local if self.rcode == Rcode::SERVFAIL => LookupClass::Errors,
            Decision::Allowed | Decision::Local => LookupClass::Allowed,
            Decision::Blocked | Decision::Observed => LookupClass::Blocked,
            Decision::Refused => LookupClass::Other,
            Decision::Error => LookupClass::Errors,
        }
    }

    /// An outcome without rule and upstream.
    pub fn new(decision: Decision, source: AnswerSource, rcode: Rcode) -> Self {
        Self { decision, source, rcode, reason: None, rule: None, upstream: None }
    }

    /// True if the name is not allowed, even if observe mode forwarded it.
    pub fn is_blocked(&self) -> bool {
        matches!(self.decision, Decision::Blocked | Decision::Observed)
    }

    /// True if the policy objects to the lookup: it is blocked, or its answer is not what a rule expects.
    pub fn is_against_policy(&self) -> bool {
        self.is_blocked() || self.reason.is_some()
    }

    /// The same, decided by `rule` of `group`.
    pub fn by_rule(self, rule: Option<RuleRef<'_>>, group: GroupId, policies: &Policies) -> Self {
        let key = |rule: RuleRef<'_>| RuleKey { compiled: policies.compiled(), group, id: rule.id() };
        Self { rule: rule.map(key), ..self }
    }

    /// The same, for a name blocked for `group` because of `reason`.
    pub fn because(self, reason: &Reason<'_>, group: GroupId, policies: &Policies) -> Self {
        Self { reason: Some(reason.kind()), ..self }.by_rule(reason.rule(), group, policies)
    }
}

/// The outcome before a reply is made.
impl From<Decision> for QueryOutcome {
    fn from(decision: Decision) -> Self {
        Self::new(decision, AnswerSource::Policy, Rcode::SERVFAIL)
    }
}

/// Identifies a rule of the current or an earlier policy of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleKey {
    compiled: u64,
    group: GroupId,
    id: RuleId,
}

impl RuleKey {
    /// The rule, if it belongs to `policies`.
    pub fn find(self, policies: &Policies) -> Option<RuleRef<'_>> {
        let is_theirs = policies.compiled() == self.compiled;
        is_theirs.then(|| policies.policy(self.group).rule_by_id(self.id))?
    }
}
