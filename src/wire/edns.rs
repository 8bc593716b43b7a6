//! [`Edns`]: the contents of an OPT record (RFC 6891), and an iterator over its options.

use super::code::Rcode;
use super::cookie::{Cookie, OPTION_COOKIE};

/// UDP payload every client must accept without EDNS, in bytes (RFC 1035 section 2.3.4).
pub const MIN_UDP_PAYLOAD: u16 = 512;
/// Option code of Extended DNS Errors (RFC 8914 section 2).
pub const OPTION_EDE: u16 = 15;
/// Option code with which a client asks for structured errors: no data (draft-ietf-dnsop-structured-dns-error-27, whose
/// code IANA has assigned).
pub const OPTION_STRUCTURED_ERROR: u16 = 26;
/// Option code of padding (RFC 7830 section 3).
pub const OPTION_PADDING: u16 = 12;
/// The DO bit in an OPT record's TTL: the client wants DNSSEC records (RFC 3225).
pub const DNSSEC_OK: u32 = 0x8000;

/// A well-formed OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload that the sender accepts, in bytes; at least 512.
    pub udp_payload: u16,
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// DO.
    pub dnssec_ok: bool,
    /// The COOKIE option of a query.
    pub cookie: Option<Cookie>,
    /// The client asks for structured errors.
    pub wants_structured_errors: bool,
}

/// An OPT record, not yet parsed.
#[derive(Clone, Copy, Debug)]
pub struct OptRecord<'a> {
    class: u16,
    ttl: u32,
    /// The options as received.
    pub options: &'a [u8],
}

impl<'a> OptRecord<'a> {
    /// An OPT record with this CLASS, TTL and RDATA.
    pub fn new(class: u16, ttl: u32, options: &'a [u8]) -> Self {
        Self { class, ttl, options }
    }

    /// Parses the record without the cookie; `None` if the options do not fill the data exactly.
    pub fn edns(&self) -> Option<Edns> {
        // A malformed option list must not pass: a later rewrite could make it valid (CVE-2026-42004).
        if self.options().any(|option| option.is_none()) {
            return None;
        }
        Some(Edns {
            // RFC 6891 section 6.2.3: "values lower than 512 MUST be treated as equal to 512"
            udp_payload: self.class.max(MIN_UDP_PAYLOAD),
            version: (self.ttl >> 16) as u8,
            dnssec_ok: self.ttl & DNSSEC_OK != 0,
            cookie: None,
            wants_structured_errors: false,
        })
    }

    /// Parses the record of a query, with the client's cookie; also `None` if the first COOKIE option has an
    /// invalid length.
    pub fn query_edns(&self) -> Option<Edns> {
        let edns = self.edns()?;
        if self.options.is_empty() {
            return Some(edns);
        }
        // RFC 7873 section 5.2: only the first COOKIE option counts.
        let cookie = self.options().flatten().find(|(code, _)| *code == OPTION_COOKIE);
        let cookie = cookie.map(|(_, data)| Cookie::parse(data).ok_or(())).transpose();
        // The draft: an option with data MUST be ignored.
        let wants_structured_errors =
            self.options().flatten().any(|option| option == (OPTION_STRUCTURED_ERROR, &[]));
        Some(Edns { cookie: cookie.ok()?, wants_structured_errors, ..edns })
    }

    /// The full response code: the upper eight bits from this record, `lower` from the header (RFC 6891 section 6.1.3).
    pub fn rcode(&self, lower: u16) -> Rcode {
        Rcode((self.ttl >> 24) as u16 * 16 + lower)
    }

    /// The options in order. If an option runs past the end, its item is `None` and the last one.
    pub fn options(&self) -> EdnsOptions<'a> {
        EdnsOptions { rest: self.options }
    }
}

/// Iterator over the options of an OPT record: code and data, or `None` for a broken end.
#[derive(Clone, Copy, Debug)]
pub struct EdnsOptions<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for EdnsOptions<'a> {
    type Item = Option<(u16, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let Some((head, rest)) = rest.split_first_chunk::<4>() else {
            return Some(None);
        };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((data, rest)) = rest.split_at_checked(length) else {
            return Some(None);
        };
        self.rest = rest;
        Some(Some((u16::from_be_bytes([head[0], head[1]]), data)))
    }
}
