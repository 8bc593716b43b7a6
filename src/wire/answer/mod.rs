//! [`Answer`]: an upstream's reply as bytes, with the offsets of its TTLs.

mod scan;

use hickory_proto::op::Message;

use super::code::{ErrorCode, Rcode};
use super::edns::OPTION_EDE;
use super::header::Flags;
use scan::Scan;

/// How long an answer may be cached, according to the answer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Data for the question: the lowest TTL of all records, in seconds.
    Positive(u32),
    /// NXDOMAIN or NODATA: min(TTL of the SOA, its MINIMUM, all other TTLs) in seconds (RFC 2308 section 5).
    Negative(u32),
    /// A response code for a failure of the upstream (RFC 9520 section 2).
    Failure,
    /// No lifetime: not cached (RFC 2308 section 5: negative answers without SOA).
    Unknown,
}

/// An answer's metadata: everything except its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Flags as received.
    pub flags: Flags,
    /// ANCOUNT, NSCOUNT, ARCOUNT, without the OPT.
    pub counts: [u16; 3],
    /// Length of all records in bytes.
    pub records: u16,
    /// Number of TTL fields.
    pub ttls: u16,
    /// Length of the Extended DNS Errors in bytes.
    pub extended_errors: u16,
    /// How long the answer may be cached.
    pub lifetime: Lifetime,
}

impl AnswerHead {
    /// Length of the answer's bytes.
    fn bytes(&self) -> usize {
        usize::from(self.records) + 2 * usize::from(self.ttls) + usize::from(self.extended_errors)
    }
}

/// A whole answer: every record of every section as received, without the OPT record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    head: AnswerHead,
    /// As in [`AnswerRef`].
    bytes: Box<[u8]>,
}

/// A borrowed [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRef<'a> {
    head: AnswerHead,
    /// All records as received; the offsets of their TTLs from the first record, as native 16-bit numbers; Extended DNS
    /// Errors as encoded options, ready for another OPT.
    bytes: &'a [u8],
}

/// Why a reply is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Records, names or options run past the end or are misplaced, or there are trailing bytes.
    #[error("malformed reply")]
    Undecodable,
    /// An extended response code about our own OPT (BADVERS, BADCOOKIE).
    #[error("response code rejects the EDNS options of our query")]
    Rcode(Rcode),
}

impl Answer {
    /// Parses a reply whose question was already compared.
    pub fn parse(message: &[u8]) -> Result<Self, AnswerError> {
        let scan = Scan::run(message).ok_or(AnswerError::Undecodable)?;
        let Some(opt) = &scan.opt else {
            return scan.into_answer(message, &[]);
        };
        let rcode = opt.record.rcode(scan.header.flags.rcode());
        if rcode.0 > 15 {
            return Err(AnswerError::Rcode(rcode));
        }
        let extended_errors = scan.extended_errors();
        if opt.end == message.len() {
            let kept = &message[..opt.start];
            return scan.into_answer(kept, &extended_errors);
        }
        // Records after the OPT may be targets of compression pointers, so removing the OPT needs a full rewrite.
        let mut decoded = Message::from_vec(message).map_err(|_| AnswerError::Undecodable)?;
        decoded.edns = None;
        let rewritten = decoded.to_vec().map_err(|_| AnswerError::Undecodable)?;
        Scan::run(&rewritten).ok_or(AnswerError::Undecodable)?.into_answer(&rewritten, &extended_errors)
    }

    /// An answer of our own for a failure: SERVFAIL with an Extended DNS Error, cached according to `lifetime`.
    pub fn failure(code: ErrorCode, text: &str, lifetime: Lifetime) -> Self {
        let flags = Flags(Flags::QR | Rcode::SERVFAIL.0);
        let head = AnswerHead { flags, counts: [0; 3], records: 0, ttls: 0, extended_errors: 0, lifetime };
        Self { head, bytes: Box::default() }.with_error(code, text)
    }

    /// This answer with one more Extended DNS Error; `text` must be short.
    pub fn with_error(self, code: ErrorCode, text: &str) -> Self {
        let Self { mut head, bytes } = self;
        let mut bytes = bytes.into_vec();
        bytes.extend_from_slice(&OPTION_EDE.to_be_bytes());
        bytes.extend_from_slice(&(text.len() as u16 + 2).to_be_bytes());
        bytes.extend_from_slice(&code.0.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        head.extended_errors += text.len() as u16 + 6;
        Self { head, bytes: bytes.into() }
    }

    /// Borrows the answer.
    pub fn as_ref(&self) -> AnswerRef<'_> {
        AnswerRef { head: self.head, bytes: &self.bytes }
    }
}

impl<'a> AnswerRef<'a> {
    /// Rebuilds an answer from its parts; `None` if the length of `bytes` does not match `head`.
    pub fn new(head: AnswerHead, bytes: &'a [u8]) -> Option<Self> {
        (head.bytes() == bytes.len()).then_some(Self { head, bytes })
    }

    /// An owned copy.
    pub fn to_answer(self) -> Answer {
        Answer { head: self.head, bytes: self.bytes.into() }
    }

    /// The metadata.
    pub fn head(&self) -> &AnswerHead {
        &self.head
    }

    /// Records, TTL offsets and Extended DNS Errors, concatenated.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The response code.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.head.flags.rcode())
    }

    /// All records as received.
    pub fn records(&self) -> &'a [u8] {
        &self.bytes[..usize::from(self.head.records)]
    }

    /// The records of the answer and authority sections.
    pub fn needed_records(&self) -> &'a [u8] {
        let [answers, authorities, _] = self.head.counts.map(usize::from);
        let records = self.records();
        let Some(last) = (answers + authorities).checked_sub(1) else { return &[] };
        // Every record has one TTL offset, in order. The data length and the data follow the TTL.
        let length_at = |ttl_at: usize| ttl_at + 4..ttl_at + 6;
        let end = self.ttl_offsets().nth(last).map(length_at).and_then(|at| {
            let length = records.get(at.clone())?.first_chunk::<2>()?;
            Some(at.end + usize::from(u16::from_be_bytes(*length)))
        });
        end.and_then(|end| records.get(..end)).unwrap_or(records)
    }

    /// Offsets of the TTL fields within [`AnswerRef::records`].
    pub fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let start = usize::from(self.head.records);
        let places = &self.bytes[start..start + 2 * usize::from(self.head.ttls)];
        places.chunks_exact(2).map(|place| usize::from(u16::from_ne_bytes([place[0], place[1]])))
    }

    /// Extended DNS Errors as encoded options.
    pub fn extended_errors(&self) -> &'a [u8] {
        &self.bytes[self.bytes.len() - usize::from(self.head.extended_errors)..]
    }

    /// How long the answer may be cached.
    pub fn lifetime(&self) -> Lifetime {
        self.head.lifetime
    }
}
