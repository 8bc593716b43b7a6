//! [`QueryOutcome`]: what became of one query, in a form that outlives the policy that judged it.

use std::sync::Arc;

use crate::policy::clients::GroupId;
use crate::policy::trie::RuleId;
use crate::policy::verdict::BlockReason;
use crate::policy::{Policies, Reason, RuleRef};
use crate::wire::code::Rcode;

/// What was decided about a query; the label `decision`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Decision {
    /// A rule allows it.
    Allowed,
    /// It is not allowed.
    Blocked,
    /// It is not allowed and was forwarded by observe mode.
    Observed,
    /// It was answered from local knowledge.
    Local,
    /// The client, class or type may not be served.
    Refused,
    /// It was no proper query.
    Error,
}

/// Where a reply came from; the label `source`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum AnswerSource {
    /// The cache.
    Cache,
    /// An upstream.
    Upstream,
    /// A local zone or the server itself.
    Local,
    /// The policy or the protocol, without data.
    Policy,
}

/// What is told of one reply.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutcome {
    /// What was decided.
    pub decision: Decision,
    /// Where the reply came from.
    pub source: AnswerSource,
    /// Its response code.
    pub rcode: Rcode,
    /// Why the name is not allowed.
    pub reason: Option<BlockReason>,
    /// The rule that decided.
    pub rule: Option<RuleKey>,
    /// The upstream that answered.
    pub upstream: Option<Arc<str>>,
}

impl QueryOutcome {
    /// A reply that no rule and no upstream had a part in.
    pub fn new(decision: Decision, source: AnswerSource, rcode: Rcode) -> Self {
        Self { decision, source, rcode, reason: None, rule: None, upstream: None }
    }

    /// The same, decided by `rule` of `group`.
    pub fn by_rule(self, rule: Option<RuleRef<'_>>, group: GroupId, policies: &Policies) -> Self {
        let key = |rule: RuleRef<'_>| RuleKey { compiled: policies.compiled(), group, id: rule.id() };
        Self { rule: rule.map(key), ..self }
    }

    /// The same, for a name that clients of `group` may not have for `reason`.
    pub fn because(self, reason: &Reason<'_>, group: GroupId, policies: &Policies) -> Self {
        Self { reason: Some(reason.kind()), ..self }.by_rule(reason.rule(), group, policies)
    }
}

/// A reply that is yet to be made.
impl From<Decision> for QueryOutcome {
    fn from(decision: Decision) -> Self {
        Self::new(decision, AnswerSource::Policy, Rcode::SERVFAIL)
    }
}

/// A rule of one of the policies this process has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleKey {
    compiled: u64,
    group: GroupId,
    id: RuleId,
}

impl RuleKey {
    /// The rule, where `policies` are the ones it belongs to.
    pub fn find(self, policies: &Policies) -> Option<RuleRef<'_>> {
        let is_theirs = policies.compiled() == self.compiled;
        is_theirs.then(|| policies.policy(self.group).rule_by_id(self.id))?
    }
}
