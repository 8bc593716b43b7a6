//! Local zones for Unbound (unbound.conf(5) of 1.17, "local-zone").

use std::fmt::Write;

use super::fit::{Abilities, fit};
use super::{Context, Export};
use crate::policy::rule::Action::{Allow, Deny};

/// A local zone covers a name and everything below it. A record of a rare type makes a `transparent` zone answer NODATA
/// for the name itself and forward the names below it. Unbound has no means for the opposite.
const ABILITIES: Abilities = Abilities { name_alone: false, below_alone: true };

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let ttl = context.assembly.settings.block.ttl.as_secs();
    let mut text = context.head("#", "unbound");
    text.push_str(
        "# Blocked names get NXDOMAIN. A name with a `transparent` zone is blocked with NODATA.\n\
         # Local zones cannot allow a name without its subdomains; `namegate export rpz` can.\n\
         server:\n    unblock-lan-zones: yes\n    local-zone: \"localhost.\" nodefault\n    \
         local-zone: \".\" always_nxdomain\n",
    );
    for entry in fit(context, ABILITIES, &mut export.remarks).into_iter().filter(|entry| entry.matters()) {
        let (name, comment) = (&entry.node.name, entry.comment("#"));
        let kind = match (entry.own, entry.below) {
            (_, Deny) => "always_nxdomain",
            (Allow, Allow) => "always_transparent",
            (Deny, Allow) => "transparent",
        };
        let _ = writeln!(text, "    local-zone: \"{name}.\" {kind}{comment}");
        if kind == "transparent" {
            let _ = writeln!(text, "    local-data: '{name}. {ttl} IN HINFO \"blocked\" \"\"'");
        }
    }
    text.push_str("forward-zone:\n    name: \".\"\n");
    for server in context.upstreams(&mut export.remarks) {
        let _ = writeln!(text, "    forward-addr: {}@{}", server.ip(), server.port());
    }
    export.text = text;
    export
}
