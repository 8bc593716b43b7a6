//! All replies to clients. Each function clears a buffer and writes one whole message into it.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use super::answer::{AnswerRef, Lifetime};
use super::code::{ErrorCode, Rcode, Type};
use super::cookie;
use super::edns::{DNSSEC_OK, Edns, MIN_UDP_PAYLOAD, OPTION_EDE};
use super::header::{Flags, HEADER, Header};
use super::name::Name;
use super::query::Query;

/// Largest possible message, in bytes: TCP's length prefix has 16 bits (RFC 1035 section 4.2.2).
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// Length of an OPT record without options, in bytes.
pub(super) const OPT_FIXED: usize = 11;

/// The transport of a query and its reply.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream with length prefixes.
    Tcp,
}

impl Transport {
    /// True if the transport proves the client's address: the TCP handshake does.
    pub fn proves_address(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp => true,
        }
    }
}

/// The parts of a query that its reply repeats, and the size limit of the reply.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'q> {
    header: Header,
    question: Option<&'q [u8]>,
    edns: Option<Edns>,
    /// The cookie option for the client.
    cookie: Option<[u8; cookie::OPTION]>,
    /// Our maximum UDP payload size, sent in the OPT.
    udp_payload: u16,
    /// Largest reply in bytes.
    pub(super) limit: usize,
}

impl<'q> Envelope<'q> {
    /// The envelope for a well-formed query; `udp_payload` is our own limit in bytes, 512 to 4096.
    pub fn of(query: &Query<'q>, transport: Transport, udp_payload: u16) -> Self {
        Self::new(query.header, query.question_bytes, query.edns, transport, udp_payload)
    }

