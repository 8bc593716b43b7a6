//! [`Denial`]: the answer for a blocked name.

use std::fmt::Display;

use super::code::{ErrorCode, Rcode, Type};
use super::edns::OPTION_EDE;
use super::reply::{Envelope, NAME_OF_QUESTION};

/// The answer for a blocked name: response code, authority section and default reason, encoded once per policy.
#[derive(Clone, Debug)]
pub struct Denial {
    rcode: Rcode,
    authority: Box<[u8]>,
    /// The default reason as an EDE option.
    reason: Box<[u8]>,
}

impl Denial {
    /// NXDOMAIN or an empty NOERROR, with a SOA that lets clients cache the answer for `ttl` seconds.
    ///
    /// RFC 2308 section 3: negative answers without a SOA are not cached. The owner of the SOA is the blocked name:
    /// with an owner further up, resolvers may conclude that nothing exists below that one. `serial` identifies the
    /// policy, `reason` is the default EDE text.
    pub fn negative(rcode: Rcode, ttl: u32, serial: u32, reason: &str) -> Self {
        let mut soa = NAME_OF_QUESTION.to_vec();
        soa.extend_from_slice(&Type::SOA.0.to_be_bytes());
        soa.extend_from_slice(&[0, 1]);
        soa.extend_from_slice(&ttl.to_be_bytes());
        let mut data = b"\x08namegate\x07invalid\0\x0ahostmaster\x07invalid\0".to_vec();
        for value in [serial, REFRESH, RETRY, EXPIRE, ttl] {
            data.extend_from_slice(&value.to_be_bytes());
        }
        soa.extend_from_slice(&(data.len() as u16).to_be_bytes());
        soa.extend_from_slice(&data);
        Self { rcode, authority: soa.into(), reason: blocked_option(reason) }
    }

    /// REFUSED, without a SOA to cache.
    pub fn refused(reason: &str) -> Self {
        Self { rcode: Rcode::REFUSED, authority: Box::default(), reason: blocked_option(reason) }
    }

    /// The response code for blocked names.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// The response code for a blocked name with allowed names below it: NODATA instead of NXDOMAIN. RFC 8020 section
    /// 2: NXDOMAIN means that nothing exists below the name either.
    pub fn ancestor_rcode(&self) -> Rcode {
        if self.rcode == Rcode::NXDOMAIN { Rcode::NOERROR } else { self.rcode }
    }
}

/// SOA REFRESH, RETRY and EXPIRE in seconds: required, but unused without zone transfers.
const REFRESH: u32 = 3600;
const RETRY: u32 = 600;
const EXPIRE: u32 = 86_400;

/// The Extended DNS Error "Blocked" as an EDNS option.
fn blocked_option(reason: &str) -> Box<[u8]> {
    let mut option = OPTION_EDE.to_be_bytes().to_vec();
    option.extend_from_slice(&(reason.len() as u16 + 2).to_be_bytes());
    option.extend_from_slice(&ErrorCode::BLOCKED.0.to_be_bytes());
    option.extend_from_slice(reason.as_bytes());
    option.into()
}

/// Writes the reply for a blocked name without allowed names below it, with the first of `reasons` that fits; without
/// any, with the default reason.
pub fn blocked(out: &mut Vec<u8>, envelope: &Envelope<'_>, denial: &Denial, reasons: &[&dyn Display]) {
    deny(out, envelope, denial, denial.rcode, reasons);
}

/// Writes the reply for a blocked name with allowed names below it.
pub fn ancestor(out: &mut Vec<u8>, envelope: &Envelope<'_>, denial: &Denial, reasons: &[&dyn Display]) {
    deny(out, envelope, denial, denial.ancestor_rcode(), reasons);
}

#[inline]
fn deny(out: &mut Vec<u8>, envelope: &Envelope<'_>, denial: &Denial, rcode: Rcode, reasons: &[&dyn Display]) {
    let authority = u16::from(!denial.authority.is_empty());
    envelope.begin(out, 0, rcode, [0, authority, 0]);
    out.extend_from_slice(&denial.authority);
    let fits = out.len() + envelope.opt_len() + denial.reason.len() <= envelope.limit;
    match reasons {
        [] if fits => {
            envelope.end(out, rcode, &denial.reason);
        }
        reasons => envelope.end_with_text(out, rcode, ErrorCode::BLOCKED, reasons),
    }
}
