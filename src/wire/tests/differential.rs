//! A client's message as namegate and as hickory-proto parse it. Property tests and fuzz targets compare both.
//!
//! The fuzz targets include this file unchanged, so it may use only names that its parent module has.

use hickory_proto::op::Message;

use super::{Flags, Header, Malformed, Query, Question, Type, parse_question};

/// What both parsers must agree on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    name: Vec<u8>,
    qtype: u16,
    class: u16,
    edns: Option<SeenEdns>,
}

#[derive(Debug, PartialEq, Eq)]
struct SeenEdns {
    version: u8,
    dnssec_ok: bool,
    udp_payload: u16,
}

/// What namegate parses from a message that it accepts as a query.
pub(super) fn ours(message: &[u8]) -> Option<Seen> {
    let mut question = Question::empty();
    let (Ok(query) | Err(Malformed::Version(query))) = Query::parse(message, &mut question) else {
        return None;
    };
    let edns = query.edns.map(|edns| SeenEdns {
        version: edns.version,
        dnssec_ok: edns.dnssec_ok,
        udp_payload: edns.udp_payload,
    });
    let Question { name, qtype, class } = query.question;
    Some(Seen { name: name.as_bytes().to_vec(), qtype: qtype.0, class: class.0, edns })
}

/// What hickory-proto parses from any message with one question.
pub(super) fn theirs(message: &[u8]) -> Option<Seen> {
    let decoded = Message::from_vec(message).ok()?;
    let [query] = decoded.queries.as_slice() else { return None };
    let mut name = Vec::new();
    for label in query.name().iter() {
        name.push(label.len() as u8);
        name.extend(label.to_ascii_lowercase());
    }
    name.push(0);
    let edns = decoded.edns.as_ref().map(|edns| SeenEdns {
        version: edns.version(),
        dnssec_ok: edns.flags().dnssec_ok,
        udp_payload: edns.max_payload(),
    });
    Some(Seen { name, qtype: query.query_type().into(), class: query.query_class().into(), edns })
}

/// Why namegate refuses what hickory accepts; `None` if there is no reason.
fn stricter(message: &[u8]) -> Option<&'static str> {
    let header = Header::parse(message)?;
    match header {
        _ if header.flags.has(Flags::QR) => return Some("responses are never answered"),
        _ if header.flags.opcode() != 0 => return Some("only opcode QUERY is served"),
        _ if header.counts[0] != 1 => return Some("exactly one question (RFC 9619)"),
        _ if header.counts[1] != 0 || header.counts[2] != 0 || header.counts[3] > 1 => {
            return Some("a query has no record except one OPT");
        }
        _ => {}
    }
    let Some((_, end)) = parse_question(message) else {
        return Some("a question is not compressed");
    };
    match header.counts[3] {
        0 => (message.len() > end).then_some("nothing follows the last record"),
        _ if message.get(end) != Some(&0) => Some("OPT is owned by the root (RFC 6891), TSIG is not served"),
        _ if message.get(end + 1..end + 3) != Some(&Type::OPT.0.to_be_bytes()) => {
            Some("the only record must be an OPT")
        }
        _ if message.len()
            != end + 11 + usize::from(u16::from_be_bytes([message[end + 9], message[end + 10]])) =>
        {
            Some("the OPT must fill the message")
        }
        _ => Some("options must fill the OPT exactly, and a COOKIE must have a valid length (RFC 7873)"),
    }
}

/// Why namegate accepts what hickory refuses; `None` if there is no reason.
fn laxer(message: &[u8]) -> Option<&'static str> {
    let header = Header::parse(message)?;
    (header.counts[3] == 1).then_some("other options of the client are neither parsed nor forwarded")
}

/// Asserts that both parsers agree, or that there is a reason why not.
pub(super) fn compare(message: &[u8]) {
    match (ours(message), theirs(message)) {
        (Some(ours), Some(theirs)) => assert_eq!(ours, theirs, "{message:02x?}"),
        (None, None) => {}
        (None, Some(_)) => assert!(stricter(message).is_some(), "only hickory accepts {message:02x?}"),
        (Some(_), None) => assert!(laxer(message).is_some(), "only we accept {message:02x?}"),
    }
}
