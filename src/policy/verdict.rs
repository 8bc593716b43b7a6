//! [`Verdict`]: what the policy says of one question, and [`AllowedQuery`], the token it gives for a yes.

use std::fmt;

use super::RuleRef;
use super::trie::RuleId;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

/// What becomes of a question.
#[derive(Debug)]
pub enum Verdict<'q, 'p> {
    /// A rule allows the name.
    Allowed(AllowedQuery<'q>),
    /// No rule allows the name, and observe mode forwards it all the same.
    Observed(AllowedQuery<'q>, Reason<'p>),
    /// The name is answered negatively, here.
    Blocked(Reason<'p>),
    /// The name belongs to a local zone.
    Local,
    /// ANY for a name that may be asked: answered here with a minimum (RFC 8482).
    MinimalAny,
    /// A class or type that is never forwarded.
    Refused,
}

/// Leave for one question to be looked up: made only by [`super::Policy::decide`], asked for by cache and upstream.
#[derive(Clone, Debug)]
pub struct AllowedQuery<'q> {
    question: Held<'q>,
    flags: AnswerFlags,
    generation: u64,
    rule: Option<RuleId>,
}

/// A question where it was read, or taken along.
#[derive(Clone, Debug)]
enum Held<'q> {
    Borrowed(&'q Question),
    Owned(Box<Question>),
}

impl<'q> AllowedQuery<'q> {
    pub(super) fn new(
        question: &'q Question,
        flags: AnswerFlags,
        generation: u64,
        rule: Option<RuleId>,
    ) -> Self {
        Self { question: Held::Borrowed(question), flags, generation, rule }
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

    /// Number of the policy that decided.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// True where only observe mode lets the query pass.
    pub fn is_observed(&self) -> bool {
        self.rule.is_none()
    }

    pub(super) fn rule(&self) -> Option<RuleId> {
        self.rule
    }
}

/// Why most names are blocked, for people.
pub const NOT_LISTED: &str = "name is not on the allowlist";

/// Why a name is blocked.
#[derive(Clone, Copy, Debug)]
pub enum Reason<'p> {
    /// No rule covers it.
    NotListed,
    /// No rule covers it, and nobody meant it: a search suffix or a single label.
    Noise,
    /// The most specific rule that covers it denies it.
    Denied(RuleRef<'p>),
}

impl Reason<'_> {
    /// Label for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::Noise => "noise",
            Self::Denied(_) => "denied",
        }
    }
}

/// For people: the text of the Extended DNS Error.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed | Self::Noise => f.write_str(NOT_LISTED),
            Self::Denied(rule) => write!(f, "denied by rule {rule}"),
        }
    }
}
