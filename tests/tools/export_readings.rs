//! Tests exports for targets that cannot run here, interpreted as their documentation says.

use namegate::assemble::Assembly;
use namegate::policy::rule::Pattern;
use namegate::tools::export::{ExportOptions, Target, export};
use namegate::wire::name::Name;
use serde_json::Value;

use crate::tools::export::lines;
use crate::tools::export_servers::{NESTED, SHIPPED, Told, allows, assembly, names::names};

/// Number of names to compare.
const NAMES: usize = 20_000;

/// The default allowlists for one workspace, without names of other tenants.
const STRICT: &str = r#"
[policy]
strict = true
[parameters]
region = ["westeurope"]
storage = ["teststorage"]
acr = ["testregistry"]
key_vault = ["testvault"]
"#;

/// Compares a target's verdicts with the policy; differences must be reported, and all go in one direction.
fn read_as(target: Target, widen: bool, judge: impl Fn(&str) -> Box<dyn Fn(&str) -> bool>) {
    for (policy, settings) in [("default", ""), ("shipped", SHIPPED), ("strict", STRICT), ("nested", NESTED)]
    {
        let assembly: Assembly = assembly(settings);
        let export = export(target, &assembly, &ExportOptions { widen, ..ExportOptions::default() });
        let told = Told::of(&export);
        let judge = judge(&export.text);
        let (mut allowed, mut differences) = (0, Vec::new());
        for name in names(assembly.policy(), NAMES) {
            let folded = Name::from_labels(name.split('.').map(str::as_bytes)).expect("a name");
            let (here, there) = (allows(&assembly, &folded), judge(&folded.to_string()));
            allowed += usize::from(there);
            if here != there && !told.iter().any(|told| told.explains(&folded, there)) {
                differences.push(format!("{name}: here {here}, there {there}"));
            }
        }
        differences.truncate(20);
        assert!(differences.is_empty(), "{target:?}, {policy}, widen {widen}:\n{}", differences.join("\n"));
        assert!(allowed > 100, "{target:?}, {policy}: {allowed} allowed");
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Azure Firewall: collections by priority, `*.x` for every name below `x`.
fn firewall(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let collections = &value["resources"][0]["properties"]["ruleCollections"];
    let mut tried: Vec<(u64, bool, Vec<Pattern>)> = Vec::new();
    for collection in collections.as_array().expect("collections") {
        let allow = collection["action"]["type"] == "Allow";
        let rules = collection["rules"].as_array().expect("rules").iter();
        let rules = rules.filter(|rule| rule["ruleType"] == "ApplicationRule");
        let fqdns =
            rules.flat_map(|rule| strings(&rule["targetFqdns"]).map(|fqdn| Pattern::parse(fqdn).unwrap()));
        tried.push((collection["priority"].as_u64().expect("a priority"), allow, fqdns.collect()));
    }
    tried.sort_by_key(|(priority, ..)| *priority);
    Box::new(move |name| first_match(&tried, name))
}

/// The verdict of the first layer with a pattern that covers the name.
fn first_match(tried: &[(u64, bool, Vec<Pattern>)], name: &str) -> bool {
    let name = Name::from_labels(name.split('.').map(str::as_bytes)).expect("a name");
    let covers =
        |(_, _, patterns): &&(u64, bool, Vec<Pattern>)| patterns.iter().any(|one| one.matches(&name));
    tried.iter().find(covers).is_some_and(|(_, allow, _)| *allow)
}

#[test]
fn azure_firewall_would_let_pass_what_namegate_does() {
    read_as(Target::AzureFirewall, false, firewall);
}

/// Azure DNS resolver policy: rules by priority; a domain covers itself and every name below.
fn resolver_policy(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let resources = value["resources"].as_array().expect("resources").clone();
    let list = |id: &str| {
        let named = |resource: &&Value| {
            resource["type"] == "Microsoft.Network/dnsResolverDomainLists"
                && id.ends_with(&format!("'{}')]", resource["name"].as_str().unwrap_or_default()))
        };
        let list = resources.iter().find(named).unwrap_or_else(|| panic!("no list {id}"));
        strings(&list["properties"]["domains"]).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut tried = Vec::new();
    let is_rule = |rule: &&Value| rule["type"] == "Microsoft.Network/dnsResolverPolicies/dnsSecurityRules";
    for rule in resources.iter().filter(is_rule) {
        let properties = &rule["properties"];
        let lists = properties["dnsResolverDomainLists"].as_array().expect("lists").iter();
        let domains: Vec<String> =
            lists.flat_map(|list_of| list(list_of["id"].as_str().expect("an id"))).collect();
        assert!(domains.iter().all(|domain| domain.ends_with('.')), "{domains:?}");
        // The last one is the root, which covers everything.
        let patterns = domains
            .iter()
            .filter(|domain| *domain != ".")
            .map(|domain| Pattern::parse(&format!(".{domain}")).unwrap());
        let allow = properties["action"]["actionType"] == "Allow";
        tried.push((
            properties["priority"].as_u64().expect("a priority"),
            allow,
            patterns.collect::<Vec<_>>(),
        ));
    }
    tried.sort_by_key(|(priority, ..)| *priority);
    assert_eq!(tried.last().map(|(priority, allow, _)| (*priority, *allow)), Some((65_000, false)));
    Box::new(move |name| first_match(&tried, name))
}

#[test]
fn an_azure_dns_policy_lets_pass_no_more_than_namegate() {
    read_as(Target::AzureDnsPolicy, false, resolver_policy);
    read_as(Target::AzureDnsPolicy, true, resolver_policy);
}

/// Azure managed network rules: only allowed names.
fn managed_network(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let destinations = text.lines().filter_map(|line| line.trim().strip_prefix("destination: "));
    let patterns =
        destinations.map(|text| Pattern::parse(&serde_json::from_str::<String>(text).unwrap()).unwrap());
    let tried = vec![(0, true, patterns.collect::<Vec<_>>())];
    Box::new(move |name| first_match(&tried, name))
}

/// Cilium: `**.x` for every name below `x`. Names that may be queried and names that may be connected to are the same.
fn cilium(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let selectors = |text: &str| {
        let quoted = |line: &str| Some(line.split_once("match")?.1.split('"').nth(1)?.replace("**.", "*."));
        let is_about_names = |line: &&str| !line.contains("matchLabels") && !line.contains("cluster.local");
        let mut patterns: Vec<String> = text.lines().filter(is_about_names).filter_map(quoted).collect();
        patterns.sort();
        patterns
    };
    let (dns, fqdns) = text.split_once("    - toFQDNs:\n").expect("both halves");
    assert!(dns.contains("matchPattern: \"**.cluster.local\""), "{dns}");
    assert_eq!(selectors(dns), selectors(fqdns));
    let patterns: Vec<Pattern> =
        selectors(dns).iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect();
    let tried = vec![(0, true, patterns)];
    Box::new(move |name| first_match(&tried, name))
}

/// ClusterNetworkPolicy: names of Accept rules, before the rule that denies the rest.
fn cluster_network_policy(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let (names, rest) = text.split_once("name: everything-else").expect("a last rule");
    assert!(rest.contains("action: Deny"), "{rest}");
    let quoted = |line: &str| line.trim().strip_prefix("- \"")?.strip_suffix('"').map(str::to_owned);
    let patterns = names.lines().filter_map(quoted).map(|pattern| Pattern::parse(&pattern).unwrap());
    let tried = vec![(0, true, patterns.collect::<Vec<_>>())];
    Box::new(move |name| first_match(&tried, name))
}

#[test]
fn targets_without_denials_let_pass_no_more_than_namegate() {
    for widen in [false, true] {
        for target in [Target::AzureMl, Target::AzureAiFoundry] {
            read_managed_network(target, widen);
        }
        read_as(Target::Cilium, widen, cilium);
        read_as(Target::ClusterNetworkPolicy, widen, cluster_network_policy);
    }
}

/// Names of storage and of other clouds are left out; the remarks list them.
fn read_managed_network(target: Target, widen: bool) {
    for (policy, settings) in [("default", ""), ("strict", STRICT), ("nested", NESTED)] {
        let assembly: Assembly = assembly(settings);
        let export = export(target, &assembly, &ExportOptions { widen, ..ExportOptions::default() });
        let left_out: Vec<Pattern> = export
            .remarks
            .iter()
            .filter(|remark| remark.message.contains("names ") && remark.place.is_empty())
            .flat_map(|remark| remark.message.rsplit(": ").next().unwrap_or_default().split(", "))
            .filter_map(|pattern| Pattern::parse(pattern).ok())
            .collect();
        assert!(policy != "default" || left_out.len() > 5, "{:?}", export.remarks);
        let (told, judge) = (Told::of(&export), managed_network(&export.text));
        for name in names(assembly.policy(), NAMES) {
            let folded = Name::from_labels(name.split('.').map(str::as_bytes)).expect("a name");
            let (here, there) = (allows(&assembly, &folded), judge(&folded.to_string()));
            let is_told = || {
                told.iter().any(|told| told.explains(&folded, there))
                    || here && left_out.iter().any(|pattern| pattern.matches(&folded))
            };
            assert!(
                here == there || is_told(),
                "{target:?}, {policy}, widen {widen}: {name}: here {here}, there {there}"
            );
        }
    }
}

/// Route 53: rules by priority; a name alone, or `*.x` for every name below `x`.
fn dns_firewall(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let resources = &value["Resources"];
    let mut tried = Vec::new();
    let rules = resources["RuleGroup"]["Properties"]["FirewallRules"].as_array().expect("rules");
    for rule in rules {
        let list = rule["FirewallDomainListId"]["Fn::GetAtt"][0].as_str().expect("a list");
        let patterns = strings(&resources[list]["Properties"]["Domains"])
            .filter(|domain| *domain != "*")
            .map(|domain| Pattern::parse(domain).unwrap());
        let (allow, is_last) = (rule["Action"] == "ALLOW", list == "EveryName");
        assert_eq!(allow, rule["BlockResponse"] != "NXDOMAIN", "{rule}");
        assert_eq!(rule["FirewallDomainRedirectionAction"], "TRUST_REDIRECTION_DOMAIN");
        assert!(!is_last || !allow && std::ptr::eq(rule, &raw const rules[rules.len() - 1]), "{rule}");
        tried.push((rule["Priority"].as_u64().expect("a priority"), allow, patterns.collect::<Vec<_>>()));
    }
    tried.sort_by_key(|(priority, ..)| *priority);
    Box::new(move |name| first_match(&tried, name))
}

#[test]
fn dns_firewall_would_answer_what_namegate_does() {
    read_as(Target::Route53, false, dns_firewall);
}

/// CoreDNS: the block with the longest name; in it, the template whose match blocks.
fn corefile(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let mut blocks: Vec<(Name, Vec<String>)> = Vec::new();
    for line in lines(text, "#") {
        if let Some(name) = line.strip_suffix(" {").filter(|name| !name.starts_with([' ', '(', '.'])) {
            let name = name.trim_matches('"').trim_end_matches('.');
            blocks.push((Name::from_labels(name.split('.').map(str::as_bytes)).unwrap(), Vec::new()));
        } else if let Some((_, said)) = blocks.last_mut()
            && ["import", "match"].iter().any(|word| line.trim().starts_with(word))
        {
            said.push(line.trim().to_owned());
        }
    }
    Box::new(move |text| {
        let name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
        let block =
            blocks.iter().filter(|(zone, _)| name.is_within(zone)).max_by_key(|(zone, _)| zone.wire_len());
        let Some((zone, said)) = block else { return false };
        let literal = zone.to_string().replace('.', "[.]");
        let (own, below) =
            (format!("match \"(?i)^{literal}[.]$\""), format!("match \"(?i)[.]{literal}[.]$\""));
        match said.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["import ask"] => true,
            ["import block"] => false,
            [names, "import ask"] if names == own => name != *zone,
            [names, "import ask"] if names == below => name == *zone,
            ref other => panic!("{zone}: {other:?}"),
        }
    })
}

#[test]
fn coredns_would_answer_what_namegate_does() {
    read_as(Target::Coredns, false, corefile);
}

/// Unbound: the local zone with the longest name.
fn local_zones(text: &str) -> Box<dyn Fn(&str) -> bool> {
    let zone = |line: &str| {
        let (name, kind) = line.trim().strip_prefix("local-zone: \"")?.split_once(".\" ")?;
        let name =
            Name::from_labels(name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).ok()?;
        Some((name, kind.to_owned()))
    };
    let zones: Vec<(Name, String)> = lines(text, "#").iter().filter_map(|line| zone(line)).collect();
    Box::new(move |text| {
        let name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
        let zone =
            zones.iter().filter(|(zone, _)| name.is_within(zone)).max_by_key(|(zone, _)| zone.wire_len());
        match zone.map(|(zone, kind)| (zone, kind.as_str())) {
            Some((_, "always_transparent")) => true,
            Some((zone, "transparent")) => name != *zone,
            _ => false,
        }
    })
}

#[test]
fn unbound_lets_pass_no_more_than_namegate() {
    read_as(Target::Unbound, false, local_zones);
    read_as(Target::Unbound, true, local_zones);
}

/// Names at, above and below shared suffixes, resolvers and tunnels.
const AROUND_SUFFIXES: [&str; 17] = [
    "windows.net",
    "core.windows.net",
    "blob.core.windows.net",
    "contoso.blob.core.windows.net",
    "azure.com",
    "ml.azure.com",
    "inference.ml.azure.com",
    "cloudapp.azure.com",
    "westeurope.cloudapp.azure.com",
    "azure.net",
    "vault.azure.net",
    "contoso.vault.azure.net",
    "visualstudio.com",
    "api.visualstudio.com",
    "tunnels.api.visualstudio.com",
    "cloudflare.com",
    "icloud.com",
];
/// Below these, no export allows a name that the policy does not, except those of `contoso`.
const HELD_BY_OTHERS: [&str; 8] = [
    "blob.core.windows.net",
    "file.core.windows.net",
    "inference.ml.azure.com",
    "cloudapp.azure.com",
    "vault.azure.net",
    "tunnels.api.visualstudio.com",
    "dns.cloudflare.com",
    "mask.icloud.com",
];

#[test]
fn no_export_opens_names_of_others() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    for _ in 0..150 {
        let (mut allow, mut deny) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for _ in 0..2 + below(6) {
            let scope = ["", "", "", "*.", "."][below(5)];
            let pattern = format!("{scope}{}", AROUND_SUFFIXES[below(AROUND_SUFFIXES.len())]);
            if below(4) == 0 {
                deny.insert(pattern)
            } else {
                allow.insert(pattern)
            };
        }
        allow.retain(|pattern| !deny.contains(pattern));
        let settings = format!("[policy]\nzones = []\nallow = {allow:?}\ndeny = {deny:?}\n")
            .replace('{', "[")
            .replace('}', "]");
        let assembly: Assembly = assembly(&settings);
        let options = ExportOptions::default();
        for (target, judge) in [
            (Target::Unbound, local_zones(&export(Target::Unbound, &assembly, &options).text)),
            (
                Target::AzureDnsPolicy,
                resolver_policy(&export(Target::AzureDnsPolicy, &assembly, &options).text),
            ),
        ] {
            let around = AROUND_SUFFIXES.iter().chain(&HELD_BY_OTHERS);
            for text in
                around.flat_map(|name| [(*name).to_owned(), format!("zz.{name}"), format!("y.zz.{name}")])
            {
                let name = Name::from_labels(text.split('.').map(str::as_bytes)).expect("a name");
                let is_of_others = HELD_BY_OTHERS.iter().any(|suffix| text.ends_with(&format!(".{suffix}")));
                // The owner of `*.x` holds `x`, which some formats cannot leave out.
                let is_base = allow.contains(&format!("*.{text}"));
                if is_of_others && !is_base && !text.contains("contoso") {
                    assert!(
                        allows(&assembly, &name) || !judge(&text),
                        "{target:?} allows {text}, policy:\n{settings}"
                    );
                }
            }
        }
    }
}
