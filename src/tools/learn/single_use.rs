//! Names that are used once: they carry data, or the next use has another name.

use super::label::{is_like_data, is_random};
use crate::observe::blocked_names::Sighting;
use crate::wire::code::Type;
use crate::wire::name::Name;

/// Maximum lookups of one use: A and AAAA, or a query and its retry.
const ONE_USE: u64 = 2;

/// Maximum lookups of a name that carries a message: some types, with retries. A name that software looks up for its
/// settings soon has more.
const FEW: u64 = 10;

/// True for a name used once that has a random label, or looked up a few times and for text. Rules for such names are of
/// no use, and a wildcard for them would let data out.
pub(super) fn is_single_use(name: &Name, seen: &Sighting) -> bool {
    let is_once = seen.count <= ONE_USE;
    is_message(name, seen) || is_once && name.labels().any(|label| is_random(label) || is_like_data(label))
}

/// True for a name looked up a few times, and for text. Other lookups of the name do not make it an ordinary one: they
/// cost a tunnel nothing. Names with a leading underscore count too, because anyone can choose such names.
pub(super) fn is_message(name: &Name, seen: &Sighting) -> bool {
    seen.count <= FEW && is_text(name, seen)
}

const NS: Type = Type(2);
const CNAME: Type = Type(5);
const SOA: Type = Type(6);
const PTR: Type = Type(12);
const MX: Type = Type(15);
const SRV: Type = Type(33);

/// Types that resolvers and clients that connect query.
const USUAL: [Type; 6] = [Type::A, Type::AAAA, NS, PTR, Type::DS, Type::DNSKEY];

/// Types that clients query beside [`USUAL`] ones. Alone, their answers have room for data.
const BESIDE: [Type; 6] = [Type::HTTPS, Type::SVCB, SRV, CNAME, SOA, MX];

/// True if any type was queried whose answers have room for text, such as TXT and NULL, or no type that clients query
/// before they connect.
pub(super) fn is_text(name: &Name, seen: &Sighting) -> bool {
    let types = seen.types.kept();
    let is_usual = |qtype: &Type| USUAL.contains(qtype) || *qtype == SRV && is_service(name);
    let is_free = |qtype: &Type| !USUAL.contains(qtype) && !BESIDE.contains(qtype);
    seen.types.more() || !types.is_empty() && (types.iter().any(is_free) || !types.iter().any(is_usual))
}

/// True for the name of a service, `_ldap._tcp.example.com` (RFC 2782).
fn is_service(name: &Name) -> bool {
    let mut labels = name.labels();
    let service = labels.next().is_some_and(|label| label.first() == Some(&b'_'));
    service && labels.next().is_some_and(|label| label == b"_tcp" || label == b"_udp")
}
