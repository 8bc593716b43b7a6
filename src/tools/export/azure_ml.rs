//! Outbound rules of an Azure ML workspace's managed network (Microsoft Learn, "Workspace managed virtual network
//! isolation", 2024-08-29). They allow names on ports 80 and 443 only.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::layer::{Item, allowed_alone};
use super::{Context, Export, Remark};
use crate::allowlist::{Port, Protocol};
use crate::policy::rule::Scope;
use crate::util::escape::on_one_line;

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let mut text = context.head("#", "azure-ml");
    text.push_str(
        "$schema: https://azuremlschemas.azureedge.net/latest/workspace.schema.json\n\
         managed_network:\n  isolation_mode: allow_only_approved_outbound\n  outbound_rules:\n",
    );
    let mut names = BTreeSet::new();
    for item in allowed_alone(context, &mut export.remarks) {
        export.remarks.extend(unsaid_ports(context, &item));
        for destination in destinations(&item) {
            let purpose = context.purpose(item.rule);
            let comment =
                if purpose.is_empty() { String::new() } else { format!("  # {}", on_one_line(purpose)) };
            let name = unique_name(&destination, &mut names);
            // A JSON string is valid YAML.
            let destination = serde_json::Value::from(destination);
            let _ = writeln!(
                text,
                "    - name: {name}{comment}\n      type: fqdn\n      destination: {destination}"
            );
        }
    }
    export.text = text;
    export
}

/// The destinations for a pattern. A subtree needs two, because `*.` does not cover the name itself.
pub(super) fn destinations(item: &Item<'_>) -> Vec<String> {
    let name = item.pattern.name();
    match item.pattern.scope() {
        Scope::Exact => vec![name.to_string()],
        Scope::Below => vec![format!("*.{name}")],
        Scope::Subtree => vec![name.to_string(), format!("*.{name}")],
    }
}

fn unsaid_ports(context: &Context<'_>, item: &Item<'_>) -> Option<Remark> {
    let is_said = |port: &&Port| matches!(port, Port { protocol: Protocol::Tcp, number: 80 | 443 });
    let ports: Vec<String> =
        context.ports(item.rule).iter().filter(|port| !is_said(port)).map(ToString::to_string).collect();
    let rule = item.rule.filter(|_| !ports.is_empty())?;
    let message = format!("is allowed on tcp/80 and tcp/443 only, not on {}", ports.join(", "));
    Some(Remark::about(rule, message))
}

/// A rule name derived from its host, so that the next export only changes rules whose host changed.
fn unique_name(destination: &str, taken: &mut BTreeSet<String>) -> String {
    let base = format!("namegate-{}", destination.replace('*', "any").replace('.', "_"));
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|name| taken.insert(name.clone())).unwrap_or(base)
}
