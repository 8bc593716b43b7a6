//! Probes for a name: every type, class and flag, and malformed messages.

use super::probe::{Probe, Wanted};
use crate::observe::canary::{Canary, CanaryExpect};
use crate::wire::code::{Class, Type};
use crate::wire::header::{Flags, HEADER};
use crate::wire::name::Name;

/// Types to test: common types, and types that carry arbitrary data. Each could leak a name.
const TYPES: [u16; 20] = [1, 28, 5, 16, 15, 2, 6, 33, 12, 65, 64, 10, 35, 39, 43, 46, 48, 257, 255, 65_534];

/// Types of [`TYPES`] that are allowed for a name with allowed names below it: NS, SOA, DS and DNSKEY.
const OF_ZONES: [u16; 4] = [Type::NS.0, Type::SOA.0, Type::DS.0, Type::DNSKEY.0];

/// Types that namegate never forwards: transfers, mailboxes, keys, and OPT as a query type.
const NEVER_FORWARDED: [Type; 7] =
    [Type::AXFR, Type::IXFR, Type::MAILA, Type::MAILB, Type::TKEY, Type::TSIG, Type::OPT];

/// Classes other than IN: CH, HS, NONE, ANY, and two that do not exist (RFC 6895 section 3.2).
const CLASSES: [u16; 6] = [3, 4, 254, 255, 0, 65_280];

/// Opcodes other than QUERY: IQUERY, STATUS, NOTIFY, UPDATE, DSO, and one that does not exist (RFC 6895 section 2.2).
const OPCODES: [u8; 6] = [1, 2, 4, 5, 6, 15];

/// An OPT record with payload size 1232 and the given version and DO flag (RFC 6891 section 6.1.2).
const fn opt(version: u8, dnssec_ok: bool) -> [u8; 11] {
    [0, 0, 41, 0x04, 0xd0, 0, version, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]
}

/// Variants of one question: label, header flags, OPT.
const VARIANTS: [(&str, u16, Option<[u8; 11]>); 7] = [
    ("", Flags::RD, None),
    (", EDNS", Flags::RD, Some(opt(0, false))),
    (", DO", Flags::RD, Some(opt(0, true))),
    (", DO and CD", Flags::RD | Flags::CD, Some(opt(0, true))),
    (", CD", Flags::RD | Flags::CD, None),
    (", AD", Flags::RD | Flags::AD, None),
    (", RD=0", 0, None),
];

/// All probes for a canary. `random` is a label that is not cached anywhere. `is_ancestor` means that the canary has
/// allowed names below it, so that the types `OF_ZONES` are allowed for it.
pub fn every_way(canary: &Canary, random: &str, is_ancestor: bool) -> Vec<Probe> {
    let name = &canary.name;
    match canary.expect {
        CanaryExpect::Resolve => resolving(name),
        CanaryExpect::NotResolve => {
            let types: Vec<u16> =
                TYPES.into_iter().filter(|qtype| !is_ancestor || !OF_ZONES.contains(qtype)).collect();
            let mut probes = variants("types", name, name.as_bytes(), "", &types);
            probes.extend(variants("letter case", name, &mixed_case(name), ", mixed case", &types));
            probes.extend(below(name, random));
            probes.extend(classes(name));
            probes.extend(transfers(name));
            probes.extend(opcodes(name));
            probes.extend(broken(name));
            probes
        }
    }
}

/// The most useful probes, for the rounds of a running namegate.
pub fn usual_ways(canary: &Canary, random: &str) -> Vec<Probe> {
    let name = &canary.name;
    if canary.expect == CanaryExpect::Resolve {
        return resolving(name);
    }
    let type_of = |qtype: u16| question(name.as_bytes(), qtype, Class::IN.0);
    let denied = |aspect, detail: &str, qtype: u16, query| Probe {
        aspect,
        what: format!("{name} {}{detail}", Type(qtype)),
        query,
        wanted: Wanted::Denial,
    };
    let mut probes = vec![
        denied("types", "", 1, message(0, Flags::RD, &type_of(1), None)),
        denied("types", ", DO", 65, message(0, Flags::RD, &type_of(65), Some(opt(0, true)))),
        denied("types", "", 16, message(0, Flags::RD, &type_of(16), None)),
        denied("types", "", 255, message(0, Flags::RD, &type_of(255), None)),
        denied(
            "letter case",
            ", mixed case",
            1,
            message(0, Flags::RD, &question(&mixed_case(name), 1, Class::IN.0), None),
        ),
    ];
    probes.extend(below(name, random).into_iter().take(1));
    probes.extend(classes(name).into_iter().take(1));
    probes
}

/// A plain A query that must be denied, for look-alikes.
pub fn denied_address(aspect: &'static str, name: &Name) -> Probe {
    Probe {
        aspect,
        what: format!("{name} A"),
        query: message(0, Flags::RD, &question(name.as_bytes(), 1, Class::IN.0), None),
        wanted: Wanted::Denial,
    }
}

fn resolving(name: &Name) -> Vec<Probe> {
    let address = |detail: &str, written: &[u8], opt| Probe {
        aspect: "address",
        what: format!("{name} A{detail}"),
        query: message(0, Flags::RD, &question(written, 1, Class::IN.0), opt),
        wanted: Wanted::Address,
    };
    vec![
        address("", name.as_bytes(), None),
        address(", EDNS", name.as_bytes(), Some(opt(0, false))),
        address(", mixed case", &mixed_case(name), None),
    ]
}

