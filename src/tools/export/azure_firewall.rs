//! A rule collection group of an Azure Firewall policy, as an ARM template (Microsoft Learn, "Azure Firewall policy rule
//! sets" and "Use FQDN filtering in network rules").

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fit::{Abilities, fit};
use super::layer::{Item, Layer, layers};
use super::managed_network::destinations;
use super::{Context, Export, Remark};
use crate::allowlist::{Port, Protocol};
use crate::policy::rule::{Action, Scope};

/// Maximum size of a rule collection group template, in bytes.
const MAX_GROUP: usize = 2_000_000;
const HTTP: Port = Port { protocol: Protocol::Tcp, number: 80 };
const HTTPS: Port = Port { protocol: Protocol::Tcp, number: 443 };

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let layers = layers(&fit(context, Abilities::ALL, &mut export.remarks), true);
    let mut collections = Vec::new();
    let network = network_rules(context, &layers, &mut export.remarks);
    if !network.is_empty() {
        collections.push(collection("namegate-network", 1000, Action::Allow, &network));
    }
    for (index, layer) in layers.iter().enumerate() {
        let rules = application_rules(context, layer);
        if !rules.is_empty() {
            let name = format!("namegate-{}-{}", action(layer.action).to_lowercase(), index + 1);
            collections.push(collection(&name, 1100 + 10 * index, layer.action, &rules));
        }
    }
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": { "comments": context.head("", "azure-firewall").trim() },
        "parameters": {
            "firewallPolicyName": { "type": "string" },
            "sourceAddresses": { "type": "array", "defaultValue": ["*"] },
        },
        "resources": [{
            "type": "Microsoft.Network/firewallPolicies/ruleCollectionGroups",
            "apiVersion": "2024-03-01",
            "name": "[concat(parameters('firewallPolicyName'), '/namegate')]",
            "properties": { "priority": 1000, "ruleCollections": collections },
        }],
    });
    export.text = format!("{template:#}\n");
    if export.text.len() > MAX_GROUP {
        let message = format!("{} bytes: a rule collection group allows at most 2 MB", export.text.len());
        export.remarks.push(Remark::general(message));
    }
    export
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "Allow",
        Action::Deny => "Deny",
    }
}

fn collection(name: &str, priority: usize, what: Action, rules: &[Value]) -> Value {
    json!({
        "ruleCollectionType": "FirewallPolicyFilterRuleCollection",
        "name": name,
        "priority": priority,
        "action": { "type": action(what) },
        "rules": rules,
    })
}

/// One rule for each set of ports. The firewall sees host names only in HTTP and TLS.
fn application_rules(context: &Context<'_>, layer: &Layer<'_>) -> Vec<Value> {
    let mut by_ports: BTreeMap<Vec<Port>, Vec<String>> = BTreeMap::new();
    for item in &layer.items {
        let ports = match layer.action {
            Action::Allow => web_ports(context.ports(item.rule)),
            Action::Deny => vec![HTTP, HTTPS],
        };
        if !ports.is_empty() {
            by_ports.entry(ports).or_default().extend(destinations(item));
        }
    }
    let rules = by_ports.into_iter().map(|(ports, fqdns)| {
        let protocols = ports.iter().map(|port| {
            let kind = if *port == HTTP { "Http" } else { "Https" };
            json!({ "protocolType": kind, "port": port.number })
        });
        let numbers: Vec<String> = ports.iter().map(|port| port.number.to_string()).collect();
        json!({
            "ruleType": "ApplicationRule",
            "name": format!("web-{}", numbers.join("-")),
            "protocols": protocols.collect::<Vec<_>>(),
            "sourceAddresses": "[parameters('sourceAddresses')]",
            "targetFqdns": fqdns,
        })
    });
    rules.collect()
}

/// The ports of a rule that an application rule supports; 443 if the rule has no ports.
fn web_ports(ports: &[Port]) -> Vec<Port> {
    let is_open = |web: &Port| {
        ports.iter().any(|port| port.number == web.number && port.protocol != Protocol::Udp)
            || ports.is_empty() && *web == HTTPS
    };
    [HTTP, HTTPS].into_iter().filter(is_open).collect()
}

/// One rule for each port other than HTTP and HTTPS. Network rules do not accept wildcards.
fn network_rules(context: &Context<'_>, layers: &[Layer<'_>], remarks: &mut Vec<Remark>) -> Vec<Value> {
    let mut by_port: BTreeMap<Port, Vec<String>> = BTreeMap::new();
    for item in layers.iter().filter(|layer| layer.action == Action::Allow).flat_map(|layer| &layer.items) {
        let ports = other_ports(context.ports(item.rule));
        if item.pattern.scope() != Scope::Below {
            for port in &ports {
                by_port.entry(*port).or_default().push(item.pattern.name().to_string());
            }
        }
        remarks.extend(remark(context, item, &ports));
    }
    let rules = by_port.into_iter().map(|(port, fqdns)| {
        let protocols = match port.protocol {
            Protocol::Tcp => vec!["TCP"],
            Protocol::Udp => vec!["UDP"],
            Protocol::Any => vec!["TCP", "UDP"],
        };
        json!({
            "ruleType": "NetworkRule",
            "name": port.to_string().replace('/', "-"),
            "ipProtocols": protocols,
            "sourceAddresses": "[parameters('sourceAddresses')]",
            "destinationFqdns": fqdns,
            "destinationPorts": [port.number.to_string()],
        })
    });
    rules.collect()
}

fn other_ports(ports: &[Port]) -> Vec<Port> {
    let other = |port: &Port| match port {
        Port { protocol: Protocol::Tcp, number: 80 | 443 } => None,
        Port { protocol: Protocol::Any, number: number @ (80 | 443) } => {
            Some(Port { protocol: Protocol::Udp, number: *number })
        }
        port => Some(*port),
    };
    ports.iter().filter_map(other).collect()
}

fn remark(context: &Context<'_>, item: &Item<'_>, other_ports: &[Port]) -> Option<Remark> {
    let rule = item.rule?;
    if context.ports(item.rule).is_empty() {
        return Some(Remark::about(rule, "has no `ports`: only HTTPS on tcp/443 is allowed"));
    }
    let is_wildcard = item.pattern.scope() != Scope::Exact;
    let ports: Vec<String> = other_ports.iter().map(ToString::to_string).collect();
    (is_wildcard && !ports.is_empty()).then(|| {
        let message = format!("is not allowed on {}: network rules accept no wildcards", ports.join(", "));
        Remark::about(rule, message)
    })
}
