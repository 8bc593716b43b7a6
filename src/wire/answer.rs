//! [`Answer`]: an upstream's reply, kept whole as bytes with the places of its TTLs.

use hickory_proto::op::Message;

use super::code::{Class, ErrorCode, Rcode, Type};
use super::edns::{OPTION_EDE, OptRecord};
use super::header::{Flags, HEADER, Header};
use super::query::{Question, parse_question};

/// How long an answer may be kept, as far as the answer itself can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Data for the question; the lowest TTL of all its records, in seconds.
    Positive(u32),
    /// No such name or no such data; min(TTL of the SOA, its MINIMUM, all other TTLs) in seconds (RFC 2308 section 5).
    Negative(u32),
    /// A response code that says the upstream could not answer (RFC 9520 section 2).
    Failure,
    /// Nothing that says how long: kept not at all (RFC 2308 section 5: negative answers without SOA).
    Unknown,
}

/// A whole answer: every record of every section as received, without the OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Header, question and records.
    message: Box<[u8]>,
    /// Where the question ends and the records begin.
    records_at: u16,
    /// Offsets of the TTL fields within `message`.
    ttls: Box<[u16]>,
    /// Extended DNS Errors as encoded options, ready to stand in another OPT.
    extended_errors: Box<[u8]>,
    lifetime: Lifetime,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Records, names or options run past the end, stand where none may, or leave bytes over.
    #[error("the reply cannot be read")]
    Undecodable,
    /// The response code needs EDNS to be understood and speaks of our own OPT (BADVERS, BADCOOKIE).
    #[error("the reply's response code concerns our own query")]
    Rcode(Rcode),
}

impl Answer {
    /// Reads a reply whose question was already compared.
    pub fn parse(message: &[u8]) -> Result<Self, AnswerError> {
        let scan = Scan::run(message).ok_or(AnswerError::Undecodable)?;
        let Some(opt) = &scan.opt else {
            return Ok(scan.into_answer(message.into()));
        };
        let rcode = opt.record.rcode(scan.header.flags.rcode());
        if rcode.0 > 15 {
            return Err(AnswerError::Rcode(rcode));
        }
        if opt.end == message.len() {
            let kept = message[..opt.start].into();
            return Ok(scan.into_answer(kept));
        }
        // Records behind the OPT may be pointed at, so that cutting the OPT out needs a full rewrite.
        let mut decoded = Message::from_vec(message).map_err(|_| AnswerError::Undecodable)?;
        decoded.edns = None;
        let rewritten = decoded.to_vec().map_err(|_| AnswerError::Undecodable)?;
        let extended_errors = scan.extended_errors();
        let answer =
            Scan::run(&rewritten).ok_or(AnswerError::Undecodable)?.into_answer(rewritten.as_slice().into());
        Ok(Self { extended_errors, ..answer })
    }

    /// An answer of our own for a question nobody could answer: SERVFAIL with an Extended DNS Error, to be kept as
    /// `lifetime` says.
    pub fn failure(question: &Question, code: ErrorCode, text: &str, lifetime: Lifetime) -> Self {
        let header = Header { id: 0, flags: Flags(Flags::QR | Rcode::SERVFAIL.0), counts: [1, 0, 0, 0] };
        let mut message = header.to_bytes().to_vec();
        message.extend_from_slice(question.name.as_bytes());
        message.extend_from_slice(&question.qtype.0.to_be_bytes());
        message.extend_from_slice(&question.class.0.to_be_bytes());
        let mut extended_errors = Vec::with_capacity(6 + text.len());
        extended_errors.extend_from_slice(&OPTION_EDE.to_be_bytes());
        extended_errors.extend_from_slice(&(text.len() as u16 + 2).to_be_bytes());
        extended_errors.extend_from_slice(&code.0.to_be_bytes());
        extended_errors.extend_from_slice(text.as_bytes());
        Self {
            records_at: message.len() as u16,
            message: message.into(),
            ttls: Box::default(),
            extended_errors: extended_errors.into(),
            lifetime,
        }
    }

    /// The response code.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.flags().rcode())
    }

    /// Flags as received.
    pub fn flags(&self) -> Flags {
        Flags(u16::from_be_bytes([self.message[2], self.message[3]]))
    }

    /// ANCOUNT, NSCOUNT, ARCOUNT, the OPT not counted.
    pub fn counts(&self) -> [u16; 3] {
        let count = |at: usize| u16::from_be_bytes([self.message[at], self.message[at + 1]]);
        [count(6), count(8), count(10)]
    }

    /// All records as received, from where the question ends.
    pub fn records(&self) -> &[u8] {
        &self.message[usize::from(self.records_at)..]
    }

    /// Places of the TTL fields within [`Answer::records`].
    pub fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        self.ttls.iter().map(|offset| usize::from(offset - self.records_at))
    }

    /// Extended DNS Errors as encoded options.
    pub fn extended_errors(&self) -> &[u8] {
        &self.extended_errors
    }

    /// How long the answer may be kept.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.message.len() + self.ttls.len() * 2 + self.extended_errors.len()
    }
}

