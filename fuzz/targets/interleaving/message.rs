//! Builds messages of clients and upstreams, with marks that identify their data.

use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use namegate::wire::query::Question;
use namegate::wire::request::AnswerFlags;

use super::super::{Flags, HEADER, Header, Name, Type};

/// Marks from here on are an attacker's.
pub(super) const FORGED: u32 = 0x8000_0000;

/// Content of a message from an upstream.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "there are few of them at a time")]
pub(super) enum Body {
    /// A record of the queried type, at the queried name or at the alias.
    Data { mark: u32, ttl: u32, alias: Option<Name> },
    /// NXDOMAIN or NODATA.
    Negative { mark: u32, ttl: u32, rcode: u16 },
    /// Only a response code.
    Bare { flags: u16 },
}

/// A client's query.
pub(super) fn query(id: u16, question: &Question, flags: AnswerFlags, recursion_desired: bool) -> Vec<u8> {
    let mut header = Flags(0);
    header.0 |= if recursion_desired { Flags::RD } else { 0 };
    header.0 |= if flags.checking_disabled { Flags::CD } else { 0 };
    let counts = [1, 0, 0, u16::from(flags.dnssec_ok)];
    let mut message = Header { id, flags: header, counts }.to_bytes().to_vec();
    push_question(&mut message, question);
    if flags.dnssec_ok {
        message.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    }
    message
}

/// A message from an upstream.
pub(super) fn reply(id: u16, question: &Question, body: &Body) -> Vec<u8> {
    let (flags, counts) = match body {
        Body::Data { alias, .. } => (0, [1, 1 + u16::from(alias.is_some()), 0, 0]),
        Body::Negative { rcode, .. } => (*rcode, [1, 0, 1, 0]),
        Body::Bare { flags } => (*flags, [1, 0, 0, 0]),
    };
    let mut message =
        Header { id, flags: Flags(Flags::QR | Flags::RD | Flags::RA | flags), counts }.to_bytes().to_vec();
    push_question(&mut message, question);
    match body {
        Body::Data { mark, ttl, alias } => {
            let mut owner = vec![0xc0, HEADER as u8];
            if let Some(alias) = alias {
                push_record(&mut message, &owner, Type::CNAME, *ttl, alias.as_bytes());
                owner = alias.as_bytes().to_vec();
            }
            push_record(&mut message, &owner, question.qtype, *ttl, &data(question.qtype, *mark));
        }
        Body::Negative { mark, ttl, .. } => {
            let fixed = [*mark, 1, 1, 1, *ttl].map(u32::to_be_bytes).concat();
            let data = [&b"\x08upstream\0\0"[..], &fixed].concat();
            push_record(&mut message, &[0xc0, HEADER as u8], Type::SOA, *ttl, &data);
        }
        Body::Bare { .. } => {}
    }
    message
}

fn push_question(message: &mut Vec<u8>, question: &Question) {
    message.extend_from_slice(question.name.as_bytes());
    message.extend_from_slice(&question.qtype.0.to_be_bytes());
    message.extend_from_slice(&question.class.0.to_be_bytes());
}

fn push_record(message: &mut Vec<u8>, owner: &[u8], kind: Type, ttl: u32, data: &[u8]) {
    message.extend_from_slice(owner);
    message.extend_from_slice(&kind.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&ttl.to_be_bytes());
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
}

/// Record data of a type, holding a mark.
fn data(qtype: Type, mark: u32) -> Vec<u8> {
    let mark = mark.to_be_bytes();
    match qtype {
        Type::A => mark.to_vec(),
        Type::AAAA => [&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0][..], &mark].concat(),
        _ => [&[4][..], &mark].concat(),
    }
}

/// The marks in a message, each with its TTL in the message.
pub(super) fn marks(message: &Message) -> impl Iterator<Item = (u32, u32)> {
    let records = message.answers.iter().chain(&message.authorities);
    records.filter_map(|record| {
        let mark = match &record.data {
            RData::A(address) => u32::from_be_bytes(address.0.octets()),
            RData::AAAA(address) => u32::from_be_bytes(*address.0.octets().last_chunk()?),
            RData::TXT(text) => u32::from_be_bytes(*text.txt_data.first()?.first_chunk()?),
            // The only other SOA, that of blocked names, is namegate's own.
            RData::SOA(soa) if soa.mname.to_ascii() == "upstream." => soa.serial,
            _ => return None,
        };
        Some((mark, record.ttl))
    })
}
