//! Names that are used once: they carry data, or the next use has another name.

use super::label::{is_like_data, is_random};
use crate::observe::blocked_names::Sighting;
use crate::wire::code::Type;
use crate::wire::name::Name;

/// Maximum lookups of one use: A and AAAA, or a query and its retry.
const ONE_USE: u64 = 2;

/// True for a name used once that has a random label, or for which only text was queried. Rules for such names are of no
/// use, and a wildcard for them would let data out.
pub(super) fn is_single_use(name: &Name, seen: &Sighting) -> bool {
    seen.count <= ONE_USE
        && (is_text(seen) || name.labels().any(|label| is_random(label) || is_like_data(label)))
}

/// True for a name used once for which only text was queried. Names with a leading underscore are not counted: software
/// queries TXT for them (RFC 8552).
pub(super) fn is_message(name: &Name, seen: &Sighting) -> bool {
    let is_service = name.labels().next().is_some_and(|label| label.first() == Some(&b'_'));
    seen.count <= ONE_USE && is_text(seen) && !is_service
}

/// Types that resolvers and clients that connect query: NS, PTR, SRV, DS and DNSKEY are the numbers. The answers to
/// other types, such as TXT and NULL, have room for any text.
const USUAL: [Type; 9] =
    [Type::A, Type::AAAA, Type::HTTPS, Type::SVCB, Type(2), Type(12), Type(33), Type(43), Type(48)];

/// True if only types were queried whose answers have room for text.
fn is_text(seen: &Sighting) -> bool {
    let types = seen.types.kept();
    !types.is_empty() && !seen.types.more() && !types.iter().any(|qtype| USUAL.contains(qtype))
}