/// What one pass over a reply's records found.
struct Scan<'a> {
    header: Header,
    question: Question,
    records_at: usize,
    ttls: Vec<u16>,
    lowest_ttl: u32,
    /// Data of the type asked for was seen in the answer section.
    has_data: bool,
    /// min(TTL, MINIMUM) of a SOA in the authority section.
    soa: Option<u32>,
    opt: Option<OptPlace<'a>>,
}

struct OptPlace<'a> {
    record: OptRecord<'a>,
    start: usize,
    end: usize,
}

impl<'a> Scan<'a> {
    fn run(message: &'a [u8]) -> Option<Self> {
        let header = Header::parse(message)?;
        let (question, records_at) = parse_question(message)?;
        if header.counts[0] != 1 || message.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut scan = Self {
            header,
            question,
            records_at,
            ttls: Vec::new(),
            lowest_ttl: u32::MAX,
            has_data: false,
            soa: None,
            opt: None,
        };
        let mut at = records_at;
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            for _ in 0..header.counts[section as usize] {
                at = scan.record(message, at, section)?;
            }
        }
        (at == message.len()).then_some(scan)
    }

    /// Reads the record at `at` and returns where the next one begins.
    fn record(&mut self, message: &'a [u8], at: usize, section: Section) -> Option<usize> {
        let owner_end = skip_name(message, at)?;
        let fixed = message.get(owner_end..)?.first_chunk::<10>()?;
        let kind = Type(u16::from_be_bytes([fixed[0], fixed[1]]));
        let class = u16::from_be_bytes([fixed[2], fixed[3]]);
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let start = owner_end + 10;
        let end = start + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = message.get(start..end)?;
        if kind == Type::OPT {
            // RFC 6891 section 6.1.1: one OPT at most, "in the additional data section", owned by the root.
            let misplaced = section != Section::Additional || self.opt.is_some() || owner_end != at + 1;
            let record = OptRecord::new(class, ttl, data);
            if misplaced || record.edns().is_none() {
                return None;
            }
            self.opt = Some(OptPlace { record, start: at, end });
            return Some(end);
        }
        self.ttls.push(owner_end as u16 + 4);
        // RFC 2181 section 8: a TTL with the top bit set is to be taken as zero.
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        self.lowest_ttl = self.lowest_ttl.min(ttl);
        let asked = kind == self.question.qtype || self.question.qtype == Type::ANY;
        match section {
            Section::Answer if asked => self.has_data = true,
            Section::Authority if kind == Type::SOA && class == Class::IN.0 => {
                let minimum = data.last_chunk::<4>().filter(|_| data.len() >= 22)?;
                self.soa = Some(ttl.min(u32::from_be_bytes(*minimum)));
            }
            _ => {}
        }
        Some(end)
    }

    fn lifetime(&self) -> Lifetime {
        match Rcode(self.header.flags.rcode()) {
            Rcode::NOERROR if self.has_data => Lifetime::Positive(self.lowest_ttl),
            Rcode::NOERROR | Rcode::NXDOMAIN => match self.soa {
                Some(ttl) => Lifetime::Negative(ttl.min(self.lowest_ttl)),
                None => Lifetime::Unknown,
            },
            _ => Lifetime::Failure,
        }
    }

    fn extended_errors(&self) -> Box<[u8]> {
        let mut encoded = Vec::new();
        let options = self.opt.iter().flat_map(|opt| opt.record.options()).flatten();
        for (code, data) in options.filter(|(code, data)| *code == OPTION_EDE && data.len() >= 2) {
            encoded.extend_from_slice(&code.to_be_bytes());
            encoded.extend_from_slice(&(data.len() as u16).to_be_bytes());
            encoded.extend_from_slice(data);
        }
        encoded.into()
    }

    /// The answer whose bytes are `kept`: this message, or its part before the OPT.
    fn into_answer(self, mut kept: Box<[u8]>) -> Answer {
        if self.opt.is_some() {
            let additional = self.header.counts[3] - 1;
            kept[10..HEADER].copy_from_slice(&additional.to_be_bytes());
        }
        let extended_errors = self.extended_errors();
        let lifetime = self.lifetime();
        Answer {
            message: kept,
            records_at: self.records_at as u16,
            ttls: self.ttls.into(),
            extended_errors,
            lifetime,
        }
    }
}

/// A section, with its place among the header's counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// Where a possibly compressed name ends. Pointers are checked to lead backwards, not followed.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            0xc0.. => {
                let target = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                // RFC 1035 section 4.1.4: a pointer leads to "a prior occurance" of the name.
                return (target >= HEADER && target < at).then_some(at + 2);
            }
            _ => return None,
        }
        if at - start > 255 {
            return None;
        }
    }
}