    /// The envelope from a query's parts.
    pub fn new(
        header: Header,
        question: &'q [u8],
        edns: Option<Edns>,
        transport: Transport,
        udp_payload: u16,
    ) -> Self {
        let limit = match (transport, edns) {
            (Transport::Tcp, _) => MAX_MESSAGE,
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_payload.min(udp_payload)),
            (Transport::Udp, None) => usize::from(MIN_UDP_PAYLOAD),
        };
        Self { header, question: Some(question), edns, cookie: None, udp_payload, limit }
    }

    /// The envelope for a message of which only the header, and perhaps the question, could be parsed.
    pub fn of_header(header: Header, question: Option<&'q [u8]>) -> Self {
        let limit = usize::from(MIN_UDP_PAYLOAD);
        Self { header, question, edns: None, cookie: None, udp_payload: MIN_UDP_PAYLOAD, limit }
    }

    /// This envelope with a cookie, if the client sent EDNS. The cookie precedes all other options and always fits:
    /// header, the longest question and the OPT with the cookie take 310 bytes.
    pub fn with_cookie(self, cookie: Option<[u8; cookie::OPTION]>) -> Self {
        Self { cookie: cookie.filter(|_| self.edns.is_some()), ..self }
    }

    /// This envelope without cookie, or without OPT, for a TCP reply that does not fit with them. No transport carries
    /// more than TCP, so the client could not get the answer otherwise.
    fn smaller(&self) -> Option<Self> {
        match self {
            _ if self.limit < MAX_MESSAGE => None,
            Self { cookie: Some(_), .. } => Some(Self { cookie: None, ..*self }),
            Self { edns: Some(_), .. } => Some(Self { edns: None, ..*self }),
            _ => None,
        }
    }

    /// True if the reply has a cookie.
    pub fn has_cookie(&self) -> bool {
        self.cookie.is_some()
    }

    /// True if the client asks for structured errors.
    pub fn wants_structured_errors(&self) -> bool {
        self.edns.is_some_and(|edns| edns.wants_structured_errors)
    }

    /// The name of the question.
    pub fn name(&self) -> Option<Name> {
        let name = self.question.and_then(|question| question.split_last_chunk::<4>())?.0;
        Name::parse(name).ok()
    }

    /// Length of our OPT record with the cookie and no other options, in bytes.
    pub(super) fn opt_len(&self) -> usize {
        let cookie = self.cookie.map_or(0, |cookie| cookie.len());
        self.edns.map_or(0, |_| OPT_FIXED + cookie)
    }

    /// Starts a reply: header and question, with opcode, RD and CD copied (RFC 1035 section 4.1.1, RFC 4035 section
    /// 3.1.6).
    pub(super) fn begin(&self, out: &mut Vec<u8>, extra: u16, rcode: Rcode, counts: [u16; 3]) {
        out.clear();
        // 0x7800: the opcode.
        let kept = self.header.flags.0 & (Flags::RD | Flags::CD | 0x7800);
        let flags = Flags(Flags::QR | Flags::RA | kept | extra | rcode.0 & 0x0f);
        let additional = counts[2] + u16::from(self.edns.is_some());
        let counts = [u16::from(self.question.is_some()), counts[0], counts[1], additional];
        out.extend_from_slice(&Header { id: self.header.id, flags, counts }.to_bytes());
        out.extend_from_slice(self.question.unwrap_or_default());
    }

    /// Ends a reply with our OPT, if the client sent one (RFC 6891 section 6.1.1): the cookie, and `options` if they
    /// fit. Returns the length of all options.
    pub(super) fn end(&self, out: &mut Vec<u8>, rcode: Rcode, options: &[u8]) -> usize {
        let Some(edns) = self.edns else { return 0 };
        let fits = out.len() + self.opt_len() + options.len() <= self.limit;
        let options = if fits { options } else { &[] };
        let length = self.opt_len() - OPT_FIXED + options.len();
        out.extend_from_slice(&opt_record(edns, self.udp_payload, rcode, length as u16));
        out.extend_from_slice(self.cookie.as_ref().map_or(&[], |cookie| cookie));
        out.extend_from_slice(options);
        length
    }

    /// Ends a reply with our OPT and an Extended DNS Error.
    pub(super) fn end_with_error(&self, out: &mut Vec<u8>, rcode: Rcode, error: Option<ExtendedError<'_>>) {
        let options = self.end(out, rcode, &[]);
        if let Some(ExtendedError { code, text }) = error {
            self.add_error(out, options, code, &[text]);
        }
    }

    /// Ends a reply with our OPT and an Extended DNS Error with the first of `texts` that fits.
    pub(super) fn end_with_text(
        &self,
        out: &mut Vec<u8>,
        rcode: Rcode,
        code: ErrorCode,
        texts: &[&dyn Display],
    ) {
        let options = self.end(out, rcode, &[]);
        self.add_error(out, options, code, texts);
    }

    /// Adds an Extended DNS Error to the OPT at the end, which has `options` bytes of options, with the first of
    /// `texts` that fits. If none does, it is sent without text; if that does not fit either, it is left out.
    fn add_error(&self, out: &mut Vec<u8>, options: usize, code: ErrorCode, texts: &[&dyn Display]) {
        if self.edns.is_none() {
            return;
        }
        let start = out.len();
        out.extend_from_slice(&OPTION_EDE.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&code.0.to_be_bytes());
        let bare = out.len();
        for text in texts {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{text}");
            if out.len() <= self.limit {
                break;
            }
            out.truncate(bare);
        }
        let option = out.len() - start;
        if out.len() > self.limit {
            out.truncate(start);
            return;
        }
        out[start + 2..start + 4].copy_from_slice(&(option as u16 - 4).to_be_bytes());
        let length = start - options - 2;
        out[length..length + 2].copy_from_slice(&((options + option) as u16).to_be_bytes());
    }
}

/// Our OPT record up to its options.
fn opt_record(edns: Edns, udp_payload: u16, rcode: Rcode, options: u16) -> [u8; OPT_FIXED] {
    let dnssec_ok = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
    let [kind, kind_low] = Type::OPT.0.to_be_bytes();
    let [payload, payload_low] = udp_payload.to_be_bytes();
    let [a, b, c, d] = (u32::from(rcode.0 >> 4) << 24 | dnssec_ok).to_be_bytes();
    let [options, options_low] = options.to_be_bytes();
    [0, kind, kind_low, payload, payload_low, a, b, c, d, options, options_low]
}

