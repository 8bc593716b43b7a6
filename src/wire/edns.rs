//! [`Edns`]: what a client's OPT record says (RFC 6891), and the record walk it needs.

use super::code::Rcode;
use super::cookie::{Cookie, OPTION_COOKIE};

/// UDP payload every client must accept without EDNS, in bytes (RFC 1035 section 2.3.4).
pub const MIN_UDP_PAYLOAD: u16 = 512;
/// Option code of Extended DNS Errors (RFC 8914 section 2).
pub const OPTION_EDE: u16 = 15;
/// Option code of padding (RFC 7830 section 3).
pub const OPTION_PADDING: u16 = 12;
/// The DO bit in an OPT record's TTL: the client wants DNSSEC records (RFC 3225).
pub const DNSSEC_OK: u32 = 0x8000;

/// A well-formed OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload the sender can take, in bytes; at least 512.
    pub udp_payload: u16,
    /// Version asked for; 0 is the only one there is.
    pub version: u8,
    /// DO.
    pub dnssec_ok: bool,
    /// What its COOKIE option holds, in a query.
    pub cookie: Option<Cookie>,
}

/// The fixed part and the data of an OPT record, still unread.
#[derive(Clone, Copy, Debug)]
pub struct OptRecord<'a> {
    class: u16,
    ttl: u32,
    /// Options as they stand.
    pub options: &'a [u8],
}

impl<'a> OptRecord<'a> {
    /// Takes an OPT record apart from its CLASS, TTL and RDATA.
    pub fn new(class: u16, ttl: u32, options: &'a [u8]) -> Self {
        Self { class, ttl, options }
    }

    /// What the record says; none where its options do not fill the data exactly.
    pub fn edns(&self) -> Option<Edns> {
        // A malformed option list that a later rewrite might make valid must not pass (CVE-2026-42004).
        if self.options().any(|option| option.is_none()) {
            return None;
        }
        Some(Edns {
            // RFC 6891 section 6.2.3: "values lower than 512 MUST be treated as equal to 512"
            udp_payload: self.class.max(MIN_UDP_PAYLOAD),
            version: (self.ttl >> 16) as u8,
            dnssec_ok: self.ttl & DNSSEC_OK != 0,
            cookie: None,
        })
    }

    /// The same for a query, with the client's cookie; none where a COOKIE option has no length that it can have.
    pub fn query_edns(&self) -> Option<Edns> {
        let edns = self.edns()?;
        if self.options.is_empty() {
            return Some(edns);
        }
        // RFC 7873 section 5.2: of several COOKIE options all but the first are ignored.
        let cookie = self.options().flatten().find(|(code, _)| *code == OPTION_COOKIE);
        let cookie = cookie.map(|(_, data)| Cookie::parse(data).ok_or(())).transpose();
        Some(Edns { cookie: cookie.ok()?, ..edns })
    }

    /// The upper eight bits of the response code, in their place (RFC 6891 section 6.1.3).
    pub fn rcode(&self, lower: u16) -> Rcode {
        Rcode((self.ttl >> 24) as u16 * 16 + lower)
    }

    /// Options in order; an item is none where an option runs past the end, and is then the last one.
    pub fn options(&self) -> EdnsOptions<'a> {
        EdnsOptions { rest: self.options }
    }
}

/// Options of an OPT record: code and data, or none for a broken end.
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
