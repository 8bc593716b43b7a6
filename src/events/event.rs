//! [`QueryEvent`]: what is told of one query and its reply, to the query log, dnstap, and the pages.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::address::client::Client;
use crate::events::outcome::{Decision, QueryOutcome};
use crate::wire::query::{Question, parse_question};
use crate::wire::reply::Transport;

/// A query and the reply it got.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredQuery<'a> {
    /// Who asked.
    pub client: Client,
    /// The request as received.
    pub request: &'a [u8],
    /// The reply as sent.
    pub reply: &'a [u8],
    /// What became of it.
    pub record: &'a QueryOutcome,
    /// When the request came.
    pub received: Instant,
    /// Time from then to the reply.
    pub elapsed: Duration,
}

impl AnsweredQuery<'_> {
    /// True for a name that is not allowed, whether or not the verdict is carried out.
    pub fn is_blocked(&self) -> bool {
        is_blocked(self.record.decision)
    }
}

fn is_blocked(decision: Decision) -> bool {
    matches!(decision, Decision::Blocked | Decision::Observed)
}

/// An [`AnsweredQuery`] that is kept: of one size, so that noting it takes no memory, but for the messages where they are
/// asked for.
#[derive(Clone, Debug)]
pub struct QueryEvent {
    /// Who asked.
    pub client: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// What was asked, folded.
    pub question: Question,
    /// What became of it.
    pub record: QueryOutcome,
    /// When the request came.
    pub received: Instant,
    /// Time from then to the reply.
    pub elapsed: Duration,
    /// Request and reply.
    pub messages: Option<Box<Messages>>,
    /// It is to be in the query log.
    pub logged: bool,
    /// It is to be sent over dnstap.
    pub tapped: bool,
    /// How many lookups it stands for on the pages; 0: it is not for them.
    pub shown: u32,
}

/// A request and its reply.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The request as received.
    pub request: Box<[u8]>,
    /// The reply as sent.
    pub reply: Box<[u8]>,
}

impl QueryEvent {
    /// Keeps `exchange`, with its messages where `whole` says so; none where it has no question.
    pub fn of(exchange: &AnsweredQuery<'_>, whole: bool) -> Option<Self> {
        let (question, _) = parse_question(exchange.request)?;
        let messages =
            || Box::new(Messages { request: exchange.request.into(), reply: exchange.reply.into() });
        Some(Self {
            client: exchange.client.address,
            transport: exchange.client.transport,
            question,
            record: exchange.record.clone(),
            received: exchange.received,
            elapsed: exchange.elapsed,
            messages: whole.then(messages),
            logged: false,
            tapped: false,
            shown: 0,
        })
    }

    /// True for a name that is not allowed, whether or not the verdict is carried out.
    pub fn is_blocked(&self) -> bool {
        is_blocked(self.record.decision)
    }

    /// A copy without the messages.
    pub fn without_messages(&self) -> Self {
        let (question, record) = (self.question.clone(), self.record.clone());
        Self { question, record, messages: None, ..*self }
    }
}
