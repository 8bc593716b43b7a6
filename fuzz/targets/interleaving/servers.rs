//! Steps by servers and attackers in the [`World`].

use std::sync::Arc;

use namegate::engine::State;
use namegate::policy::AllowedQuery;
use namegate::relay::Ticket;
use namegate::upstream::accept::{Channel, Judgement, SentQuery, judge};
use namegate::wire::answer::{Answer, Lifetime};
use namegate::wire::code::{ErrorCode, Rcode};

use super::super::{Flags, Question, Type, parse_question};
use super::Content;
use super::message::{Body, FORGED, reply};
use super::model::Authentic;
use super::world::{Waiter, World, name, pick};

const TTLS: [u32; 8] = [0, 1, 5, 30, 60, 600, 4000, 0x8000_0001];

/// A question that was sent to a server.
pub(super) struct Exchange {
    pub(super) ticket: Ticket,
    query: AllowedQuery<'static>,
    id: u16,
    server: String,
    channel: Channel,
}

impl World {
    pub(super) fn begin(&mut self, state: &State, query: AllowedQuery<'static>, waiter: Option<Waiter>) {
        let upstream = Arc::clone(state.upstreams.route(query.route()));
        let server = upstream.servers()[0].name().to_string();
        let group = state.policies.group(query.client()).unwrap().index();
        let servers = self.model.servers(group, &query.question().name, self.now);
        assert!(
            servers.contains(&&*server),
            "{server} was queried for {:?}, not {servers:?}",
            query.question()
        );
        let deadline = self.time() + upstream.config().deadline;
        let ticket = self.pending.begin(query.clone(), upstream, deadline, waiter);
        // Ids that differ in few bits, as an attacker would like.
        self.asked += 1;
        let id = self.asked.wrapping_mul(0x0101);
        self.exchanges.push(Exchange { ticket, query, id, server, channel: Channel::Datagram });
    }

    /// A message arrives for a question.
    pub(super) fn receive(&mut self, exchange: u8, content: Content) {
        let Some(index) = pick(exchange, self.exchanges.len()) else { return };
        let Exchange { query, id, .. } = &self.exchanges[index];
        let (id, asked) = (*id, query.question().clone());
        let forged = Body::Data { mark: FORGED, ttl: 600, alias: None };
        let message = match content {
            Content::Data { ttl } => {
                self.authentic(index, ttl, |mark, ttl| Body::Data { mark, ttl, alias: None })
            }
            Content::Alias { ttl, target } => {
                let target = name(target);
                self.authentic(index, ttl, |mark, ttl| Body::Data { mark, ttl, alias: Some(target) })
            }
            Content::NoName { ttl } => {
                self.authentic(index, ttl, |mark, ttl| Body::Negative { mark, ttl, rcode: Rcode::NXDOMAIN.0 })
            }
            Content::NoData { ttl } => {
                self.authentic(index, ttl, |mark, ttl| Body::Negative { mark, ttl, rcode: 0 })
            }
            Content::Failure => reply(id, &asked, &Body::Bare { flags: Rcode::SERVFAIL.0 }),
            Content::Truncated => reply(id, &asked, &Body::Bare { flags: Flags::TC }),
            Content::ForgedId { id: other } => reply(if other == id { !id } else { other }, &asked, &forged),
            Content::ForgedName { name: other } => {
                let question = Question { name: name(other), qtype: asked.qtype, class: asked.class };
                if question == asked {
                    return;
                }
                reply(id, &question, &forged)
            }
            Content::ForgedType { qtype } => {
                let question = Question { qtype: Type(asked.qtype.0 ^ u16::from(qtype.max(1))), ..asked };
                reply(id, &question, &forged)
            }
            Content::ForgedQuery => with_flags(reply(id, &asked, &forged), 0x80, 0),
            Content::ForgedOpcode { opcode } => {
                with_flags(reply(id, &asked, &forged), 0, (opcode % 15 + 1) << 3)
            }
            Content::ForgedNothing => {
                let mut message = reply(id, &asked, &forged);
                message[5] = 0;
                message
            }
        };
        self.judge(index, &message);
    }

    /// The server's answer to a question, recorded as authentic.
    fn authentic(&mut self, index: usize, ttl: u8, body: impl FnOnce(u32, u32) -> Body) -> Vec<u8> {
        let ttl = TTLS[usize::from(ttl) % TTLS.len()];
        let body = body(self.model.authentic.len() as u32, ttl);
        // RFC 2181 section 8: a TTL with the top bit set counts as zero.
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        let (lifetime, alias) = match &body {
            Body::Data { alias, .. } => (Lifetime::Positive(ttl), alias.clone()),
            _ => (Lifetime::Negative(ttl), None),
        };
        let Exchange { query, id, server, .. } = &self.exchanges[index];
        let (question, flags, server) = (query.question().clone(), query.flags(), server.clone());
        let message = reply(*id, &question, &body);
        self.model.authentic.push(Authentic { question, flags, server, received: self.now, lifetime, alias });
        message
    }

    /// The reply to one question arrives for another.
    pub(super) fn misdeliver(&mut self, from: u8, to: u8) {
        let count = self.exchanges.len();
        let (Some(from), Some(to)) = (pick(from, count), pick(to, count)) else { return };
        if from == to {
            return;
        }
        let message = self.authentic(from, 4, |mark, ttl| Body::Data { mark, ttl, alias: None });
        self.judge(to, &message);
    }

    fn judge(&mut self, index: usize, message: &[u8]) {
        let Exchange { query, id, server, channel, .. } = &mut self.exchanges[index];
        let server = server.clone();
        match judge(
            message,
            SentQuery { id: *id, question: query.question(), case: None, edns: true },
            *channel,
        ) {
            Judgement::Reject(_) => {}
            Judgement::RetryOverTcp if *channel == Channel::Datagram => *channel = Channel::Stream,
            Judgement::RetryOverTcp | Judgement::EdnsRefused | Judgement::Unusable => self.fail(index as u8),
            Judgement::Answer(answer) => {
                let (asked, _) = parse_question(message).unwrap();
                assert_eq!(asked, *query.question());
                self.ended(index, answer, Some(server.into()));
            }
        }
    }

    /// A question is not answered.
    pub(super) fn fail(&mut self, exchange: u8) {
        let Some(index) = pick(exchange, self.exchanges.len()) else { return };
        self.ended(index, Answer::failure(ErrorCode::NOT_READY, "nobody answers", Lifetime::Failure), None);
    }

    fn ended(&mut self, index: usize, answer: Answer, upstream: Option<Arc<str>>) {
        let exchange = self.exchanges.remove(index);
        let (state, now) = (self.state.load_full(), self.time());
        let ended = self.pending.end(&state, exchange.ticket, answer, upstream, now).unwrap();
        for (_, waiter) in ended.waiters {
            self.finish(waiter, &ended.fetched);
        }
    }
}

/// The message with some bits of its third byte cleared and others set.
fn with_flags(mut message: Vec<u8>, without: u8, with: u8) -> Vec<u8> {
    message[2] = message[2] & !without | with;
    message
}
