//! A response policy zone (draft-vixie-dnsop-dns-rpz-00, the format that BIND 9.10 introduced).

use std::fmt::Write;

use super::fit::{Abilities, fit};
use super::{Context, Export, Remark};
use crate::policy::rule::Action;

/// Longest name, in bytes on the wire, that has room for `*.` before and `rpz.namegate.` behind it (RFC 1035 section 2.3.4: 255).
/// Most servers take zones of names about as long.
const MAX_TRIGGER: usize = 255 - 2 - 13;

/// Every name of the tree has a record of its own and a wildcard below it, because a name that exists in a zone, if only
/// as the parent of another, keeps the wildcards above it from its own descendants (RFC 4592 section 3.3.1).
pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let (serial, ttl) = (context.assembly.policy().serial(), context.assembly.settings.block.ttl.as_secs());
    let mut text = context.head(";", "rpz");
    let _ = write!(
        text,
        "; It decides on names alone and asks nobody first, where the server is told so:\n\
         ;   BIND     response-policy {{ zone \"rpz.namegate\"; }} qname-wait-recurse no break-dnssec yes;\n\
         ;   Unbound  rpz: with name: \"rpz.namegate\" and zonefile:, and \"respip\" first in module-config:\n\
         $TTL {ttl}\n\
         @ SOA localhost. hostmaster.invalid. {serial} 3600 600 604800 {ttl}\n\
         @ NS localhost.\n\
         * CNAME .\n"
    );
    for entry in fit(context, Abilities::ALL, &mut export.remarks) {
        let comment = if entry.matters() { entry.comment(";") } else { String::new() };
        let name = &entry.node.name;
        if name.wire_len() > MAX_TRIGGER {
            let denied =
                if entry.inherited == Action::Allow { ", and what it denies is let pass" } else { "" };
            let message = format!("is left out{denied}: a name of a response policy zone would be too long");
            export.remarks.extend(entry.rule().map(|rule| Remark::about(rule, message)));
            continue;
        }
        let _ = writeln!(text, "{name} CNAME {}{comment}", target(entry.own));
        let _ = writeln!(text, "*.{name} CNAME {}", target(entry.below));
    }
    export.text = text;
    export
}

/// What the policy is called in the data of a CNAME: to let pass, or to answer NXDOMAIN.
fn target(action: Action) -> &'static str {
    match action {
        Action::Allow => "rpz-passthru.",
        Action::Deny => ".",
    }
}
