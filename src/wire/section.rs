//! Iterates over the records of a message: finds the names and addresses they lead to, and ages their TTLs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::code::Type;
use super::header::{HEADER, Header};
use super::name::{MAX_NAME, Name};
use super::query::question_end;

/// One record of a message.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'m> {
    /// The whole message: compressed names may point anywhere into it.
    message: &'m [u8],
    /// Its type.
    pub kind: Type,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// True for the answer section, false for the additional section.
    pub is_answer: bool,
    data_at: usize,
    data: &'m [u8],
}

/// The record is malformed for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Records of the answer and the additional section of `message`, up to the first malformed one.
pub fn records(message: &[u8]) -> impl Iterator<Item = RecordRef<'_>> {
    all_records(message).filter(|(is_authority, _)| !is_authority).map(|(_, record)| record)
}

/// All records except OPT, up to the first malformed one, each with true if it is in the authority section.
fn all_records(message: &[u8]) -> impl Iterator<Item = (bool, RecordRef<'_>)> {
    let counts = Header::parse(message).map_or([0; 4], |header| header.counts).map(usize::from);
    let [_, answers, authorities, additionals] = counts;
    let mut at = question_end(message).map_or(message.len(), |(_, end)| end);
    (0..answers + authorities + additionals)
        .map_while(move |index| {
            let (record, end) = record(message, at, index < answers)?;
            at = end;
            Some(((answers..answers + authorities).contains(&index), record))
        })
        .filter(|(_, record)| record.kind != Type::OPT)
}

fn record(message: &[u8], at: usize, is_answer: bool) -> Option<(RecordRef<'_>, usize)> {
    let owner_end = name_end(message, at)?;
    let fixed = message.get(owner_end..)?.first_chunk::<10>()?;
    let data_at = owner_end + 10;
    let end = data_at + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
    let record = RecordRef {
        message,
        kind: Type(u16::from_be_bytes([fixed[0], fixed[1]])),
        ttl: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        is_answer,
        data_at,
        data: message.get(data_at..end)?,
    };
    Some((record, end))
}

impl RecordRef<'_> {
    /// The name a client queries next: the target of a CNAME, HTTPS or SVCB record. `None` if there is no target, or if
    /// it is the owner itself (RFC 9460 section 2.5).
    pub fn target(&self) -> Result<Option<Name>, Unreadable> {
        let at = match self.kind {
            Type::CNAME => self.data_at,
            Type::HTTPS | Type::SVCB => self.data_at + 2,
            _ => return Ok(None),
        };
        let target = expand(self.message, at).ok_or(Unreadable)?;
        Ok(Some(target).filter(|target| !target.is_root()))
    }

    /// Calls `visit` with every address in the record: A, AAAA, and the hints of HTTPS and SVCB (RFC 9460 section 7.3).
    pub fn addresses(&self, mut visit: impl FnMut(IpAddr)) -> Result<(), Unreadable> {
        match self.kind {
            Type::A => visit(Ipv4Addr::from(<[u8; 4]>::try_from(self.data).map_err(|_| Unreadable)?).into()),
            Type::AAAA => {
                visit(Ipv6Addr::from(<[u8; 16]>::try_from(self.data).map_err(|_| Unreadable)?).into());
            }
            Type::HTTPS | Type::SVCB => return hints(self.data, visit).ok_or(Unreadable),
            _ => {}
        }
        Ok(())
    }
}

/// Subtracts `age` seconds from the TTL of every record in `message`. Malformed records and those after them stay
/// unchanged.
pub fn age_ttls(message: &mut [u8], age: u32) {
    if age == 0 {
        return;
    }
    // The data follows the TTL and the data length (RFC 1035 section 3.2.1).
    let places: Vec<usize> = all_records(message).map(|(_, record)| record.data_at - 6).collect();
    for place in places {
        if let Some(ttl) = message.get_mut(place..place + 4).and_then(|ttl| ttl.first_chunk_mut::<4>()) {
            *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
        }
    }
}

/// Keys of the address hints in SVCB parameters (RFC 9460 section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

