//! A ClusterNetworkPolicy of Kubernetes' Network Policy API (v1alpha2, experimental channel: `domainNames`).
//!
//! Accept rules for names come first, then traffic within the cluster passes on to other policies, and the last rule
//! denies the rest. The API filters connections, not DNS queries.

use std::fmt::Write;

use super::kubernetes::{by_ports, forms, namespaces};
use super::{Context, Export, Remark};
use crate::allowlist::{Port, Protocol};

/// Maximum names of a peer, peers of a rule, protocols of a rule, and egress rules of a policy.
const MAX_ITEMS: usize = 25;
/// Rules besides those for names: `cluster` and `everything-else`.
const OTHER_RULES: usize = 2;

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let groups = by_ports(context, &mut export.remarks);
    let mut text = context.head("#", "cluster-network-policy");
    let _ = write!(
        text,
        "# Connections are filtered, DNS queries are not: let the cluster's DNS servers forward to namegate.\n\
         apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata:\n  name: namegate\n\
         spec:\n  tier: Admin\n  priority: 500\n  subject:\n    namespaces:\n      matchExpressions:\n{}  egress:\n    \
         # Other network policies decide about traffic within the cluster.\n    - name: cluster\n      action: Pass\n      \
         to:\n        - namespaces: {{}}\n        - nodes: {{}}\n",
        namespaces(&context.options.namespaces, "kubernetes.io/metadata.name", "        ")
    );
    let mut rules = 0;
    for (ports, items) in &groups {
        let names: Vec<String> = items.iter().flat_map(|item| forms(item, "*.")).collect();
        for (index, names) in names.chunks(MAX_ITEMS * MAX_ITEMS).enumerate() {
            let of_ports: Vec<String> = ports.iter().map(|port| port.to_string().replace('/', "-")).collect();
            let of_ports = if of_ports.is_empty() { "any-port".to_owned() } else { of_ports.join("-") };
            let _ =
                write!(text, "    - name: names-{of_ports}-{}\n      action: Accept\n      to:\n", index + 1);
            for names in names.chunks(MAX_ITEMS) {
                text.push_str("        - domainNames:\n");
                for name in names {
                    let _ = writeln!(text, "            - \"{name}\"");
                }
            }
            if !ports.is_empty() {
                text.push_str("      protocols:\n");
                ports.iter().for_each(|port| text.push_str(&protocols(*port)));
            }
            rules += 1;
        }
    }
    if rules + OTHER_RULES > MAX_ITEMS {
        let message = format!(
            "{} egress rules: a ClusterNetworkPolicy allows at most {MAX_ITEMS}",
            rules + OTHER_RULES
        );
        export.remarks.push(Remark { is_loss: true, ..Remark::general(message) });
    }
    text.push_str(
        "    - name: everything-else\n      action: Deny\n      to:\n        - networks: [\"0.0.0.0/0\", \"::/0\"]\n",
    );
    export.text = text;
    export
}

fn protocols(port: Port) -> String {
    let number = port.number;
    let entry = |protocol: &str| {
        format!("        - {protocol}:\n            destinationPort:\n              number: {number}\n")
    };
    match port.protocol {
        Protocol::Tcp => entry("tcp"),
        Protocol::Udp => entry("udp"),
        Protocol::Any => entry("tcp") + &entry("udp"),
    }
}
