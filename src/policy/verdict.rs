//! [`Verdict`]: the decision on one question, and [`AllowedQuery`], the token for an allowed one.

use std::fmt;
use std::net::IpAddr;

use super::RuleRef;
use super::bypass::BypassName;
use super::clients::{ClientPrefix, ShareHolder, WholeClient};
use super::route::RouteId;
use super::temporary::Grant;
use crate::util::label::Label;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

/// The decision on one question.
#[derive(Debug)]
pub enum Verdict<'q, 'p> {
    /// The name is allowed.
    Allowed(AllowedQuery<'q>, AllowReason<'p>),
    /// The name is not allowed, but observe mode forwards it.
    Observed(AllowedQuery<'q>, Reason<'p>),
    /// The name gets a negative answer.
    Blocked(Reason<'p>),
    /// The name belongs to a local zone.
    Local,
    /// ANY for an allowed name: answered locally with a minimal record (RFC 8482). With a reason: only observe mode
    /// allows the name.
    MinimalAny(Option<Reason<'p>>),
    /// A class or type that is never forwarded.
    Refused,
}

/// Why a name is allowed.
#[derive(Clone, Copy, Debug)]
pub enum AllowReason<'p> {
    /// A rule allows it.
    Rule(RuleRef<'p>),
    /// A grant allows it.
    Temporary(&'p Grant),
    /// It is the CNAME, SVCB or HTTPS target in an answer that has not expired.
    Followed,
    /// An allowed name is below it. Only DS, DNSKEY, NS and SOA are allowed, for DNSSEC validation.
    Ancestor,
}

impl<'p> AllowReason<'p> {
    /// The rule, if a rule is the reason.
    pub fn rule(self) -> Option<RuleRef<'p>> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Temporary(_) | Self::Followed | Self::Ancestor => None,
        }
    }
}

/// Proof that one question may be looked up. Only [`super::Policies::decide`] creates it; cache and upstream require
/// it.
#[derive(Clone, Debug)]
pub struct AllowedQuery<'q> {
    question: Held<'q>,
    flags: AnswerFlags,
    client: IpAddr,
    prefix: ClientPrefix,
    generation: u64,
    route: RouteId,
    is_observed: bool,
    is_for_a_time: bool,
    is_proven: bool,
}

/// A borrowed or an owned question.
#[derive(Clone, Debug)]
enum Held<'q> {
    Borrowed(&'q Question),
    Owned(Box<Question>),
}

/// The fields of an [`AllowedQuery`] besides the question.
#[derive(Clone, Copy)]
pub(super) struct Leave {
    pub(super) flags: AnswerFlags,
    pub(super) client: IpAddr,
    pub(super) prefix: ClientPrefix,
    pub(super) generation: u64,
    pub(super) route: RouteId,
    pub(super) is_observed: bool,
    pub(super) is_for_a_time: bool,
}

impl<'q> AllowedQuery<'q> {
    pub(super) fn new(question: &'q Question, leave: Leave) -> Self {
        let Leave { flags, client, prefix, generation, route, is_observed, is_for_a_time } = leave;
        Self {
            question: Held::Borrowed(question),
            flags,
            client,
            prefix,
            generation,
            route,
            is_observed,
            is_for_a_time,
            is_proven: false,
        }
    }

    /// The question, folded to lower case. Upstream queries are built from it and [`AllowedQuery::flags`] alone.
    pub fn question(&self) -> &Question {
        match &self.question {
            Held::Borrowed(question) => question,
            Held::Owned(question) => question,
        }
    }

    /// This query with an owned question.
    pub fn into_owned(self) -> AllowedQuery<'static> {
        let question = match self.question {
            Held::Borrowed(question) => Box::new(question.clone()),
            Held::Owned(question) => question,
        };
        AllowedQuery { question: Held::Owned(question), ..self }
    }

    /// The client's flags that change the answer.
    pub fn flags(&self) -> AnswerFlags {
        self.flags
    }

    /// The client's address.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The client: one IPv4 address or one IPv6 prefix.
    pub fn whole_client(&self) -> WholeClient {
        self.prefix.whole(self.client)
    }

    /// This query, with `is_proven` set if the client's address is verified (TCP or a valid server cookie).
    #[must_use]
    pub fn proven(self, is_proven: bool) -> Self {
        Self { is_proven, ..self }
    }

    /// The client that the query counts for in upstream slots and wait queues.
    pub fn holder(&self) -> ShareHolder {
        ShareHolder::new(self.whole_client(), self.is_proven)
    }

    /// True if the client's address is verified: the query has a valid server cookie, or came over TCP.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Generation of the policies that decided.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The route whose servers may be queried.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// True if the permission may expire while the query is pending: a grant, a followed name or an ancestor allows it.
    pub fn is_for_a_time(&self) -> bool {
        self.is_for_a_time
    }

    /// True if only observe mode forwards the query.
    pub fn is_observed(&self) -> bool {
        self.is_observed
    }
}

