//! A CiliumNetworkPolicy (Cilium's documentation, "Layer 3 policies: DNS based").
//!
//! `**.x` covers every name below `x`. Before Cilium 1.18 it meant `*.x`, one label deep.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::layer::{Item, allowed_alone};
use super::{Context, Export};
use crate::allowlist::{Port, Protocol};
use crate::policy::rule::Scope;

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let items = allowed_alone(context, &mut export.remarks);
    let mut text = context.head("#", "cilium");
    text.push_str(
        "# Requires Cilium 1.18 or newer: older versions read `**.` as one label.\n\
         apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: namegate\n\
         spec:\n  endpointSelector: {}\n  egress:\n\
         \x20   - toEndpoints:\n        - matchLabels:\n            k8s:io.kubernetes.pod.namespace: kube-system\n            \
         k8s-app: kube-dns\n      toPorts:\n        - ports:\n            - port: \"53\"\n              protocol: ANY\n          \
         rules:\n            dns:\n",
    );
    items.iter().for_each(|item| selectors(&mut text, item, "              "));
    let mut by_ports: BTreeMap<Vec<Port>, Vec<&Item<'_>>> = BTreeMap::new();
    for item in &items {
        let mut ports = context.ports(item.rule).to_vec();
        ports.sort_unstable();
        by_ports.entry(ports).or_default().push(item);
    }
    for (ports, items) in by_ports {
        text.push_str("    - toFQDNs:\n");
        items.into_iter().for_each(|item| selectors(&mut text, item, "        "));
        if !ports.is_empty() {
            text.push_str("      toPorts:\n        - ports:\n");
        }
        for port in ports {
            let protocol = match port.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Any => "ANY",
            };
            let number = port.number;
            let _ = writeln!(text, "            - port: \"{number}\"\n              protocol: {protocol}");
        }
    }
    export.text = text;
    export
}

fn selectors(text: &mut String, item: &Item<'_>, indent: &str) {
    let (name, scope) = (item.pattern.name(), item.pattern.scope());
    if scope != Scope::Below {
        let _ = writeln!(text, "{indent}- matchName: \"{name}\"");
    }
    if scope != Scope::Exact {
        let _ = writeln!(text, "{indent}- matchPattern: \"**.{name}\"");
    }
}
