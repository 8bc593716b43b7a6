//! Servers by name for Dnsmasq (dnsmasq(8) of 2.90, "--server").

use std::fmt::Write;

use super::fit::{Abilities, fit};
use super::{Context, Export};
use crate::policy::rule::Action;

/// `/x/` covers a name and everything below it. `/*.x/` covers only what is below, and wins because it is longer.
pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let mut text = context.head("#", "dnsmasq");
    // A default server would override `/#/`, so every allowed name has its own server line.
    text.push_str("no-resolv\nno-hosts\n# Names that no rule allows get NXDOMAIN.\nlocal=/#/\n");
    let servers = context.upstreams(&mut export.remarks);
    let mut line = |domain: &str, action: Action, comment: &str| {
        let _ = match action {
            Action::Deny => writeln!(text, "local=/{domain}/{comment}"),
            Action::Allow => servers.iter().try_for_each(|server| {
                writeln!(text, "server=/{domain}/{}#{}{comment}", server.ip(), server.port())
            }),
        };
    };
    for entry in fit(context, Abilities::ALL, &mut export.remarks) {
        let (name, comment) = (entry.node.name.to_string(), entry.comment("#"));
        let mut said = entry.inherited;
        if entry.own != said {
            line(&name, entry.own, &comment);
            said = entry.own;
        }
        if entry.below != said {
            line(&format!("*.{name}"), entry.below, &comment);
        }
    }
    export.text = text;
    export
}