/// An Extended DNS Error of our own (RFC 8914).
#[derive(Clone, Copy)]
pub struct ExtendedError<'t> {
    /// INFO-CODE.
    pub code: ErrorCode,
    /// EXTRA-TEXT, for users.
    pub text: &'t dyn Display,
}

/// The reply to an opcode other than QUERY: only a header. RA, CD and the counts may have other meanings for other
/// opcodes (RFC 6895 section 2.2); RD is always copied (RFC 1035 section 4.1.1).
pub fn not_implemented(out: &mut Vec<u8>, header: Header) {
    let opcode = u16::from(header.flags.opcode()) << 11;
    let flags = Flags(Flags::QR | opcode | header.flags.0 & Flags::RD | Rcode::NOTIMP.0);
    out.clear();
    out.extend_from_slice(&Header { id: header.id, flags, counts: [0; 4] }.to_bytes());
}

/// A reply without records, for an error code such as REFUSED, SERVFAIL or BADCOOKIE.
pub fn error(out: &mut Vec<u8>, envelope: &Envelope<'_>, rcode: Rcode, error: Option<ExtendedError<'_>>) {
    envelope.begin(out, 0, rcode, [0, 0, 0]);
    envelope.end_with_error(out, rcode, error);
}

/// SERVFAIL with an Extended DNS Error, with the first of `texts` that fits.
pub fn failure(out: &mut Vec<u8>, envelope: &Envelope<'_>, code: ErrorCode, texts: &[&dyn Display]) {
    envelope.begin(out, 0, Rcode::SERVFAIL, [0, 0, 0]);
    envelope.end_with_text(out, Rcode::SERVFAIL, code, texts);
}

/// Question and OPT with TC=1: the client must retry over TCP.
pub fn truncated(out: &mut Vec<u8>, envelope: &Envelope<'_>, rcode: Rcode) {
    envelope.begin(out, Flags::TC, rcode, [0, 0, 0]);
    envelope.end(out, rcode, &[]);
}

/// The minimal answer to ANY: one HINFO that names the RFC (RFC 8482 section 4.2).
pub fn minimal_any(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    envelope.begin(out, 0, Rcode::NOERROR, [1, 0, 0]);
    record_of_question(out, Type::HINFO, ANY_TTL, b"\x07RFC8482\0");
    envelope.end(out, Rcode::NOERROR, &[]);
}

/// TTL of a minimal answer to ANY in seconds: long enough to be cached, short enough to be harmless.
const ANY_TTL: u32 = 3600;

/// The server's identity in class CH (RFC 4892); `text` is cut at 255 bytes.
pub fn identity(out: &mut Vec<u8>, envelope: &Envelope<'_>, text: &str) {
    envelope.begin(out, 0, Rcode::NOERROR, [1, 0, 0]);
    let text = &text.as_bytes()[..text.len().min(255)];
    let mut data = vec![text.len() as u8];
    data.extend_from_slice(text);
    let at = out.len();
    record_of_question(out, Type::TXT, 0, &data);
    // The record's class is the question's: CH.
    out[at + 4..at + 6].copy_from_slice(&3_u16.to_be_bytes());
    envelope.end(out, Rcode::NOERROR, &[]);
}

/// A compression pointer to the question's name, which has a fixed offset (RFC 1035 section 4.1.4).
pub(super) const NAME_OF_QUESTION: [u8; 2] = [0xc0, HEADER as u8];

