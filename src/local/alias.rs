//! Alias chains over several responses: finds where one ends and joins the next response to it.

use hickory_proto::op::Message;

use crate::wire::code::{Rcode, Type};
use crate::wire::header::{HEADER, Header};
use crate::wire::name::Name;
use crate::wire::query::question_end;
use crate::wire::section;

/// The number of aliases in `message` and the name they lead to, if the message says nothing about that name.
pub(super) fn open_end(message: &[u8]) -> Option<(usize, Name)> {
    let header = Header::parse(message)?;
    let (qtype, _) = question_end(message)?;
    // An authority section means that the name or type does not exist.
    if header.flags.rcode() != Rcode::NOERROR.0
        || header.counts[2] > 0
        || matches!(qtype, Type::CNAME | Type::ANY)
    {
        return None;
    }
    let mut aliases = 0;
    let mut last = None;
    for record in section::records(message).filter(|record| record.is_answer) {
        aliases += usize::from(record.kind == Type::CNAME);
        last = Some(record);
    }
    let last = last.filter(|record| record.kind == Type::CNAME)?;
    Some((aliases, last.target().ok()??))
}

/// `question` (header and question only) with another name.
pub(super) fn with_name(question: &[u8], name: &Name) -> Vec<u8> {
    let type_and_class = &question[question.len() - 4..];
    [&question[..HEADER], name.as_bytes(), type_and_class].concat()
}

/// Completes `message`, whose answer ends with an alias, with `next`, the response to the same question for the alias's
/// target. The code comes from the last response (RFC 6604 section 3), AA from the first (RFC 1034 section 4.3.2: AA
/// is about the first owner name). `None` if one of them cannot be parsed.
pub fn join(message: &[u8], next: &[u8]) -> Option<Vec<u8>> {
    let (mut message, next) = (Message::from_vec(message).ok()?, Message::from_vec(next).ok()?);
    message.metadata.response_code = next.metadata.response_code;
    message.answers.extend(next.answers);
    message.authorities = next.authorities;
    message.additionals = next.additionals;
    message.edns = next.edns;
    message.to_vec().ok()
}