/// EDE text of a name that no rule covers.
pub const NOT_LISTED: &str = "not on the allowlist";

/// EDE text of a blocked name with allowed names below it.
const ONLY_BELOW: &str = "some subdomains of this name are allowed, but not the name itself";

/// The kinds of [`Reason`]: the values of the label `reason` of `blocked_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum BlockReason {
    /// No rule covers the name.
    NotListed,
    /// A rule denies it.
    Denied,
    /// No rule covers the name, and it ends in a search suffix or has a single label.
    Noise,
    /// A name that software uses to find another resolver.
    Bypass,
    /// The answer leads to a name that is not allowed.
    Alias,
    /// The client queried too many new names below one rule.
    Tunnel,
    /// The answer has an address that the rule does not expect.
    Unexpected,
    /// Only names below it are allowed.
    Ancestor,
}

/// Why a name is blocked.
#[derive(Clone, Copy, Debug)]
pub enum Reason<'p> {
    /// No rule covers it.
    NotListed,
    /// No rule covers it, and it is noise: a stub resolver added a search suffix, or it has a single label.
    Noise,
    /// The most specific rule that covers it denies it.
    Denied(RuleRef<'p>),
    /// Names below it are allowed, but not the name itself: no rule covers it, or this rule denies it.
    Ancestor(Option<RuleRef<'p>>),
    /// An answer would let software bypass this resolver: blocked in every mode.
    Bypass(&'static BypassName),
    /// The answer for an allowed name leads to a name that is not allowed.
    Alias(RuleRef<'p>),
    /// The client queried too many new names below one rule.
    Tunnel(RuleRef<'p>),
    /// The answer for an allowed name has an address that its rule does not expect.
    Unexpected(RuleRef<'p>),
}

impl<'p> Reason<'p> {
    /// The rule that decided, if any.
    pub fn rule(&self) -> Option<RuleRef<'p>> {
        match self {
            Self::NotListed | Self::Noise | Self::Bypass(_) => None,
            Self::Ancestor(rule) => *rule,
            Self::Denied(rule) | Self::Alias(rule) | Self::Tunnel(rule) | Self::Unexpected(rule) => {
                Some(*rule)
            }
        }
    }

    /// The kind that metrics count.
    pub fn kind(&self) -> BlockReason {
        match self {
            Self::NotListed => BlockReason::NotListed,
            Self::Noise => BlockReason::Noise,
            Self::Denied(_) | Self::Ancestor(Some(_)) => BlockReason::Denied,
            Self::Ancestor(None) => BlockReason::Ancestor,
            Self::Bypass(_) => BlockReason::Bypass,
            Self::Alias(_) => BlockReason::Alias,
            Self::Tunnel(_) => BlockReason::Tunnel,
            Self::Unexpected(_) => BlockReason::Unexpected,
        }
    }
}

/// The text of the Extended DNS Error.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed | Self::Noise => f.write_str(NOT_LISTED),
            Self::Denied(rule) => write!(f, "denied by rule {rule}"),
            Self::Ancestor(None) => f.write_str(ONLY_BELOW),
            Self::Ancestor(Some(rule)) => write!(f, "denied by rule {rule}; {ONLY_BELOW}"),
            Self::Bypass(bypass) => write!(f, "denied by built-in rule: {}", bypass.purpose),
            Self::Alias(rule) => write!(f, "CNAME target not allowed (rule {rule}, cname = \"inspect\")"),
            Self::Unexpected(rule) => {
                let expect = rule.expect().label();
                write!(f, "answer has an address that is not {expect} (rule {rule}, expect = \"{expect}\")")
            }
            Self::Tunnel(rule) => {
                write!(f, "too many new names from this client for rule {rule} (tunnel_guard)")
            }
        }
    }
}
