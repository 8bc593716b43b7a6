//! [`Response`]: an answer of the scripted upstream.

use super::code::{self, rcode_number};
use super::message::Message;
use super::name::to_wire;
use super::query::Edns;
use super::record::Record;

/// An answer under construction; id, question and RD come from the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    /// Header flags besides QR, RD and RA.
    pub(crate) flags: u16,
    /// Response code.
    pub(crate) rcode: u16,
    /// Answer section.
    pub(crate) answers: Vec<Record>,
    /// Authority section.
    pub(crate) authorities: Vec<Record>,
    /// Additional section without OPT.
    pub(crate) additionals: Vec<Record>,
    /// Options of the OPT record, which is present if the query has one.
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

impl Response {
    /// Answers with these records, each `OWNER TTL TYPE DATA`.
    pub(crate) fn answering(records: &[&str]) -> Self {
        Self { answers: Record::list(records), ..Self::default() }
    }

    /// Only a response code.
    pub(crate) fn failing(rcode: &str) -> Self {
        Self { rcode: rcode_number(rcode), ..Self::default() }
    }

    /// A negative answer with the zone's SOA record.
    pub(crate) fn negative(rcode: &str, soa: Record) -> Self {
        Self { rcode: rcode_number(rcode), authorities: vec![soa], ..Self::default() }
    }

    /// The same with another response code.
    pub(crate) fn rcode(mut self, rcode: &str) -> Self {
        self.rcode = rcode_number(rcode);
        self
    }

    /// The same with more header flags.
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// The same with an authority section.
    pub(crate) fn authority(mut self, records: &[&str]) -> Self {
        self.authorities = Record::list(records);
        self
    }

    /// The same with an additional section.
    pub(crate) fn additional(mut self, records: &[&str]) -> Self {
        self.additionals = Record::list(records);
        self
    }

    /// The same with an Extended DNS Error.
    pub(crate) fn extended_error(mut self, code: u16, text: &str) -> Self {
        self.options.push((15, [&code.to_be_bytes()[..], text.as_bytes()].concat()));
        self
    }

    /// The reply to `query`; owners equal to the question's name are compressed to a pointer, as servers do.
    pub(crate) fn render(&self, query: &Message) -> Vec<u8> {
        let edns = query.edns.as_ref().map(|_| Edns { options: self.options.clone(), ..Edns::of_size(1232) });
        let flags = code::QR | code::RA | query.flags & code::RD | self.flags | self.rcode & 15;
        let sections = [&self.answers, &self.authorities, &self.additionals];
        let counts = sections.map(|section| section.len() as u16);
        let counts = [1, counts[0], counts[1], counts[2] + u16::from(edns.is_some())];
        let mut bytes = Vec::new();
        for word in [query.id, flags].into_iter().chain(counts) {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(&query.question_bytes);
        for record in sections.into_iter().flatten() {
            write(record, query.name(), &mut bytes);
        }
        bytes.extend(edns.iter().flat_map(Edns::bytes));
        bytes
    }
}

fn write(record: &Record, question: &str, bytes: &mut Vec<u8>) {
    if record.owner.eq_ignore_ascii_case(question) && question != "." {
        bytes.extend([0xc0, 12]);
    } else {
        bytes.extend(to_wire(&record.owner));
    }
    bytes.extend(record.rtype.to_be_bytes());
    bytes.extend(record.class.to_be_bytes());
    bytes.extend(record.ttl.to_be_bytes());
    bytes.extend((record.data.len() as u16).to_be_bytes());
    bytes.extend(&record.data);
}
