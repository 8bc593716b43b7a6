//! The message sent upstream: built from the folded question alone, so that nothing else of the client's can leave.

use super::code::Type;
use super::edns::DNSSEC_OK;
use super::header::{Flags, Header};
use super::query::Question;

/// UDP payload offered to upstreams in bytes: no fragmentation on any path of 1280 bytes or more (DNS flag day 2020);
/// Azure's network drops fragments that arrive out of order.
pub const UPSTREAM_PAYLOAD: u16 = 1232;

/// Header bits of the client that concern the upstream's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerFlags {
    /// DO: DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
    /// CD: unvalidated data will do (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
}

/// Writes a query with `id` for `question` into `out`, which is cleared.
pub fn write(out: &mut Vec<u8>, id: u16, question: &Question, flags: AnswerFlags) {
    out.clear();
    let checking_disabled = if flags.checking_disabled { Flags::CD } else { 0 };
    let header = Header { id, flags: Flags(Flags::RD | checking_disabled), counts: [1, 0, 0, 1] };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(question.name.as_bytes());
    out.extend_from_slice(&question.qtype.0.to_be_bytes());
    out.extend_from_slice(&question.class.0.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&Type::OPT.0.to_be_bytes());
    out.extend_from_slice(&UPSTREAM_PAYLOAD.to_be_bytes());
    out.extend_from_slice(&(if flags.dnssec_ok { DNSSEC_OK } else { 0 }).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
}
