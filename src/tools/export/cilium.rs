//! A network policy of Cilium (Cilium's documentation, "DNS based" and "DNS Policy and IP Discovery").
//!
//! `**.x` covers every name below `x`. Before Cilium 1.19 it meant `*.x`, one label deep. A policy with egress rules
//! blocks everything that they do not allow, so the file also allows traffic within the cluster. That rule leaves out the
//! DNS servers: a rule without ports would let DNS to them pass without the proxy.

use std::fmt::Write;

use super::kubernetes::{by_ports, forms, namespaces};
use super::options::Namespace;
use super::{Context, Export};
use crate::allowlist::Protocol;

/// The label of a pod's namespace.
const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";
/// Pods with these values of `k8s-app` are DNS servers: CoreDNS, and the cache on each node behind a
/// CiliumLocalRedirectPolicy.
const DNS_SERVERS: [&str; 2] = ["kube-dns", "node-local-dns"];

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let groups = by_ports(context, &mut export.remarks);
    let mut text = context.head("#", "cilium");
    text.push_str("# Requires Cilium 1.19 or newer: older versions read `**.` as one label.\n");
    text.push_str(&head(&context.options.namespaces));
    text.push_str("  egress:\n    - toEndpoints:\n");
    for server in DNS_SERVERS {
        let _ = write!(
            text,
            "        - matchLabels:\n            {NAMESPACE}: kube-system\n            k8s:k8s-app: {server}\n"
        );
    }
    // Names of the cluster's own services, which its DNS servers answer themselves. Pods also try every name below the
    // search suffixes first, and some resolvers give up if that is refused.
    text.push_str(
        "      toPorts:\n        - ports:\n            - port: \"53\"\n              protocol: ANY\n          \
         rules:\n            dns:\n              - matchPattern: \"**.cluster.local\"\n",
    );
    let selector = |form: String| match form.starts_with("**.") {
        true => format!("- matchPattern: \"{form}\"\n"),
        false => format!("- matchName: \"{form}\"\n"),
    };
    let selectors = |text: &mut String, item, indent: &str| {
        for form in forms(item, "**.") {
            let _ = write!(text, "{indent}{}", selector(form));
        }
    };
    groups.values().flatten().for_each(|item| selectors(&mut text, item, "              "));
    let _ = write!(
        text,
        "    - toEndpoints:\n        - matchExpressions:\n            - key: {NAMESPACE}\n              operator: Exists\n            \
         - key: k8s:k8s-app\n              operator: NotIn\n              values: [{}]\n    - toEntities: [kube-apiserver]\n",
        DNS_SERVERS.join(", ")
    );
    for (ports, items) in &groups {
        text.push_str("    - toFQDNs:\n");
        items.iter().for_each(|item| selectors(&mut text, item, "        "));
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

/// Kind and selector. A policy of one namespace is one for its pods; else the policy is the cluster's.
fn head(given: &[Namespace]) -> String {
    match given {
        [one] => format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: namegate\n  namespace: {}\n\
             spec:\n  endpointSelector: {{}}\n",
            one.as_str()
        ),
        given => format!(
            "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata:\n  name: namegate\n\
             spec:\n  endpointSelector:\n    matchExpressions:\n{}",
            namespaces(given, NAMESPACE, "      ")
        ),
    }
}
