//! [`Probe`]: a query and the expected reply.

use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, RecordType};

use crate::wire::code::ErrorCode;
use crate::wire::edns::OPTION_EDE;

/// A query and the expected reply.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its group in a report, such as `types`.
    pub aspect: &'static str,
    /// The query as text, such as `example.com HTTPS, DO`.
    pub what: String,
    /// The message. The id is set when it is sent.
    pub query: Vec<u8>,
    /// The expected reply.
    pub wanted: Wanted,
}

/// The expected reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// NOERROR with an address.
    Address,
    /// A denial by namegate.
    Denial,
    /// REFUSED, without records.
    Refusal,
    /// Any error code, without records.
    Error,
}

/// The result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeFinding {
    /// The reply is as expected.
    Proven,
    /// The server does not serve this client, so nothing is proven.
    Prohibited,
    /// The reply is not as expected, for this reason.
    Failed(String),
}

/// MNAME in the SOA of namegate's denials.
const OWN_SERVER: &str = "namegate.invalid.";

impl Wanted {
    /// Timeout for the reply. Denials need no upstream, and other answers arrive within namegate's own deadline (4.5 s
    /// by default).
    pub fn patience(self) -> Duration {
        match self {
            Self::Address => Duration::from_secs(7),
            Self::Denial | Self::Refusal | Self::Error => Duration::from_secs(1),
        }
    }

    /// Checks a reply. `serial` is the current policy's.
    pub fn check(self, reply: &[u8], serial: u32) -> ProbeFinding {
        let failed = |what: &str| ProbeFinding::Failed(what.to_owned());
        let Some(counts) = reply.get(6..12) else { return failed("a reply shorter than 12 bytes") };
        // Read from the header, before decoding.
        let has_answers = counts[..2] != [0, 0];
        let message = match Message::from_vec(reply) {
            Ok(message) => message,
            Err(error) => return ProbeFinding::Failed(format!("an unreadable reply: {error}")),
        };
        if extended_error(&message) == Some(ErrorCode::PROHIBITED.0) {
            return ProbeFinding::Prohibited;
        }
        let is_as_wanted = match self {
            Self::Address => has_address(&message),
            _ if has_answers || !message.additionals.is_empty() => false,
            Self::Denial => is_denial(&message, serial),
            Self::Refusal => message.metadata.response_code == ResponseCode::Refused && is_empty(&message),
            Self::Error => message.metadata.response_code != ResponseCode::NoError && is_empty(&message),
        };
        if is_as_wanted { ProbeFinding::Proven } else { ProbeFinding::Failed(shown(&message, serial)) }
    }
}

fn has_address(message: &Message) -> bool {
    let is_address = |data: &RData| matches!(data.record_type(), RecordType::A | RecordType::AAAA);
    let has_address = message.answers.iter().any(|record| is_address(&record.data));
    // A truncated reply is fine: the TCP probe checks the rest.
    message.metadata.response_code == ResponseCode::NoError && (has_address || message.metadata.truncation)
}

/// True for a reply that only namegate sends, and only for a blocked name.
fn is_denial(message: &Message, serial: u32) -> bool {
    match own_serial(message) {
        Some(own) => own == serial,
        // With `block.answer = "refused"` there is no SOA. With EDNS the reply has an EDE; without, only REFUSED.
        None => {
            let says_why = extended_error(message) == Some(ErrorCode::BLOCKED.0);
            message.metadata.response_code == ResponseCode::Refused
                && is_empty(message)
                && (says_why || message.edns.is_none())
        }
    }
}

/// The serial of namegate's SOA, if that is the only record.
fn own_serial(message: &Message) -> Option<u32> {
    match message.authorities.as_slice() {
        // The owner of namegate's SOA is the queried name, never a parent.
        [record] if message.queries.iter().all(|query| *query.name() == record.name) => match &record.data {
            RData::SOA(soa) if soa.mname.to_ascii() == OWN_SERVER => Some(soa.serial),
            _ => None,
        },
        _ => None,
    }
}

fn is_empty(message: &Message) -> bool {
    message.answers.is_empty() && message.authorities.is_empty()
}