/// A record in class IN owned by the name of the question.
fn record_of_question(out: &mut Vec<u8>, kind: Type, ttl: u32, data: &[u8]) {
    out.extend_from_slice(&NAME_OF_QUESTION);
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

/// How an answer's TTLs change on the way to the client.
#[derive(Clone, Copy, Debug)]
pub enum Ageing {
    /// TTLs are reduced by the answer's age.
    By {
        /// Time since the answer was received.
        age: Duration,
        /// Upper limit of each TTL, before the age is subtracted.
        max_ttl: Duration,
    },
    /// The answer has expired: all TTLs become 30 s, and an Extended DNS Error says so.
    Stale,
}

impl Ageing {
    /// TTLs stay unchanged.
    pub const NONE: Self = Self::By { age: Duration::ZERO, max_ttl: Duration::MAX };

    /// A function that maps each TTL of an answer to the TTL that the client gets.
    fn of(self, lifetime: Lifetime) -> impl Fn(u32) -> u32 {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let (age, max) = match self {
            Self::By { age, max_ttl } => (seconds(age), seconds(max_ttl)),
            Self::Stale => (0, STALE_TTL),
        };
        let max = match lifetime {
            // RFC 2308 section 5: the SOA of a negative answer is sent with the remaining lifetime.
            Lifetime::Negative(ttl) => ttl.min(max),
            _ => max,
        };
        move |ttl| match self {
            Self::By { .. } => ttl.min(max).saturating_sub(age),
            Self::Stale => STALE_TTL,
        }
    }
}

/// TTL of stale answers in seconds (RFC 8767 section 4: "RECOMMENDED to be 30 seconds").
const STALE_TTL: u32 = 30;

/// A reply with an upstream's answer: records, response code, AD and Extended DNS Errors. TTLs are capped and reduced
/// by the answer's age.
///
/// An answer that does not fit is sent without additional records. If that is not enough: over UDP only question and
/// OPT with TC=1, so that the client retries over TCP; over TCP without the cookie, then without OPT. RFC 2181 section
/// 9: TC is not set "merely because some extra information could have been included, but there was insufficient room".
pub fn answer(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    answer: AnswerRef<'_>,
    ageing: Ageing,
    authoritative: bool,
) {
    let rcode = answer.rcode();
    let question = envelope.question.map_or(0, <[u8]>::len);
    let room = envelope.limit.saturating_sub(HEADER + question + envelope.opt_len());
    let (mut records, mut counts) = (answer.records(), answer.head().counts);
    if records.len() > room {
        (records, counts[2]) = (answer.needed_records(), 0);
        if records.len() > room {
            return match envelope.smaller() {
                Some(envelope) => self::answer(out, &envelope, answer, ageing, authoritative),
                None => truncated(out, envelope, rcode),
            };
        }
    }
    // RFC 6840 section 5.7: AD concerns only clients that set DO (or AD) in their query.
    let wants_ad = envelope.edns.is_some_and(|edns| edns.dnssec_ok) || envelope.header.flags.has(Flags::AD);
    let ad = if wants_ad { answer.head().flags.0 & Flags::AD } else { 0 };
    let aa = if authoritative { Flags::AA } else { 0 };
    envelope.begin(out, ad | aa, rcode, counts);
    let records_at = out.len();
    out.extend_from_slice(records);
    let age_ttl = ageing.of(answer.lifetime());
    for offset in answer.ttl_offsets() {
        if let Some(field) = out.get_mut(records_at + offset..).and_then(|rest| rest.first_chunk_mut::<4>()) {
            // RFC 2181 section 8: a TTL with the top bit set counts as zero.
            let ttl = Some(u32::from_be_bytes(*field)).filter(|ttl| *ttl <= i32::MAX as u32).unwrap_or(0);
            *field = age_ttl(ttl).to_be_bytes();
        }
    }
    let options = envelope.end(out, rcode, answer.extended_errors());
    if matches!(ageing, Ageing::Stale) {
        let code = if rcode == Rcode::NXDOMAIN { ErrorCode::STALE_NXDOMAIN } else { ErrorCode::STALE_ANSWER };
        envelope.add_error(out, options, code, &[]);
    }
}
