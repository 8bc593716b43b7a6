//! Domain lists and security rules of an Azure DNS security policy, as an ARM template (Microsoft Learn, "DNS security
//! policy", 2026-08-11).

use serde_json::{Value, json};

use super::fit::{Abilities, fit};
use super::layer::{Layer, layers};
use super::{Context, Export, Remark};
use crate::policy::rule::Action;

/// A domain in a list covers every name below it.
const ABILITIES: Abilities = Abilities { name_alone: false, below_alone: false };
/// Maximum domains in one list of a template.
const MAX_LIST: usize = 1_000;
/// Maximum domains in all lists of a policy.
const MAX_DOMAINS: usize = 100_000;
/// Maximum rules of a policy.
const MAX_RULES: usize = 100;
const API_VERSION: &str = "2025-05-01";

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let layers = layers(&fit(context, ABILITIES, &mut export.remarks), false);
    let domains: usize = layers.iter().map(|layer| layer.items.len()).sum();
    for (what, found, most) in [("domains", domains, MAX_DOMAINS), ("rules", layers.len() + 1, MAX_RULES)] {
        if found > most {
            export
                .remarks
                .push(Remark::general(format!("{found} {what}: a security policy allows at most {most}")));
        }
    }
    let mut resources = vec![json!({
        "type": "Microsoft.Network/dnsResolverPolicies",
        "apiVersion": API_VERSION,
        "name": "[parameters('policyName')]",
        "location": "[parameters('location')]",
        "properties": {},
    })];
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("namegate-{}-{}", action(layer), index + 1);
        let priority = 100 + index;
        let mut domains: Vec<String> =
            layer.items.iter().map(|item| format!("{}.", item.pattern.name())).collect();
        // Two rules, one for a name and one for the names below it, give the same domain.
        domains.dedup();
        resources.extend(rule(&name, priority, action(layer), &domains));
    }
    resources.extend(rule("namegate-everything-else", 65_000, "Block", &[".".to_owned()]));
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": { "comments": context.head("", "azure-dns-policy").trim() },
        "parameters": {
            "policyName": { "type": "string" },
            "location": { "type": "string", "defaultValue": "[resourceGroup().location]" },
        },
        "resources": resources,
    });
    export.text = format!("{template:#}\n");
    export
}

fn action(layer: &Layer<'_>) -> &'static str {
    match layer.action {
        Action::Allow => "Allow",
        Action::Deny => "Block",
    }
}

/// A security rule and its domain lists.
fn rule(name: &str, priority: usize, action: &str, domains: &[String]) -> Vec<Value> {
    let lists: Vec<(String, &[String])> = domains
        .chunks(MAX_LIST)
        .enumerate()
        .map(|(index, domains)| (format!("{name}-{}", index + 1), domains))
        .collect();
    let id = |list: &String| format!("[resourceId('Microsoft.Network/dnsResolverDomainLists', '{list}')]");
    let policy = "[resourceId('Microsoft.Network/dnsResolverPolicies', parameters('policyName'))]".to_owned();
    let ids: Vec<String> = lists.iter().map(|(list, _)| id(list)).collect();
    let mut resources: Vec<Value> = lists
        .iter()
        .map(|(list, domains)| {
            json!({
                "type": "Microsoft.Network/dnsResolverDomainLists",
                "apiVersion": API_VERSION,
                "name": list,
                "location": "[parameters('location')]",
                "properties": { "domains": domains },
            })
        })
        .collect();
    resources.push(json!({
        "type": "Microsoft.Network/dnsResolverPolicies/dnsSecurityRules",
        "apiVersion": API_VERSION,
        "name": format!("[concat(parameters('policyName'), '/{name}')]"),
        "location": "[parameters('location')]",
        "dependsOn": ids.iter().cloned().chain([policy]).collect::<Vec<_>>(),
        "properties": {
            "priority": priority,
            "dnsSecurityRuleState": "Enabled",
            "action": { "actionType": action },
            "dnsResolverDomainLists": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
        },
    }));
    resources
}
