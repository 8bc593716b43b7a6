//! [`Scan`]: one strict pass over a reply's records.

use smallvec::SmallVec;

use super::{Answer, AnswerError, AnswerHead, Lifetime};
use crate::wire::code::{Class, Rcode, Type};
use crate::wire::edns::{OPTION_EDE, OptRecord};
use crate::wire::header::{HEADER, Header};
use crate::wire::query::question_end;

/// The result of one pass over a reply's records.
pub(super) struct Scan<'a> {
    pub(super) header: Header,
    qtype: Type,
    records_at: usize,
    ttls: SmallVec<[u16; 16]>,
    lowest_ttl: u32,
    /// The answer section has data of the queried type.
    has_data: bool,
    /// min(TTL, MINIMUM) of a SOA in the authority section.
    soa: Option<u32>,
    pub(super) opt: Option<OptPlace<'a>>,
}

pub(super) struct OptPlace<'a> {
    pub(super) record: OptRecord<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn run(message: &'a [u8]) -> Option<Self> {
        let header = Header::parse(message)?;
        let (qtype, records_at) = question_end(message)?;
        if header.counts[0] != 1 || message.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut scan = Self {
            header,
            qtype,
            records_at,
            ttls: SmallVec::new(),
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

    /// Parses the record at `at`; returns the offset of the next one.
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
        // RFC 2181 section 8: a TTL with the top bit set counts as zero.
        let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
        self.lowest_ttl = self.lowest_ttl.min(ttl);
        let asked = kind == self.qtype || self.qtype == Type::ANY;
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

    pub(super) fn extended_errors(&self) -> Vec<u8> {
        let mut encoded = Vec::new();
        let options = self.opt.iter().flat_map(|opt| opt.record.options()).flatten();
        for (code, data) in options.filter(|(code, data)| *code == OPTION_EDE && data.len() >= 2) {
            encoded.extend_from_slice(&code.to_be_bytes());
            encoded.extend_from_slice(&(data.len() as u16).to_be_bytes());
            encoded.extend_from_slice(data);
        }
        encoded
    }

    /// The answer with the records in `kept`: the whole message, or its part before the OPT.
    pub(super) fn into_answer(self, kept: &[u8], extended_errors: &[u8]) -> Result<Answer, AnswerError> {
        let [_, answers, authorities, additionals] = self.header.counts;
        let records = &kept[self.records_at..];
        let head = AnswerHead {
            flags: self.header.flags,
            counts: [answers, authorities, additionals - u16::from(self.opt.is_some())],
            records: records.len() as u16,
            ttls: self.ttls.len() as u16,
            extended_errors: u16::try_from(extended_errors.len()).map_err(|_| AnswerError::Undecodable)?,
            lifetime: self.lifetime(),
        };
        let mut bytes = Vec::with_capacity(head.bytes());
        bytes.extend_from_slice(records);
        for place in &self.ttls {
            bytes.extend_from_slice(&(place - self.records_at as u16).to_ne_bytes());
        }
        bytes.extend_from_slice(extended_errors);
        Ok(Answer { head, bytes: bytes.into() })
    }
}

/// A section, by its index in the header's counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// Offset of the end of a possibly compressed name. Pointers must lead backwards; they are not followed.
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
