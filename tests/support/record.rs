//! [`Record`]: one resource record, written and compared as `OWNER TTL TYPE DATA`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::code::{hex, type_number, type_text};
use super::name::to_wire;
use super::reader::{Malformed, Reader};

/// A resource record with uncompressed data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Owner name as text.
    pub(crate) owner: String,
    /// TYPE.
    pub(crate) rtype: u16,
    /// CLASS.
    pub(crate) class: u16,
    /// TTL in seconds.
    pub(crate) ttl: u32,
    /// RDATA, names in it uncompressed.
    pub(crate) data: Vec<u8>,
}

impl Record {
    /// A record of class IN.
    pub(crate) fn new(owner: &str, ttl: u32, rtype: &str, data: Vec<u8>) -> Self {
        Self { owner: owner.to_owned(), rtype: type_number(rtype), class: 1, ttl, data }
    }

    /// Parses `OWNER TTL TYPE DATA`; data of uncommon types is `\# LENGTH HEX` (RFC 3597).
    pub(crate) fn from_text(text: &str) -> Self {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("`{text}` is not OWNER TTL TYPE DATA"));
        let (owner, ttl, rtype, data) = (word(), word(), word(), word());
        let bytes = match rtype {
            _ if data.starts_with("\\# ") => hex(data.splitn(3, ' ').nth(2).unwrap_or_default()),
            "A" => data.parse::<Ipv4Addr>().expect("an IPv4 address").octets().to_vec(),
            "AAAA" => data.parse::<Ipv6Addr>().expect("an IPv6 address").octets().to_vec(),
            "CNAME" | "NS" | "PTR" | "DNAME" => to_wire(data),
            "SOA" => soa(data),
            "TXT" => {
                let length = u8::try_from(data.len()).expect("one string of text");
                [&[length], data.as_bytes()].concat()
            }
            _ => panic!("write the data of type {rtype} as \\# LENGTH HEX"),
        };
        Self::new(owner, ttl.parse().expect("a TTL"), rtype, bytes)
    }

    /// Records of several lines of text.
    pub(crate) fn list(lines: &[&str]) -> Vec<Self> {
        lines.iter().map(|line| Self::from_text(line)).collect()
    }

    /// The SOA record of a zone, with `minimum` as MINIMUM and `ttl` as its own TTL.
    pub(crate) fn soa(zone: &str, ttl: u32, minimum: u32) -> Self {
        Self::from_text(&format!("{zone} {ttl} SOA ns.{zone} hostmaster.{zone} 1 7200 900 1209600 {minimum}"))
    }

    /// `OWNER TTL TYPE DATA`.
    pub(crate) fn text(&self) -> String {
        format!("{} {} {} {}", self.owner, self.ttl, type_text(self.rtype), self.data_text())
    }

    /// Only the data, as [`Record::from_text`] parses it.
    pub(crate) fn data_text(&self) -> String {
        let data = self.data.as_slice();
        let name = || Reader::new(data).name().unwrap_or_default();
        match (type_text(self.rtype).as_str(), data.len()) {
            ("A", 4) => Ipv4Addr::new(data[0], data[1], data[2], data[3]).to_string(),
            ("AAAA", 16) => Ipv6Addr::from(<[u8; 16]>::try_from(data).expect("16 bytes")).to_string(),
            ("CNAME" | "NS" | "PTR" | "DNAME", _) => name(),
            ("SOA", _) => self.soa_text(),
            ("TXT", 1..) => String::from_utf8_lossy(&data[1..]).into_owned(),
            _ => {
                let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\# {} {digits}", data.len())
            }
        }
    }

    /// MINIMUM of an SOA record.
    pub(crate) fn soa_minimum(&self) -> u32 {
        let bytes = self.data.last_chunk::<4>().expect("an SOA record ends in MINIMUM");
        u32::from_be_bytes(*bytes)
    }

    fn soa_text(&self) -> String {
        let mut reader = Reader::new(&self.data);
        let mut read = || {
            let mut words = vec![reader.name()?, reader.name()?];
            for _ in 0..5 {
                words.push(reader.double()?.to_string());
            }
            Ok::<_, Malformed>(words.join(" "))
        };
        read().unwrap_or_else(|malformed| malformed)
    }
}

fn soa(text: &str) -> Vec<u8> {
    let words: Vec<&str> = text.split(' ').collect();
    assert_eq!(words.len(), 7, "an SOA record has seven fields: {text}");
    let mut data = [to_wire(words[0]), to_wire(words[1])].concat();
    for number in &words[2..] {
        data.extend(number.parse::<u32>().expect("a number of 32 bits").to_be_bytes());
    }
    data
}
