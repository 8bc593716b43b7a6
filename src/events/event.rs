//! [`QueryEvent`]: one query and its reply, for the query log, dnstap and the status page.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::address::client::Client;
use crate::events::outcome::QueryOutcome;
use crate::wire::query::{Question, parse_question};
use crate::wire::reply::Transport;

/// A query and its reply, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredQuery<'a> {
    /// The client.
    pub client: Client,
    /// The request as received.
    pub request: &'a [u8],
    /// The reply as sent.
    pub reply: &'a [u8],
    /// The outcome.
    pub record: &'a QueryOutcome,
    /// When the request arrived.
    pub received: Instant,
    /// Time from the request to the reply.
    pub elapsed: Duration,
}

/// An owned [`AnsweredQuery`]. Its size is fixed, so that queueing it allocates nothing except for the optional
/// messages.
#[derive(Clone, Debug)]
pub struct QueryEvent {
    /// The client.
    pub client: SocketAddr,
    /// The transport.
    pub transport: Transport,
    /// The question, in lower case.
    pub question: Question,
    /// The outcome.
    pub record: QueryOutcome,
    /// When the request arrived.
    pub received: Instant,
    /// Time from the request to the reply.
    pub elapsed: Duration,
    /// Request and reply, if a consumer needs them.
    pub messages: Option<Box<Messages>>,
    /// Write it to the query log.
    pub logged: bool,
    /// Send it over dnstap.
    pub tapped: bool,
    /// Number of lookups it stands for on the status page and in the history; 0: it is in neither.
    pub weight: u32,
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
    /// Copies `exchange`, with its messages if `whole`; none if it has no question.
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
            weight: 0,
        })
    }

    /// A copy without the messages.
    pub fn without_messages(&self) -> Self {
        let (question, record) = (self.question.clone(), self.record.clone());
        Self { question, record, messages: None, ..*self }
    }
}
