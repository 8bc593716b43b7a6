//! Outbound rules of managed networks, which allow names on ports 80 and 443 only: of an Azure ML workspace (Microsoft
//! Learn, "Workspace managed virtual network isolation", 2024-08-29) and of an AI Foundry account (the file that
//! `az cognitiveservices account managed-network outbound-rule bulk-set` of Azure CLI 2.91 reads).

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::layer::{Item, allowed_alone};
use super::options::Cloud;
use super::{Context, Export, Remark};
use crate::allowlist::{Port, Protocol};
use crate::policy::rule::Scope;
use crate::util::escape::on_one_line;
use crate::wire::name::Name;

/// Longest name of a rule: `^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`.
const MAX_NAME: usize = 33;

/// Services and suffixes of storage accounts.
const STORAGE_SERVICES: [&str; 6] = ["blob", "dfs", "file", "queue", "table", "web"];
const STORAGE: [&str; 3] = ["core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn"];
/// Suffixes of Azure Government.
const GOVERNMENT: &[&str] = &[
    "azure.us",
    "azureml.us",
    "azurecr.us",
    "usgovcloudapi.net",
    "usgovcloudapp.net",
    "azurewebsites.us",
    "windowsazure.us",
    "microsoftonline.us",
    "microsoft.us",
    "applicationinsights.us",
];
/// Suffixes of Azure China.
const CHINA: &[&str] = &[
    "azure.cn",
    "azureml.cn",
    "azurecr.cn",
    "chinacloudapi.cn",
    "chinacloudapp.cn",
    "chinacloudsites.cn",
    "windowsazure.cn",
    "microsoftazure.cn",
    "microsoftonline.cn",
    "applicationinsights.azure.cn",
];

pub(super) fn write_azure_ml(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let mut text = context.head("#", "azure-ml");
    text.push_str(
        "$schema: https://azuremlschemas.azureedge.net/latest/workspace.schema.json\n\
         managed_network:\n  isolation_mode: allow_only_approved_outbound\n  outbound_rules:\n",
    );
    for rule in rules(context, &mut export.remarks) {
        let (name, comment, destination) = (rule.name, rule.comment, rule.destination);
        let _ =
            writeln!(text, "    - name: {name}{comment}\n      type: fqdn\n      destination: {destination}");
    }
    export.text = text;
    export
}

pub(super) fn write_ai_foundry(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let mut text = context.head("#", "azure-ai-foundry");
    text.push_str("rules:\n");
    for rule in rules(context, &mut export.remarks) {
        let (name, comment, destination) = (rule.name, rule.comment, rule.destination);
        let _ = writeln!(
            text,
            "  - name: {name}{comment}\n    type: FQDN\n    category: UserDefined\n    destination: {destination}"
        );
    }
    export.text = text;
    export
}

/// A rule as text.
struct OutboundRule {
    name: String,
    comment: String,
    /// A JSON string, which is valid YAML.
    destination: serde_json::Value,
}

fn rules(context: &Context<'_>, remarks: &mut Vec<Remark>) -> Vec<OutboundRule> {
    let mut left_out: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut rules = Vec::new();
    for item in allowed_alone(context, remarks) {
        if let Some(reason) = unreachable_for(item.pattern.name(), context.options.cloud) {
            left_out.entry(reason).or_default().push(item.pattern.to_string());
            continue;
        }
        remarks.extend(unsaid_ports(context, &item));
        let purpose = context.purpose(item.rule);
        for destination in destinations(&item) {
            rules.push(OutboundRule {
                name: rule_name(&destination),
                comment: if purpose.is_empty() {
                    String::new()
                } else {
                    format!("  # {}", on_one_line(purpose))
                },
                destination: destination.into(),
            });
        }
    }
    for (reason, patterns) in left_out {
        remarks.push(Remark::general(format!("{reason}: {}", patterns.join(", "))));
    }
    rules
}

/// Why a rule for the name would be of no use.
fn unreachable_for(name: &Name, cloud: Cloud) -> Option<&'static str> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let is_within = |suffix: &str| {
        let suffix: Vec<&[u8]> = suffix.split('.').map(str::as_bytes).collect();
        labels.ends_with(&suffix)
    };
    let is_below_one_of = |suffixes: &[&str]| suffixes.iter().any(|suffix| is_within(suffix));
    if cloud != Cloud::Government && is_below_one_of(GOVERNMENT) {
        return Some("names of Azure Government are not exported (--cloud government exports them)");
    }
    if cloud != Cloud::China && is_below_one_of(CHINA) {
        return Some("names of Azure China are not exported (--cloud china exports them)");
    }
    let services =
        || STORAGE.iter().flat_map(|suffix| STORAGE_SERVICES.map(|service| format!("{service}.{suffix}")));
    services().any(|suffix| is_within(&suffix)).then_some(
        "storage names are not exported, because FQDN rules do not open storage (use private endpoints or a service tag \
         with a service endpoint policy)",
    )
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

/// A rule name that depends on the host alone, so that the next export only changes rules whose host changed. A name that
/// is shortened, or that another host would give too, ends with a digest of the host.
fn rule_name(destination: &str) -> String {
    let host = destination.strip_prefix("*.");
    let plain = match host {
        Some(host) => format!("any_{}", host.replace('.', "_")),
        None => destination.replace('.', "_"),
    };
    let is_faithful = destination.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-.".contains(&byte))
        && !destination.starts_with(['-', '.'])
        && !destination.starts_with("any.");
    if is_faithful && (3..MAX_NAME).contains(&plain.len()) {
        return plain;
    }
    let digest: String = Sha256::digest(destination)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let start: String = plain.chars().map(allowed).take(MAX_NAME - 1 - digest.len()).collect();
    let start = start.trim_start_matches(['-', '_']);
    format!("{}-{digest}", if start.is_empty() { "rule" } else { start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_fit_azure_and_differ() {
        let hosts = [
            ("ml.azure.com", "ml_azure_com"),
            ("*.azureml.ms", "any_azureml_ms"),
            ("any.azureml.ms", "any_azureml_ms-"),
            ("a_b.example", "a_b_example-"),
            ("a.b.example", "a_b_example"),
            ("*.westeurope.instances.azureml.ms", "any_westeurope_instances-"),
            ("x", "x-"),
            ("-a.example", "a_example-"),
            ("_tcp.example", "tcp_example-"),
            ("pkg-containers.githubusercontent.com", "pkg-containers_githubuse-"),
            ("pkg-containers.githubuser.com", "pkg-containers_githubuser_com"),
        ];
        let mut names = std::collections::BTreeSet::new();
        for (host, start) in hosts {
            let name = rule_name(host);
            assert!(name.starts_with(start), "{host}: {name}");
            assert_eq!(name.len() - start.len(), if start.ends_with('-') { 8 } else { 0 }, "{host}: {name}");
            assert!((3..=33).contains(&name.len()), "{host}: {name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{name}");
            assert!(names.insert(name.clone()), "{host}: {name}");
            assert_eq!(name, rule_name(host), "stable");
        }
    }
}
