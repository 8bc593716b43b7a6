//! Answer records of a message as text.

use hickory_proto::op::Message;

/// The records of the answer section, each as `TTL TYPE DATA`, with the owner name in front if it differs from the
/// question's. Empty if the message is malformed.
///
/// The double quote and everything except printable ASCII is escaped as `\u{…}`.
pub fn records(message: &[u8]) -> Vec<String> {
    let Ok(message) = Message::from_vec(message) else { return Vec::new() };
    let asked = message.queries.first().map(|query| query.name().clone());
    let record = |record: &hickory_proto::rr::Record| {
        let owner =
            if asked.as_ref() == Some(&record.name) { String::new() } else { format!("{} ", record.name) };
        escape(&format!("{owner}{} {} {}", record.ttl, record.record_type(), record.data))
    };
    message.answers.iter().map(record).collect()
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '"' => escaped.extend(c.escape_unicode()),
            ' '..='~' => escaped.push(c),
            c => escaped.extend(c.escape_unicode()),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::str::FromStr;

    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, CNAME, TXT};
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::*;

    #[test]
    fn records_are_shown_on_one_printable_line_each() {
        let name = |text: &str| Name::from_str(text).unwrap();
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name("a.example."), RecordType::A));
        message.add_answer(Record::from_rdata(
            name("a.example."),
            60,
            RData::CNAME(CNAME(name("b.example."))),
        ));
        message.add_answer(Record::from_rdata(name("b.example."), 30, RData::A(A::new(192, 0, 2, 1))));
        let hostile = "\u{1b}[31m\" \n\u{202e}".to_owned();
        message.add_answer(Record::from_rdata(name("b.example."), 5, RData::TXT(TXT::new(vec![hostile]))));
        let records = records(&message.to_vec().unwrap());
        assert_eq!(records[..2], ["60 CNAME b.example.", "b.example. 30 A 192.0.2.1"]);
        assert!(records[2].bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'), "{records:?}");
    }

    #[test]
    fn what_is_no_message_has_no_records() {
        assert!(records(b"short").is_empty());
    }
}
