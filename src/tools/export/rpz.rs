//! A response policy zone (draft-vixie-dnsop-dns-rpz-00, the format that BIND 9.10 introduced).

use std::fmt::Write;

use super::fit::{Abilities, fit};
use super::{Context, Export};
use crate::policy::rule::Action;

/// Writes a record and a wildcard for every name of the tree. A name that exists in a zone, even as an empty parent,
/// stops wildcards above it from matching names below it (RFC 4592 section 3.3.1).
pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let (serial, ttl) = (context.assembly.policy().serial(), context.assembly.settings.block.ttl.as_secs());
    let mut text = context.head(";", "rpz");
    let _ = write!(
        text,
        "; To decide by name alone, before any upstream query, configure the server as follows:\n\
         ;   BIND     response-policy {{ zone \"rpz.namegate\"; }} qname-wait-recurse no break-dnssec yes;\n\
         ;   Unbound  \"respip\" first in module-config; an rpz: clause with name: \"rpz.namegate\" and zonefile: FILE\n\
         $TTL {ttl}\n\
         @ SOA localhost. hostmaster.invalid. {serial} 3600 600 604800 {ttl}\n\
         @ NS localhost.\n\
         * CNAME .\n"
    );
    for entry in fit(context, Abilities::ALL, &mut export.remarks) {
        let comment = if entry.matters() { entry.comment(";") } else { String::new() };
        let name = &entry.node.name;
        let _ = writeln!(text, "{name} CNAME {}{comment}", target(entry.own));
        let _ = writeln!(text, "*.{name} CNAME {}", target(entry.below));
    }
    export.text = text;
    export
}

/// The CNAME target for an action: pass, or answer NXDOMAIN.
fn target(action: Action) -> &'static str {
    match action {
        Action::Allow => "rpz-passthru.",
        Action::Deny => ".",
    }
}
