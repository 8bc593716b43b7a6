//! Domain lists and security rules of an Azure DNS security policy, as an ARM template (Microsoft Learn, "DNS security
//! policy", 2026-08-11).
//!
//! Azure applies the rules to every name of a CNAME chain, so the targets of aliases have a rule of their own.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::aliases::alias_targets;
use super::fit::{Abilities, fit};
use super::layer::layers;
use super::options::VirtualNetworkId;
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
/// Longest name of a resource.
const MAX_NAME: usize = 80;
const API_VERSION: &str = "2025-05-01";
const POLICY: &str = "[resourceId('Microsoft.Network/dnsResolverPolicies', parameters('policyName'))]";

/// A rule: its name, what it does, and its domains.
struct SecurityRule {
    name: String,
    action: &'static str,
    domains: Vec<String>,
}

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let layers = layers(&fit(context, ABILITIES, &mut export.remarks), false);
    let targets = alias_targets(context, &mut export.remarks);
    let aliases = SecurityRule {
        name: "namegate-aliases".to_owned(),
        action: "Allow",
        domains: targets.iter().map(|target| format!("{target}.")).collect(),
    };
    // No rule denies an alias target or a name below it, so they can come first.
    let mut rules: Vec<SecurityRule> =
        Some(aliases).filter(|rule| !rule.domains.is_empty()).into_iter().collect();
    rules.extend(layers.iter().enumerate().map(|(index, layer)| {
        let action = match layer.action {
            Action::Allow => "Allow",
            Action::Deny => "Block",
        };
        let mut domains: Vec<String> =
            layer.items.iter().map(|item| format!("{}.", item.pattern.name())).collect();
        // Two rules, one for a name and one for the names below it, give the same domain.
        domains.dedup();
        SecurityRule { name: format!("namegate-{}-{}", action.to_lowercase(), index + 1), action, domains }
    }));
    limits(&rules, &mut export.remarks);
    let mut resources = vec![json!({
        "type": "Microsoft.Network/dnsResolverPolicies",
        "apiVersion": API_VERSION,
        "name": "[parameters('policyName')]",
        "location": "[parameters('location')]",
        "tags": { "namegate-policy": context.assembly.policy().hash() },
        "properties": {},
    })];
    let everything = SecurityRule {
        name: "namegate-everything-else".to_owned(),
        action: "Block",
        domains: vec![".".to_owned()],
    };
    for (index, rule) in rules.iter().enumerate() {
        resources.extend(resources_of(rule, 100 + index));
    }
    resources.extend(resources_of(&everything, 65_000));
    resources.extend(links(context, &rules, &everything, &mut export.remarks));
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

fn limits(rules: &[SecurityRule], remarks: &mut Vec<Remark>) {
    let domains: usize = rules.iter().map(|rule| rule.domains.len()).sum();
    for (what, found, most) in [("domains", domains, MAX_DOMAINS), ("rules", rules.len() + 1, MAX_RULES)] {
        if found > most {
            remarks.push(Remark::general(format!("{found} {what}: a security policy allows at most {most}")));
        }
    }
}

/// The resource ID of a rule.
fn rule_id(rule: &SecurityRule) -> String {
    format!(
        "[resourceId('Microsoft.Network/dnsResolverPolicies/dnsSecurityRules', parameters('policyName'), '{}')]",
        rule.name
    )
}

/// The links to virtual networks. They depend on every rule: a linked policy without the last rule would block nothing,
/// and one without the others would block everything.
fn links(
    context: &Context<'_>,
    rules: &[SecurityRule],
    everything: &SecurityRule,
    remarks: &mut Vec<Remark>,
) -> Vec<Value> {
    let mut vnets = context.options.vnets.clone();
    vnets.sort();
    vnets.dedup();
    if vnets.is_empty() {
        let message = "the policy filters nothing until it is linked to a virtual network: use --vnet";
        remarks.push(Remark::general(message));
    }
    let dependencies: Vec<String> =
        rules.iter().chain([everything]).map(rule_id).chain([POLICY.to_owned()]).collect();
    let link = |vnet: &VirtualNetworkId| {
        json!({
            "type": "Microsoft.Network/dnsResolverPolicies/virtualNetworkLinks",
            "apiVersion": API_VERSION,
            "name": format!("[concat(parameters('policyName'), '/{}')]", link_name(vnet)),
            "location": "[parameters('location')]",
            "dependsOn": dependencies,
            "properties": { "virtualNetwork": { "id": vnet.as_str() } },
        })
    };
    vnets.iter().map(link).collect()
}

/// The network's name, and a digest of its ID: networks of two groups may have the same name.
fn link_name(vnet: &VirtualNetworkId) -> String {
    let digest = short_digest([vnet.as_str().to_ascii_lowercase().as_str()]);
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String =
        vnet.name().chars().map(allowed).take(MAX_NAME - "namegate--".len() - digest.len()).collect();
    format!("namegate-{name}-{digest}")
}

/// Eight hexadecimal digits.
fn short_digest<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text);
        digest.update("\n");
    }
    digest.finalize()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A security rule and its domain lists. A list's name contains the digest of its domains, so a deployment never changes
/// a list that rules use: it makes another one and then changes the rule.
fn resources_of(rule: &SecurityRule, priority: usize) -> Vec<Value> {
    let lists: Vec<(String, &[String])> = rule
        .domains
        .chunks(MAX_LIST)
        .map(|domains| {
            (format!("{}-{}", rule.name, short_digest(domains.iter().map(String::as_str))), domains)
        })
        .collect();
    let id = |list: &String| format!("[resourceId('Microsoft.Network/dnsResolverDomainLists', '{list}')]");
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
        "name": format!("[concat(parameters('policyName'), '/{}')]", rule.name),
        "location": "[parameters('location')]",
        "dependsOn": ids.iter().cloned().chain([POLICY.to_owned()]).collect::<Vec<_>>(),
        "properties": {
            "priority": priority,
            "dnsSecurityRuleState": "Enabled",
            "action": { "actionType": rule.action },
            "dnsResolverDomainLists": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
        },
    }));
    resources
}
