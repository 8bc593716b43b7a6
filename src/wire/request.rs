//! Queries to upstreams: built from the folded question and the flags DO and CD, so nothing else from the client leaves
//! this host.

use super::code::Type;
use super::edns::{DNSSEC_OK, OPTION_PADDING};
use super::header::{Flags, HEADER, Header};
use super::letter_case::LetterCase;
use super::query::Question;
use super::reply::OPT_FIXED;

/// UDP payload offered to upstreams, in bytes: no fragmentation with an MTU of 1280 bytes or more (DNS flag day 2020).
/// Azure's network drops fragments that arrive out of order.
pub const UPSTREAM_PAYLOAD: u16 = 1232;

/// Client flags that change the upstream's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerFlags {
    /// DO: DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
    /// CD: the client accepts unvalidated data (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
}

/// Clears `out` and writes a query with `id` for `question` into it.
pub fn write(out: &mut Vec<u8>, id: u16, question: &Question, flags: AnswerFlags) {
    out.clear();
    let checking_disabled = if flags.checking_disabled { Flags::CD } else { 0 };
    // RFC 6840 section 5.7: AD in a query says that the sender understands AD in the response.
    let flags_sent = Flags(Flags::RD | Flags::AD | checking_disabled);
    let header = Header { id, flags: flags_sent, counts: [1, 0, 0, 1] };
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

/// Like [`write()`] without an OPT record, for servers that do not know EDNS (RFC 6891 section 7).
pub fn write_without_edns(out: &mut Vec<u8>, id: u16, question: &Question, flags: AnswerFlags) {
    write(out, id, question, flags);
    out.truncate(out.len() - OPT_FIXED);
    // ARCOUNT is the last field of the header.
    out[HEADER - 2..HEADER].fill(0);
}

/// Like [`write()`], with the letters of the name in `case`, if given, and with an OPT record if `edns` is true.
pub fn write_in_case(
    out: &mut Vec<u8>,
    id: u16,
    question: &Question,
    flags: AnswerFlags,
    case: Option<LetterCase>,
    edns: bool,
) {
    match edns {
        true => write(out, id, question, flags),
        false => write_without_edns(out, id, question, flags),
    }
    if let Some(case) = case {
        case.apply(&mut out[HEADER..HEADER + question.name.wire_len()]);
    }
}

/// A padded query's length is a multiple of this, in bytes (RFC 8467 section 4.1).
pub const PADDED: usize = 128;

/// Like [`write()`], with a padding option (RFC 7830): the length of an encrypted query does not reveal the name.
pub fn write_padded(out: &mut Vec<u8>, id: u16, question: &Question, flags: AnswerFlags) {
    write(out, id, question, flags);
    let padding = (out.len() + OPTION_HEADER).next_multiple_of(PADDED) - (out.len() + OPTION_HEADER);
    let data_length = out.len() - 2;
    // Both fit: a query has at most 12 + 255 + 4 + 11 bytes, and the options have at most 4 + 127.
    out[data_length..].copy_from_slice(&((OPTION_HEADER + padding) as u16).to_be_bytes());
    out.extend_from_slice(&OPTION_PADDING.to_be_bytes());
    out.extend_from_slice(&(padding as u16).to_be_bytes());
    out.resize(out.len() + padding, 0);
}

/// Length of an EDNS option's code and length fields, in bytes (RFC 6891 section 6.1.2).
const OPTION_HEADER: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::code::Class;
    use crate::wire::edns::OptRecord;
    use crate::wire::name::Name;

    fn labels(name: &str) -> Name {
        Name::from_labels(name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).unwrap()
    }

    #[test]
    fn without_edns_only_the_opt_record_is_left_out() {
        let question = Question { name: labels("ml.azure.com"), qtype: Type(1), class: Class::IN };
        let flags = AnswerFlags { dnssec_ok: true, checking_disabled: true };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        write(&mut with, 7, &question, flags);
        write_without_edns(&mut without, 7, &question, flags);
        assert_eq!(without.len() + OPT_FIXED, with.len());
        assert_eq!((with[11], without[11]), (1, 0));
        with[11] = 0;
        assert_eq!(with[..without.len()], without);
    }

    #[test]
    fn padded_queries_differ_in_nothing_but_the_option() {
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        let flags = AnswerFlags { dnssec_ok: true, checking_disabled: true };
        for (name, length) in [(".", 128), ("ml.azure.com", 128), (&"a".repeat(60), 128), (&longest, 384)] {
            let question = Question { name: labels(name), qtype: Type(1), class: Class::IN };
            let (mut plain, mut padded) = (Vec::new(), Vec::new());
            write(&mut plain, 7, &question, flags);
            write_padded(&mut padded, 7, &question, flags);
            assert_eq!(padded.len(), length, "{name}");
            let fixed = plain.len() - 2;
            assert_eq!(plain[..fixed], padded[..fixed], "{name}");
            let data_length = usize::from(u16::from_be_bytes([padded[fixed], padded[fixed + 1]]));
            assert_eq!(data_length, padded.len() - plain.len(), "{name}");
            let options: Vec<_> = OptRecord::new(1232, 0, &padded[plain.len()..]).options().collect();
            assert_eq!(
                options,
                [Some((OPTION_PADDING, &vec![0; data_length - OPTION_HEADER][..]))],
                "{name}"
            );
        }
    }
}
