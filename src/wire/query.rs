//! [`Query`]: a client's query, parsed strictly and in place.

use super::code::{Class, Type};
use super::edns::{Edns, OptRecord};
use super::header::{Flags, HEADER, Header};
use super::name::Name;

/// The opcode of an ordinary query (RFC 1035 section 4.1.1).
const OPCODE_QUERY: u8 = 0;

/// Name, type and class of a question; the name is folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// QNAME, lower case.
    pub name: Name,
    /// QTYPE.
    pub qtype: Type,
    /// QCLASS.
    pub class: Class,
}

impl Question {
    /// A buffer to parse questions into: the root, type 0.
    pub const fn empty() -> Self {
        Self { name: Name::ROOT, qtype: Type(0), class: Class::IN }
    }
}

/// A message with exactly one question and, at most, one OPT record.
#[derive(Debug)]
pub struct Query<'a> {
    /// Header as sent.
    pub header: Header,
    /// The question, folded.
    pub question: &'a Question,
    /// The question as sent: the reply repeats its letter case.
    pub question_bytes: &'a [u8],
    /// The client's EDNS, if it sent any.
    pub edns: Option<Edns>,
}

/// Why a message is not a valid query; determines the reply.
#[derive(Debug)]
pub enum Malformed<'a> {
    /// Fewer than twelve bytes: no reply.
    Short,
    /// A response: no reply, because two servers could answer each other forever.
    Response,
    /// An opcode other than QUERY: NOTIMP. The format after the header is unknown.
    Opcode(Header),
    /// Anything else that is not one question and at most an OPT: FORMERR, with the question if it could be parsed.
    Format(Header, Option<&'a [u8]>),
    /// An unknown EDNS version: BADVERS.
    Version(Query<'a>),
}

impl<'a> Query<'a> {
    /// Parses a whole message, the question into `question`, which may change even on an error.
    pub fn parse(message: &'a [u8], question: &'a mut Question) -> Result<Self, Malformed<'a>> {
        let header = Header::parse(message).ok_or(Malformed::Short)?;
        if header.flags.has(Flags::QR) {
            return Err(Malformed::Response);
        }
        if header.flags.opcode() != OPCODE_QUERY {
            return Err(Malformed::Opcode(header));
        }
        let query = Self::parse_body(header, message, question)?;
        // RFC 6891 section 6.1.3: "If a responder does not implement the VERSION level of the request, then it MUST
        // respond with RCODE=BADVERS."
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return Err(Malformed::Version(query));
        }
        Ok(query)
    }

    fn parse_body(
        header: Header,
        message: &'a [u8],
        question: &'a mut Question,
    ) -> Result<Self, Malformed<'a>> {
        // RFC 9619 section 4: a message with OPCODE 0 and QDCOUNT above 1 "MUST" be treated as FORMERR.
        if header.counts[0] != 1 {
            return Err(Malformed::Format(header, None));
        }
        let Some(end) = question.read(message) else {
            return Err(Malformed::Format(header, None));
        };
        let question_bytes = &message[HEADER..end];
        let malformed = Malformed::Format(header, Some(question_bytes));
        let edns = match header.counts {
            [_, 0, 0, 0] if end == message.len() => None,
            [_, 0, 0, 1] => match parse_opt(&message[end..]).and_then(|record| record.query_edns()) {
                Some(edns) => Some(edns),
                None => return Err(malformed),
            },
            _ => return Err(malformed),
        };
        Ok(Self { header, question, question_bytes, edns })
    }

    /// DO: the client wants DNSSEC records.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }
}

impl Question {
    /// Parses the question after the header; returns the offset of its end.
    fn read(&mut self, message: &[u8]) -> Option<usize> {
        self.name.read(message.get(HEADER..)?).ok()?;
        let at = HEADER + self.name.wire_len();
        (self.qtype, self.class) = type_and_class(message, at)?;
        Some(at + 4)
    }

    /// True if `message` has the same question, in any letter case.
    pub fn is_asked_by(&self, message: &[u8]) -> bool {
        let name = self.name.as_bytes();
        let asked = message.get(HEADER..HEADER + name.len());
        asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name))
            && type_and_class(message, HEADER + name.len()) == Some((self.qtype, self.class))
    }
}

/// The question after the header, and the offset of its end.
pub fn parse_question(message: &[u8]) -> Option<(Question, usize)> {
    let mut question = Question::empty();
    let end = question.read(message)?;
    Some((question, end))
}

/// The type of the question, and the offset of its end.
pub fn question_end(message: &[u8]) -> Option<(Type, usize)> {
    let at = HEADER + Name::length(message.get(HEADER..)?).ok()?;
    Some((type_and_class(message, at)?.0, at + 4))
}

fn type_and_class(message: &[u8], at: usize) -> Option<(Type, Class)> {
    let fixed = message.get(at..)?.first_chunk::<4>()?;
    Some((Type(u16::from_be_bytes([fixed[0], fixed[1]])), Class(u16::from_be_bytes([fixed[2], fixed[3]]))))
}

/// Parses the only record that a query may have: an OPT owned by the root that fills the rest of the message.
fn parse_opt(record: &[u8]) -> Option<OptRecord<'_>> {
    let (fixed, options) = record.split_first_chunk::<11>()?;
    // RFC 6891 section 6.1.2: NAME "MUST be 0 (root domain)".
    if fixed[0] != 0 || u16::from_be_bytes([fixed[1], fixed[2]]) != Type::OPT.0 {
        return None;
    }
    let length = u16::from_be_bytes([fixed[9], fixed[10]]);
    if usize::from(length) != options.len() {
        return None;
    }
    let class = u16::from_be_bytes([fixed[3], fixed[4]]);
    let ttl = u32::from_be_bytes([fixed[5], fixed[6], fixed[7], fixed[8]]);
    Some(OptRecord::new(class, ttl, options))
}
