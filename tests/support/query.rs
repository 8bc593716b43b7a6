//! [`Query`]: builds a client's message, well-formed or not.

use std::sync::atomic::{AtomicU16, Ordering};

use super::code::{self, class_number, type_number};
use super::name::to_wire;

/// The OPT record of a query or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    /// UDP payload in bytes.
    pub(crate) size: u16,
    /// Upper bits of the response code.
    pub(crate) extended_rcode: u8,
    /// EDNS version.
    pub(crate) version: u8,
    /// DO.
    pub(crate) dnssec_ok: bool,
    /// Options: code and data.
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

impl Edns {
    /// An OPT record with only a payload size.
    pub(crate) fn of_size(size: u16) -> Self {
        Self { size, extended_rcode: 0, version: 0, dnssec_ok: false, options: Vec::new() }
    }

    /// The record's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let options: Vec<u8> = self
            .options
            .iter()
            .flat_map(|(code, data)| {
                [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
            })
            .collect();
        let mut bytes = vec![0];
        bytes.extend(code::OPT.to_be_bytes());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend([self.extended_rcode, self.version, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
        bytes.extend((options.len() as u16).to_be_bytes());
        bytes.extend(options);
        bytes
    }
}

/// A query under construction.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Message id.
    pub(crate) id: u16,
    /// Header flags; initially only RD.
    pub(crate) flags: u16,
    /// Opcode, 0 to 15.
    pub(crate) opcode: u8,
    /// Questions in wire form.
    pub(crate) questions: Vec<Vec<u8>>,
    /// OPT record.
    pub(crate) edns: Option<Edns>,
    /// Counts to write instead of the true ones.
    pub(crate) counts: Option<[u16; 4]>,
    /// Bytes after everything else.
    pub(crate) tail: Vec<u8>,
}

impl Query {
    /// A query of class IN with RD and without EDNS; each query has a different id.
    pub(crate) fn new(name: &str, qtype: &str) -> Self {
        Self::of_class(name, qtype, "IN")
    }

    /// A query of any class.
    pub(crate) fn of_class(name: &str, qtype: &str, class: &str) -> Self {
        static NEXT_ID: AtomicU16 = AtomicU16::new(0x4d2);
        let question = question(name, qtype, class);
        Self {
            id: NEXT_ID.fetch_add(0x3671, Ordering::Relaxed),
            flags: code::RD,
            opcode: 0,
            questions: vec![question],
            edns: None,
            counts: None,
            tail: Vec::new(),
        }
    }

    /// The same with an OPT record that announces 1232 bytes.
    pub(crate) fn edns(mut self) -> Self {
        self.edns = Some(Edns::of_size(1232));
        self
    }

    /// The same with an OPT record of this payload size.
    pub(crate) fn payload(mut self, size: u16) -> Self {
        self.edns = Some(Edns::of_size(size));
        self
    }

    /// The same with DO.
    pub(crate) fn dnssec_ok(mut self) -> Self {
        self.edns = Some(Edns { dnssec_ok: true, ..Edns::of_size(1232) });
        self
    }

    /// The same with these header flags instead of RD.
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// The message.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let true_counts = [self.questions.len() as u16, 0, 0, u16::from(self.edns.is_some())];
        let counts = self.counts.unwrap_or(true_counts);
        let mut bytes = Vec::new();
        for word in [self.id, self.flags | u16::from(self.opcode) << 11].into_iter().chain(counts) {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(self.questions.concat());
        bytes.extend(self.edns.iter().flat_map(Edns::bytes));
        bytes.extend(&self.tail);
        bytes
    }
}

/// A question in wire form.
pub(crate) fn question(name: &str, qtype: &str, class: &str) -> Vec<u8> {
    let numbers = [type_number(qtype).to_be_bytes(), class_number(class).to_be_bytes()];
    [to_wire(name), numbers.concat()].concat()
}