/// Probes for these types in all variants. `written` is the name in wire format, in any case.
fn variants(aspect: &'static str, name: &Name, written: &[u8], detail: &str, types: &[u16]) -> Vec<Probe> {
    let probe = |qtype: u16, (variant, flags, opt): &(&str, u16, Option<[u8; 11]>)| Probe {
        aspect,
        what: format!("{name} {}{detail}{variant}", Type(qtype)),
        query: message(0, *flags, &question(written, qtype, Class::IN.0), *opt),
        wanted: Wanted::Denial,
    };
    types.iter().flat_map(|qtype| VARIANTS.iter().map(|variant| probe(*qtype, variant))).collect()
}

/// Probes for names below: a covert channel does not need existing names.
fn below(name: &Name, random: &str) -> Vec<Probe> {
    let deep = ["a", "b", "c", "d", random];
    [&[random][..], &deep].into_iter().filter_map(|labels| below_by(labels, name)).flatten().collect()
}

fn below_by(labels: &[&str], name: &Name) -> Option<Vec<Probe>> {
    let labels = labels.iter().map(|label| label.as_bytes()).chain(name.labels());
    let name = Name::from_labels(labels).ok()?;
    let probe = |qtype: u16| Probe {
        aspect: "subdomains",
        what: format!("{name} {}", Type(qtype)),
        query: message(0, Flags::RD, &question(name.as_bytes(), qtype, Class::IN.0), None),
        wanted: Wanted::Denial,
    };
    Some([1, 16, 65].map(probe).to_vec())
}

fn classes(name: &Name) -> Vec<Probe> {
    let probe = |class: u16, qtype: u16| Probe {
        aspect: "classes",
        what: format!("{name} {}, class {class}", Type(qtype)),
        query: message(0, Flags::RD, &question(name.as_bytes(), qtype, class), Some(opt(0, false))),
        wanted: Wanted::Refusal,
    };
    CLASSES.iter().flat_map(|class| [16, 1, 255].map(|qtype| probe(*class, qtype))).collect()
}

fn transfers(name: &Name) -> Vec<Probe> {
    let probe = |qtype: &Type| Probe {
        aspect: "zone transfers",
        what: format!("{name} {qtype}"),
        query: message(0, Flags::RD, &question(name.as_bytes(), qtype.0, Class::IN.0), None),
        wanted: Wanted::Refusal,
    };
    NEVER_FORWARDED.iter().map(probe).collect()
}

fn opcodes(name: &Name) -> Vec<Probe> {
    let probe = |opcode: &u8| Probe {
        aspect: "opcodes",
        what: format!("{name} A, opcode {opcode}"),
        query: message(*opcode, Flags::RD, &question(name.as_bytes(), 1, Class::IN.0), None),
        wanted: Wanted::Error,
    };
    OPCODES.iter().map(probe).collect()
}

/// Malformed messages that a lenient parser would accept as queries.
fn broken(name: &Name) -> Vec<Probe> {
    let one = question(name.as_bytes(), 1, Class::IN.0);
    let plain = message(0, Flags::RD, &one, None);
    let with_counts = |counts: [u8; 8], body: &[u8]| {
        let mut message = vec![0, 0, 1, 0];
        message.extend_from_slice(&counts);
        message.extend_from_slice(body);
        message
    };
    let record = [0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    let probe = |what: &str, query| Probe {
        aspect: "malformed messages",
        what: format!("{name} A, {what}"),
        query,
        wanted: Wanted::Error,
    };
    vec![
        probe("an extra byte after the message", [&plain[..], &[0]].concat()),
        probe("two questions", with_counts([0, 2, 0, 0, 0, 0, 0, 0], &[&one[..], &one].concat())),
        probe("a question count of zero", with_counts([0; 8], &one)),
        probe("an answer in the query", with_counts([0, 1, 0, 1, 0, 0, 0, 0], &[&one[..], &record].concat())),
        probe(
            "a name that points into itself",
            with_counts([0, 1, 0, 0, 0, 0, 0, 0], &[0xc0, 0x0c, 0, 1, 0, 1]),
        ),
        probe(
            "two OPT records",
            with_counts([0, 1, 0, 0, 0, 0, 0, 2], &[&one[..], &opt(0, false), &opt(0, false)].concat()),
        ),
        probe("EDNS version 1", message(0, Flags::RD, &one, Some(opt(1, false)))),
    ]
}

/// The name with every other letter in upper case: `ExAmPlE.CoM`.
fn mixed_case(name: &Name) -> Vec<u8> {
    let mut upper = false;
    let flip = |byte: &u8| {
        // Label lengths are below 64, so they are not letters.
        upper ^= byte.is_ascii_lowercase();
        if upper { byte.to_ascii_uppercase() } else { *byte }
    };
    name.as_bytes().iter().map(flip).collect()
}

fn question(name: &[u8], qtype: u16, class: u16) -> Vec<u8> {
    [name, &qtype.to_be_bytes(), &class.to_be_bytes()].concat()
}

/// A message with this question and an id of 0.
fn message(opcode: u8, flags: u16, question: &[u8], opt: Option<[u8; 11]>) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + question.len() + 11);
    message.extend_from_slice(&[0, 0]);
    message.extend_from_slice(&(u16::from(opcode) << 11 | flags).to_be_bytes());
    message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())]);
    message.extend_from_slice(question);
    message.extend(opt.into_iter().flatten());
    message
}
