//! A rule collection group of an Azure Firewall policy, as an ARM template (Microsoft Learn, "Azure Firewall policy rule
//! sets" and "Use FQDN filtering in network rules").

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fit::{Abilities, fit};
use super::layer::{Item, Layer, layers};
use super::managed_network::destinations;
use super::{Context, Export, Remark};
use crate::allowlist::{Port, Protocol};
use crate::policy::rule::{Action, Scope};
use crate::wire::name::Name;

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

/// Service tags, which network rules accept in place of wildcards, and the names behind their addresses (Microsoft Learn,
/// "Configure inbound and outbound network traffic", 2026-03-19).
const SERVICE_TAGS: [(&str, &str); 9] = [
    ("azureml.ms", MACHINE_LEARNING),
    ("azureml.net", MACHINE_LEARNING),
    ("azureml.us", MACHINE_LEARNING),
    ("azureml.cn", MACHINE_LEARNING),
    ("ml.azure.us", MACHINE_LEARNING),
    ("ml.azure.cn", MACHINE_LEARNING),
    ("batch.azure.com", "BatchNodeManagement"),
    ("batch.usgovcloudapi.net", "BatchNodeManagement"),
    ("batch.chinacloudapi.cn", "BatchNodeManagement"),
];
const MACHINE_LEARNING: &str = "AzureMachineLearning";

fn service_tag(name: &Name) -> Option<&'static str> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let is_within =
        |suffix: &str| labels.ends_with(&suffix.split('.').map(str::as_bytes).collect::<Vec<_>>());
    SERVICE_TAGS.into_iter().find(|(suffix, _)| is_within(suffix)).map(|(_, tag)| tag)
}

/// One rule for each port other than HTTP and HTTPS. Network rules do not accept wildcards; with `widen`, a service tag
/// stands for them.
fn network_rules(context: &Context<'_>, layers: &[Layer<'_>], remarks: &mut Vec<Remark>) -> Vec<Value> {
    let mut by_port: BTreeMap<Port, Vec<String>> = BTreeMap::new();
    let mut by_tag: BTreeSet<(&str, Port)> = BTreeSet::new();
    let items: Vec<&Item<'_>> =
        layers.iter().filter(|layer| layer.action == Action::Allow).flat_map(|layer| &layer.items).collect();
    for item in &items {
        let ports = other_ports(context.ports(item.rule));
        let is_wildcard = item.pattern.scope() != Scope::Exact;
        let tag = service_tag(item.pattern.name()).filter(|_| is_wildcard);
        for port in &ports {
            if item.pattern.scope() != Scope::Below {
                by_port.entry(*port).or_default().push(item.pattern.name().to_string());
            }
            by_tag.extend(tag.filter(|_| context.options.widen).map(|tag| (tag, *port)));
        }
        let is_reachable = |wider: &&Item<'_>| {
            let (name, wider_name) = (item.pattern.name(), wider.pattern.name());
            let is_wider =
                wider.pattern.scope() != Scope::Exact && name != wider_name && name.is_within(wider_name);
            (is_wider || wider.pattern == item.pattern) && !web_ports(context.ports(wider.rule)).is_empty()
        };
        let Some(rule) = item.rule else { continue };
        if context.ports(item.rule).is_empty() {
            remarks.push(Remark::about(rule, "has no `ports`: only HTTPS on tcp/443 is allowed"));
        } else if is_wildcard && !ports.is_empty() {
            let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            remarks.push(match tag {
                Some(tag) if context.options.widen => {
                    let message = format!(
                        "is widened: it also allows all addresses of the service tag {tag} on {ports}"
                    );
                    Remark::about(rule, message)
                }
                tag => {
                    let remedy = tag.map_or_else(String::new, |tag| {
                        format!("; use --widen for a network rule with the service tag {tag}")
                    });
                    let message =
                        format!("is not allowed on {ports}: network rules accept no wildcards{remedy}");
                    match items.iter().any(is_reachable) {
                        true => Remark::about(rule, message),
                        false => context.blocked(rule, message),
                    }
                }
            });
        }
    }
    let named = by_port.into_iter().map(|(port, fqdns)| {
        network_rule(&port.to_string().replace('/', "-"), port, "destinationFqdns", &fqdns)
    });
    let tagged = by_tag.into_iter().map(|(tag, port)| {
        let name = format!("{tag}-{}", port.to_string().replace('/', "-"));
        network_rule(&name, port, "destinationAddresses", &[tag.to_owned()])
    });
    named.chain(tagged).collect()
}

fn network_rule(name: &str, port: Port, field: &str, destinations: &[String]) -> Value {
    let protocols = match port.protocol {
        Protocol::Tcp => vec!["TCP"],
        Protocol::Udp => vec!["UDP"],
        Protocol::Any => vec!["TCP", "UDP"],
    };
    json!({
        "ruleType": "NetworkRule",
        "name": name,
        "ipProtocols": protocols,
        "sourceAddresses": "[parameters('sourceAddresses')]",
        field: destinations,
        "destinationPorts": [port.number.to_string()],
    })
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