/// INFO-CODE of the Extended DNS Error (RFC 8914 section 2).
fn extended_error(message: &Message) -> Option<u16> {
    let options = message.edns.as_ref()?.options().as_ref();
    options.iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(OPTION_EDE, data) => Some(u16::from_be_bytes(*data.first_chunk()?)),
        _ => None,
    })
}

/// The reply as text, without any bytes that the network controls.
fn shown(message: &Message, serial: u32) -> String {
    let code = u16::from(message.metadata.response_code);
    let rcode = match message.metadata.response_code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        _ => format!("response code {code}"),
    };
    let (answers, whose) = (message.answers.len(), own_serial(message));
    let from = match whose {
        Some(own) if own == serial => "denied by the current policy",
        Some(_) => "denied by another policy",
        None => "not denied by namegate",
    };
    format!("{rcode} with {answers} answer records, {from}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tools::prove::matrix::denied_address;
    use crate::wire::code::Rcode;
    use crate::wire::denial::{Denial, blocked};
    use crate::wire::name::Name;
    use crate::wire::query::{Query, Question};
    use crate::wire::reply::{Envelope, Transport};

    const SERIAL: u32 = 7;

    fn query() -> Vec<u8> {
        denied_address("types", &Name::from_labels([&b"example"[..], b"com"]).unwrap()).query
    }

    fn reply(denial: &Denial) -> Vec<u8> {
        let (query, mut question, mut reply) = (query(), Question::empty(), Vec::new());
        let query = Query::parse(&query, &mut question).unwrap();
        blocked(&mut reply, &Envelope::of(&query, Transport::Udp, 1232), denial, &[]);
        reply
    }

    /// A reply with this code and no records, as any resolver could send it.
    fn empty(rcode: u8) -> Vec<u8> {
        let mut reply = query();
        (reply[2], reply[3]) = (0x81, 0x80 | rcode);
        reply
    }

    #[test]
    fn only_a_denial_by_the_policy_in_force_is_proof() {
        let negative = |rcode, serial| reply(&Denial::negative(rcode, 30, serial, "not listed"));
        for (shown, reply, proven) in [
            ("NXDOMAIN", negative(Rcode::NXDOMAIN, SERIAL), true),
            ("NOERROR", negative(Rcode::NOERROR, SERIAL), true),
            ("REFUSED", reply(&Denial::refused("not listed")), true),
            ("denied by another policy", negative(Rcode::NXDOMAIN, SERIAL + 1), false),
            ("NXDOMAIN with 0 answer records, not denied by namegate", empty(3), false),
            ("NOERROR with 0 answer records, not denied by namegate", empty(0), false),
            ("SERVFAIL with 0 answer records", empty(2), false),
            ("shorter than 12 bytes", vec![0; 11], false),
            ("unreadable", empty(3)[..14].to_vec(), false),
        ] {
            match Wanted::Denial.check(&reply, SERIAL) {
                ProbeFinding::Proven => assert!(proven, "{shown}"),
                ProbeFinding::Failed(found) => assert!(!proven && found.contains(shown), "{shown}: {found}"),
                ProbeFinding::Prohibited => panic!("{shown}"),
            }
        }
    }

    #[test]
    fn refusals_and_errors_have_no_records() {
        for (wanted, rcode, proven) in [
            (Wanted::Refusal, 5, true),
            (Wanted::Refusal, 3, false),
            (Wanted::Error, 1, true),
            (Wanted::Error, 4, true),
            (Wanted::Error, 0, false),
            (Wanted::Address, 0, false),
            (Wanted::Address, 3, false),
        ] {
            let finding = wanted.check(&empty(rcode), SERIAL);
            assert_eq!(finding == ProbeFinding::Proven, proven, "{wanted:?} {rcode}: {finding:?}");
        }
        let mut with_answer = empty(5);
        with_answer[7] = 1;
        with_answer.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        for wanted in [Wanted::Denial, Wanted::Refusal, Wanted::Error] {
            assert_ne!(wanted.check(&with_answer, SERIAL), ProbeFinding::Proven, "{wanted:?}");
        }
        with_answer[3] = 0x80;
        assert_eq!(Wanted::Address.check(&with_answer, SERIAL), ProbeFinding::Proven);
    }
}
