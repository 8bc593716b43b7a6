//! [`judge`]: decides whether bytes from an upstream's address answer the query that was sent.

use super::ExchangeError;
use super::server_stats::{Rejection, ServerStats};
use crate::wire::answer::{Answer, AnswerError};
use crate::wire::code::Rcode;
use crate::wire::header::{Flags, HEADER, Header};
use crate::wire::letter_case::LetterCase;
use crate::wire::query::Question;
use crate::wire::request::UPSTREAM_PAYLOAD;

/// What a datagram or stream message from an upstream is.
#[derive(Debug)]
pub enum Judgement {
    /// The answer.
    Answer(Answer),
    /// A matching reply, but truncated or undecodable: TCP may bring the complete one.
    RetryOverTcp,
    /// A matching reply that rejects EDNS: a query without EDNS may succeed.
    EdnsRefused,
    /// A matching reply that is unusable over any transport.
    Unusable,
    /// Not the answer to this query. A datagram is ignored, and the exchange keeps waiting; on a stream the exchange ends.
    Reject(Rejection),
}

/// How a reply arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A datagram. TC, or a size above the one offered, leads to TCP.
    Datagram,
    /// A stream: no larger transport to fall back to.
    Stream,
}

/// The query sent, which the reply must match.
#[derive(Clone, Copy, Debug)]
pub struct SentQuery<'q> {
    /// The message's id.
    pub id: u16,
    /// The question.
    pub question: &'q Question,
    /// The letter case of its name; `None` accepts any.
    pub case: Option<LetterCase>,
    /// The query had an OPT record.
    pub edns: bool,
}

/// Judges `reply`, which came from the queried address and port, against `sent`.
pub fn judge(reply: &[u8], sent: SentQuery<'_>, channel: Channel) -> Judgement {
    let SentQuery { id, question, case, edns } = sent;
    let Some(header) = Header::parse(reply) else {
        return Judgement::Reject(Rejection::Short);
    };
    if !header.flags.has(Flags::QR) {
        return Judgement::Reject(Rejection::NotResponse);
    }
    if header.id != id {
        return Judgement::Reject(Rejection::Id);
    }
    if header.flags.opcode() != 0 {
        return Judgement::Reject(Rejection::Opcode);
    }
    // RFC 6891 section 7: "Responders that choose not to implement the protocol extensions defined in this document
    // MUST respond with a return code (RCODE) of FORMERR". Many send only a header, and some answer NOTIMP.
    let is_refusal = matches!(Rcode(header.flags.rcode()), Rcode::FORMERR | Rcode::NOTIMP);
    if is_refusal && header.counts[0] == 0 {
        return if edns { Judgement::EdnsRefused } else { Judgement::Unusable };
    }
    // RFC 5452 section 9.1: a resolver "MUST" match question name, class and type, id, addresses and ports.
    if header.counts[0] != 1 || !question.is_asked_by(reply) {
        return Judgement::Reject(Rejection::Question);
    }
    let name = question.name.as_bytes();
    if case.is_some_and(|case| !case.is_of(&reply[HEADER..HEADER + name.len()], name)) {
        return Judgement::Reject(Rejection::Case);
    }
    if is_refusal && edns {
        return Judgement::EdnsRefused;
    }
    let too_large = channel == Channel::Datagram && reply.len() > usize::from(UPSTREAM_PAYLOAD);
    if header.flags.has(Flags::TC) || too_large {
        return Judgement::RetryOverTcp;
    }
    match Answer::parse(reply) {
        Ok(answer) => Judgement::Answer(answer),
        Err(AnswerError::Undecodable) => Judgement::RetryOverTcp,
        Err(AnswerError::Rcode(Rcode::BADVERS)) if edns => Judgement::EdnsRefused,
        Err(AnswerError::Rcode(_)) => Judgement::Unusable,
    }
}

/// Judges a reply that came over a stream. Any other reply than the answer ends the exchange: on a stream nobody else
/// can have sent it, and no larger transport exists.
pub(super) fn whole(reply: &[u8], sent: SentQuery<'_>, stats: &ServerStats) -> Result<Answer, ExchangeError> {
    match judge(reply, sent, Channel::Stream) {
        Judgement::Answer(answer) => Ok(answer),
        Judgement::EdnsRefused => Err(ExchangeError::EdnsRefused),
        Judgement::RetryOverTcp | Judgement::Unusable => Err(ExchangeError::Unusable),
        Judgement::Reject(reason) => {
            stats.rejected(reason);
            Err(ExchangeError::Unusable)
        }
    }
}
