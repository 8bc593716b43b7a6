//! [`Verdict`]: what the policy says of one question, and [`AllowedQuery`], the token it gives for a yes.

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

/// What becomes of a question.
#[derive(Debug)]
pub enum Verdict<'q, 'p> {
    /// The name is allowed.
    Allowed(AllowedQuery<'q>, AllowReason<'p>),
    /// The name is not allowed, and observe mode forwards it all the same.
    Observed(AllowedQuery<'q>, Reason<'p>),
    /// The name is answered negatively, here.
    Blocked(Reason<'p>),
    /// The name belongs to a local zone.
    Local,
    /// ANY for a name that may be asked: answered here with a minimum (RFC 8482). Observe mode alone lets it be asked where there
    /// is a reason why not.
    MinimalAny(Option<Reason<'p>>),
    /// A class or type that is never forwarded.
    Refused,
}

/// Why a name is allowed.
#[derive(Clone, Copy, Debug)]
pub enum AllowReason<'p> {
    /// A rule covers it.
    Rule(RuleRef<'p>),
    /// Someone allowed it for a time.
    Temporary(&'p Grant),
    /// An answer that may still be remembered led to it.
    Followed,
    /// Names below it are allowed, and resolvers need to know of the zones on the way to them.
    Ancestor,
}

impl<'p> AllowReason<'p> {
    /// The rule, where it is one.
    pub fn rule(self) -> Option<RuleRef<'p>> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Temporary(_) | Self::Followed | Self::Ancestor => None,
        }
    }
}

/// Leave for one question to be looked up: made only by [`super::Policies::decide`], asked for by cache and upstream.
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

/// A question where it was read, or taken along.
#[derive(Clone, Debug)]
enum Held<'q> {
    Borrowed(&'q Question),
    Owned(Box<Question>),
}

/// What a leave is made of, besides the question.
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

    /// The question, folded: the only bytes of it that may be sent.
    pub fn question(&self) -> &Question {
        match &self.question {
            Held::Borrowed(question) => question,
            Held::Owned(question) => question,
        }
    }

    /// The same, with a question of its own.
    pub fn into_owned(self) -> AllowedQuery<'static> {
        let question = match self.question {
            Held::Borrowed(question) => Box::new(question.clone()),
            Held::Owned(question) => question,
        };
        AllowedQuery { question: Held::Owned(question), ..self }
    }

    /// What of the client's wishes changes the answer.
    pub fn flags(&self) -> AnswerFlags {
        self.flags
    }

    /// Who asked.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Who asked, with all its addresses.
    pub fn whole_client(&self) -> WholeClient {
        self.prefix.whole(self.client)
    }

    /// The same, of a client that has shown its address to be its own where `is_proven` says so.
    #[must_use]
    pub fn proven(self, is_proven: bool) -> Self {
        Self { is_proven, ..self }
    }

    /// Whose share of slots and waiting places it uses.
    pub fn holder(&self) -> ShareHolder {
        ShareHolder::new(self.whole_client(), self.is_proven)
    }

    /// True where the client's address is not forged: it brought a valid server cookie, or asked over TCP.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Number of the policies that decided.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where it may be asked.
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// True where the name is allowed for a time, which may end while the query waits.
    pub fn is_for_a_time(&self) -> bool {
        self.is_for_a_time
    }

    /// True where only observe mode lets the query pass.
    pub fn is_observed(&self) -> bool {
        self.is_observed
    }
}

/// Why most names are blocked, for people.
pub const NOT_LISTED: &str = "name is not on the allowlist";

/// Why an ancestor of allowed names is blocked, for people.
const ONLY_BELOW: &str = "only names below it are allowed";

/// The kinds of [`Reason`], by which blocked names are counted: the label `reason` of `blocked_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum BlockReason {
    /// No rule covers the name.
    NotListed,
    /// A rule denies it.
    Denied,
    /// A search suffix or a single label.
    Noise,
    /// A name by which software finds another resolver.
    Bypass,
    /// The answer leads to a name that is not allowed.
    Alias,
    /// Too many new names below one rule.
    Tunnel,
    /// An address that the rule does not expect.
    Unexpected,
    /// Only names below it are allowed.
    Ancestor,
}

/// Why a name is blocked.
#[derive(Clone, Copy, Debug)]
pub enum Reason<'p> {
    /// No rule covers it.
    NotListed,
    /// No rule covers it, and nobody meant it: a search suffix or a single label.
    Noise,
    /// The most specific rule that covers it denies it.
    Denied(RuleRef<'p>),
    /// It has allowed names below it, and is not allowed itself: no rule covers it, or this one denies it.
    Ancestor(Option<RuleRef<'p>>),
    /// An answer would let software leave this resolver: it is answered here in every mode.
    Bypass(&'static BypassName),
    /// The answer for an allowed name leads to a name that is not.
    Alias(RuleRef<'p>),
    /// The client has asked for too many new names below one rule.
    Tunnel(RuleRef<'p>),
    /// The answer for an allowed name has an address that its rule does not expect.
    Unexpected(RuleRef<'p>),
}

impl<'p> Reason<'p> {
    /// The rule that decided, where it was one.
    pub fn rule(&self) -> Option<RuleRef<'p>> {
        match self {
            Self::NotListed | Self::Noise | Self::Bypass(_) => None,
            Self::Ancestor(rule) => *rule,
            Self::Denied(rule) | Self::Alias(rule) | Self::Tunnel(rule) | Self::Unexpected(rule) => {
                Some(*rule)
            }
        }
    }

    /// What it is counted as.
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

/// For people: the text of the Extended DNS Error.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed | Self::Noise => f.write_str(NOT_LISTED),
            Self::Denied(rule) => write!(f, "denied by rule {rule}"),
            Self::Ancestor(None) => f.write_str(ONLY_BELOW),
            Self::Ancestor(Some(rule)) => write!(f, "denied by rule {rule}; {ONLY_BELOW}"),
            Self::Bypass(bypass) => write!(f, "answered here: {}", bypass.purpose),
            Self::Alias(rule) => {
                write!(f, "its answer leads to a name that is not allowed, and rule {rule} inspects")
            }
            Self::Unexpected(rule) => {
                write!(f, "an address in its answer is not {}, as rule {rule} expects", rule.expect().label())
            }
            Self::Tunnel(rule) => write!(f, "too many new names below rule {rule} in a short time"),
        }
    }
}