fn hints(data: &[u8], mut visit: impl FnMut(IpAddr)) -> Option<()> {
    // RFC 9460 section 2.2: the target "MUST NOT" be compressed.
    let target = Name::length(data.get(2..)?).ok()?;
    let mut rest = &data[2 + target..];
    while !rest.is_empty() {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let value = tail.get(..usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        match u16::from_be_bytes([head[0], head[1]]) {
            IPV4_HINT => value.as_chunks::<4>().0.iter().for_each(|hint| visit(Ipv4Addr::from(*hint).into())),
            IPV6_HINT => {
                value.as_chunks::<16>().0.iter().for_each(|hint| visit(Ipv6Addr::from(*hint).into()));
            }
            _ => {}
        }
        rest = &tail[value.len()..];
    }
    Some(())
}

/// Offset of the end of the possibly compressed name at `at`.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            label @ 1..=63 => at += 1 + label,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Expands the possibly compressed name at `at`. Pointers must lead backwards (RFC 1035 section 4.1.4: to "a prior
/// occurance"), so they cannot form a loop.
fn expand(message: &[u8], mut at: usize) -> Option<Name> {
    let mut bytes = [0; MAX_NAME];
    let (mut len, mut lowest) = (0, at);
    loop {
        let label = usize::from(*message.get(at)?);
        match label {
            0..=63 => {
                let whole = message.get(at..at + 1 + label)?;
                bytes.get_mut(len..len + whole.len())?.copy_from_slice(whole);
                len += whole.len();
                at += whole.len();
                if label == 0 {
                    return Name::parse(&bytes[..len]).ok();
                }
            }
            0xc0.. => {
                let target = (label & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if target < HEADER || target >= lowest {
                    return None;
                }
                (at, lowest) = (target, target);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::str::FromStr;

    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey, SvcParamValue};
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, HTTPS, SVCB};
    use hickory_proto::rr::{self, RData, Record, RecordType};
    use proptest::prelude::*;

    use super::*;

    fn host(text: &str) -> rr::Name {
        rr::Name::from_str(text).unwrap()
    }

    fn message(answers: Vec<(&str, RData)>) -> Vec<u8> {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(host("a.example."), RecordType::A));
        for (owner, data) in answers {
            message.add_answer(Record::from_rdata(host(owner), 60, data));
        }
        message.add_authority(Record::from_rdata(host("example."), 60, RData::A(A::new(192, 0, 2, 99))));
        message.add_additional(Record::from_rdata(host("c.example."), 60, RData::A(A::new(192, 0, 2, 7))));
        message.to_vec().unwrap()
    }

    #[test]
    fn targets_and_addresses_are_found_through_compression() {
        let hints = |key, value| (key, value);
        let https = SVCB::new(
            1,
            host("svc.example."),
            vec![
                hints(SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(10, 0, 0, 9)]))),
                hints(
                    SvcParamKey::Ipv6Hint,
                    SvcParamValue::Ipv6Hint(IpHint(vec![AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)])),
                ),
            ],
        );
        let message = message(vec![
            ("a.example.", RData::CNAME(CNAME(host("b.example.")))),
            ("b.example.", RData::CNAME(CNAME(host("C.Example.")))),
            ("c.example.", RData::A(A::new(192, 0, 2, 1))),
            ("c.example.", RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
            ("c.example.", RData::HTTPS(HTTPS(https))),
        ]);
        let targets: Vec<String> = records(&message)
            .filter_map(|record| record.target().unwrap())
            .map(|name| name.to_string())
            .collect();
        assert_eq!(targets, ["b.example", "c.example", "svc.example"]);
        let mut addresses = Vec::new();
        for record in records(&message) {
            record.addresses(|address| addresses.push(address.to_string())).unwrap();
        }
        assert_eq!(addresses, ["192.0.2.1", "2001:db8::1", "10.0.0.9", "fd00::9", "192.0.2.7"]);
    }

    #[test]
    fn a_pointer_that_leads_in_a_circle_is_unreadable() {
        let mut message = message(vec![("a.example.", RData::CNAME(CNAME(host("b.example."))))]);
        let record = records(&message).next().unwrap();
        let at = record.data_at;
        message[at] = 0xc0;
        message[at + 1] = at as u8;
        assert_eq!(records(&message).next().unwrap().target(), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..120usize, cut in 0..120usize) {
            for record in records(&bytes) {
                let _ = (record.target(), record.addresses(|_| {}));
            }
            let mut known = message(vec![("a.example.", RData::CNAME(CNAME(host("b.example."))))]);
            if let (Some(byte), Some(new)) = (known.get_mut(at), bytes.first()) {
                *byte = *new;
            }
            known.truncate(known.len().saturating_sub(cut));
            for record in records(&known) {
                let _ = (record.target(), record.addresses(|_| {}));
            }
        }
    }
}
