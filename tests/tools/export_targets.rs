//! Tests what single targets of `namegate export` write.

use std::collections::BTreeSet;

use clap::ValueEnum;
use namegate::tools::export::Target;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::support::{Response, Script, ScriptedUpstream};
use crate::tools::export::run;

const NETWORK: &str =
    "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub.west";

/// Exports with one allowlist, `zone.toml`.
fn export(zone: &str, arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("zone.toml"), zone).expect("a file can be written");
    let global = ["--zones", "./zone.toml", "--upstream", "10.0.0.4"];
    namegate(directory.path(), &[&["export"], arguments, &global].concat())
}

/// The resources of an ARM template of a type.
fn resources(template: &str, kind: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(template).expect("JSON");
    let resources = value["resources"].as_array().expect("resources").iter();
    resources
        .filter(|resource| resource["type"].as_str().is_some_and(|have| have.ends_with(kind)))
        .cloned()
        .collect()
}

/// The domains of the list whose name begins with `start`.
fn domains(template: &str, start: &str) -> Vec<String> {
    let lists = resources(template, "/dnsResolverDomainLists");
    let lists = lists.iter().filter(|list| list["name"].as_str().is_some_and(|name| name.starts_with(start)));
    lists
        .flat_map(|list| list["properties"]["domains"].as_array().expect("domains").clone())
        .filter_map(|domain| domain.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn every_target_is_a_row_of_the_docs() {
    let page = std::fs::read_to_string("docs/exports.md").expect("the page");
    let rows: Vec<String> = Target::value_variants()
        .iter()
        .map(|target| {
            let value = target.to_possible_value().expect("a name on the command line");
            format!("| [`{0}`](#{0}) | {1} |", value.get_name(), value.get_help().expect("a help text"))
        })
        .collect();
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| [`")).collect();
    assert_eq!(written, rows);
    for target in Target::value_variants() {
        assert!(page.contains(&format!("\n## {}\n", target.name())), "{target:?} has no section");
    }
}

#[test]
fn an_azure_policy_is_linked_after_all_its_rules() {
    let zone = "[[allow]]\nhost = \".corp.example\"\n";
    let other = NETWORK.replace("/rg/", "/other/");
    let run = export(zone, &["azure-dns-policy", "--vnet", NETWORK, "--vnet", &other, "--vnet", NETWORK]);
    assert_eq!(run.stderr, "");
    let links = resources(&run.stdout, "/virtualNetworkLinks");
    let rules = resources(&run.stdout, "/dnsSecurityRules");
    let ids: BTreeSet<&str> =
        links.iter().filter_map(|link| link["properties"]["virtualNetwork"]["id"].as_str()).collect();
    assert_eq!(ids, BTreeSet::from([NETWORK, other.as_str()]));
    let names: BTreeSet<&str> = links.iter().filter_map(|link| link["name"].as_str()).collect();
    assert_eq!(names.len(), 2, "two networks of one name: {names:?}");
    for link in &links {
        let dependencies = link["dependsOn"].to_string();
        assert_eq!(link["dependsOn"].as_array().map(Vec::len), Some(rules.len() + 1), "{dependencies}");
        assert!(dependencies.contains("'namegate-everything-else'"), "{dependencies}");
    }
    export(zone, &["azure-dns-policy"]).expect_code(0).expect_stderr(&["filters nothing until it is linked"]);
}

#[test]
fn a_list_keeps_its_name_only_with_its_domains() {
    let names = |zone: &str| -> BTreeSet<String> {
        let run = export(zone, &["azure-dns-policy"]).expect_code(0);
        let lists = resources(&run.stdout, "/dnsResolverDomainLists");
        lists.iter().filter_map(|list| list["name"].as_str().map(str::to_owned)).collect()
    };
    let one = names("[[allow]]\nhost = \".a.example\"\n[[deny]]\nhost = \".b.a.example\"\n");
    let same = names("title = \"t\"\n[[allow]]\nhost = \".a.example\"\n[[deny]]\nhost = \".b.a.example\"\n");
    let other = names("[[allow]]\nhost = \".c.example\"\n[[deny]]\nhost = \".b.c.example\"\n");
    assert_eq!(one, same);
    let kept: Vec<&String> = one.intersection(&other).collect();
    assert!(kept.len() == 1 && kept[0].starts_with("namegate-everything-else-"), "{one:?} {other:?}");
}

const ALIASES: &str = r#"
[[edition]]
id = "page"
page = "a page"
date = 2026-03-19

[[allow]]
host = "registry.example"
[[allow]]
host = "*.store.example"
[[deny]]
host = ".denied.example"

[[alias]]
host = "registry.example"
to = ["registry.trafficmanager.net", "edge.cdn.example", ".below.cdn.example", "a.store.example", "x.denied.example",
      "dns.google", "t.ngrok.io", "*.azurefd.net"]
listed = ["page"]

[[alias]]
host = "*.store.example"
to = ["*.backend.example"]
listed = ["page"]

[[alias]]
host = "unused.example"
to = ["unused.cdn.example"]
listed = ["page"]
"#;

#[test]
fn known_alias_targets_are_allowed() {
    let run = export(ALIASES, &["azure-dns-policy"]).expect_code(0);
    assert_eq!(
        domains(&run.stdout, "namegate-aliases"),
        ["backend.example.", "below.cdn.example.", "edge.cdn.example.", "registry.trafficmanager.net."]
    );
    run.expect_stderr(&[
        "warning: ./zone.toml:15: alias target `x.denied.example` of `registry.example` is not added: `.denied.example` \
         denies it (./zone.toml:12)",
        "`dns.google` of `registry.example` is not added: it is a public resolver (Google)",
        "alias target `registry.trafficmanager.net` is added with the names below it, where anyone can create names \
         (Traffic Manager profiles with any target)\n",
        "`t.ngrok.io` of `registry.example` is not added: anyone can create tunnels below `ngrok.io`",
        "`*.azurefd.net` of `registry.example` is not added: anyone can create names below it (Front Door endpoints)",
    ]);
    let wide = export(ALIASES, &["azure-dns-policy", "--widen"]).expect_code(0);
    assert!(
        domains(&wide.stdout, "namegate-aliases").contains(&"azurefd.net.".to_owned()),
        "{}",
        wide.stdout
    );
    assert!(!wide.stdout.contains("ngrok"), "{}", wide.stdout);
    // Other targets decide by the queried name alone.
    assert!(!export(ALIASES, &["unbound"]).expect_code(0).stdout.contains("cdn.example"));
}

/// Azure opens a target with everything below it, so all of that must belong to one owner.
#[test]
fn alias_targets_with_names_of_others_are_refused() {
    for (target, reason, is_added_with_widen) in [
        ("windows.net", "anyone can create names below `blob.core.windows.net`", true),
        ("core.windows.net", "anyone can create names below `blob.core.windows.net`", true),
        ("azure.net", "anyone can create names below `storage.azure.net`", true),
        ("blob.core.windows.net", "anyone can create names below it (storage accounts)", true),
        ("*.x.trafficmanager.net", "anyone can create names below it (Traffic Manager profiles", true),
        ("trafficmanager.net", "anyone can create names below it (Traffic Manager profiles", true),
        ("blogspot.com", "anyone can create names below it (names of a provider's customers)", true),
        ("cloudflare.com", "the public resolver `dns.cloudflare.com` is below it", false),
        ("quad9.net", "the public resolver `dns.quad9.net` is below it", false),
        ("icloud.com", "the public resolver `mask.icloud.com` is below it", false),
        ("x.dns.google", "it is a public resolver (Google)", false),
        ("argotunnel.com", "anyone can create tunnels below `argotunnel.com`", false),
        ("visualstudio.com", "anyone can create tunnels below `tunnels.api.visualstudio.com`", false),
        ("googlezip.net", "clients query `dns-tunnel-check.googlezip.net` to find another resolver", false),
        ("co.uk", "anyone can register domains below it", false),
        ("denied.example", "`.x.denied.example` denies it", false),
        (r"a\\.b.example", "in this format, names consist of letters", false),
    ] {
        let zone = format!(
            "[[allow]]\nhost = \"a.example\"\n[[deny]]\nhost = \".x.denied.example\"\n\
             [[alias]]\nhost = \"a.example\"\nto = [\"{target}\"]\n"
        );
        let narrow = export(&zone, &["azure-dns-policy"]).expect_code(0);
        assert!(domains(&narrow.stdout, "namegate-aliases").is_empty(), "{target}: {}", narrow.stdout);
        narrow.expect_stderr(&[&format!("of `a.example` is not added: {reason}")]);
        let wide = export(&zone, &["azure-dns-policy", "--widen"]).expect_code(0);
        let is_added = !domains(&wide.stdout, "namegate-aliases").is_empty();
        assert_eq!(is_added, is_added_with_widen, "{target}: {}", wide.stderr);
    }
    let zone = "[[allow]]\nhost = \"a.example\"\n[[alias]]\nhost = \"a.example\"\n\
                to = [\"contoso.privatelink.blob.core.windows.net\", \"*.store.core.windows.net\"]\n";
    let owned = export(zone, &["azure-dns-policy"]).expect_code(0);
    assert_eq!(
        domains(&owned.stdout, "namegate-aliases"),
        ["contoso.privatelink.blob.core.windows.net.", "store.core.windows.net."]
    );
}

#[test]
fn alias_targets_are_discovered_at_a_server() {
    let upstream = ScriptedUpstream::start();
    let answers = |records: &[&str]| Script::reply(Response::answering(records));
    upstream.on(
        "a.example",
        answers(&[
            "a.example 60 CNAME a.edge.test",
            "a.edge.test 60 CNAME b.edge.test",
            "b.edge.test 60 A 192.0.2.1",
        ]),
    );
    // The owner of the second record is not in the chain.
    upstream
        .on("plain.example", answers(&["plain.example 60 A 192.0.2.1", "other.test 60 CNAME stray.test"]));
    upstream.on(
        "bad.example",
        answers(&["bad.example 60 CNAME one.one.one.one", "one.one.one.one 60 A 1.1.1.1"]),
    );
    upstream
        .on("tunnel.example", answers(&["tunnel.example 60 CNAME x.ngrok.io", "x.ngrok.io 60 A 192.0.2.1"]));
    upstream.on("broken.example", Script::reply(Response::failing("SERVFAIL")));
    upstream.on("silent.example", Script::silent());
    let long = ["long.example 60 CNAME c.edge.test", "c.edge.test 60 A 192.0.2.1"];
    upstream.on("long.example", Script::truncated_then_tcp(Response::answering(&long)));
    let names = ["a", "plain", "bad", "tunnel", "broken", "silent", "long"];
    let zone: String = names.iter().map(|name| format!("[[allow]]\nhost = \"{name}.example\"\n")).collect();
    let zone = format!("{zone}[[allow]]\nhost = \"*.wild.example\"\n");
    let server = upstream.address().to_string();
    let run = export(&zone, &["azure-dns-policy", "--discover", &server]).expect_code(0);
    assert_eq!(domains(&run.stdout, "namegate-aliases"), ["a.edge.test.", "b.edge.test.", "c.edge.test."]);
    run.expect_stderr(&[
        "alias target `one.one.one.one` of `bad.example` is not added: it is a public resolver",
        "alias target `x.ngrok.io` of `tunnel.example` is not added: anyone can create tunnels",
        &format!("the alias targets of `broken.example` are unknown: {server} answered servfail"),
        &format!("the alias targets of `silent.example` are unknown: no reply from {server}"),
    ]);
    let asked: BTreeSet<String> = upstream.asked().into_iter().collect();
    assert!(asked.contains("a.example A") && asked.contains("a.example AAAA"), "{asked:?}");
    assert!(!asked.iter().any(|name| name.contains("wild")), "{asked:?}");
}

const MANAGED: &str = r#"
[policy]
zones = []
allow = ["*.azureml.ms", "x.westeurope.instances.azureml.example", "mine.blob.core.windows.net",
         "ml.azure.us", "*.ml.azure.cn", "login.partner.microsoftonline.cn"]
"#;

#[test]
fn a_managed_network_gets_only_names_that_its_rules_reach() {
    for target in ["azure-ml", "azure-ai-foundry"] {
        let run_for = |cloud: &str| run(MANAGED, &[target, "--cloud", cloud]).expect_code(0);
        let names = |text: &str| -> Vec<String> {
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
            names.map(|name| name.split("  #").next().unwrap_or_default().to_owned()).collect()
        };
        let public = run_for("public");
        assert_eq!(run(MANAGED, &[target]).stdout, public.stdout, "the default");
        let names_of_public = names(&public.stdout);
        assert_eq!(names_of_public.len(), 2, "{}", public.stdout);
        assert_eq!(names_of_public[0], "any_azureml_ms");
        assert!(names_of_public[1].starts_with("x_westeurope_instances_a-"), "{names_of_public:?}");
        public.expect_stderr(&[
            "warning: names of Azure Government are not exported (--cloud government exports them): ml.azure.us\n",
            "warning: names of Azure China are not exported (--cloud china exports them): *.ml.azure.cn, \
             login.partner.microsoftonline.cn\n",
            "warning: storage names are not exported",
        ]);
        assert_eq!(names(&run_for("government").stdout).len(), 3);
        assert_eq!(names(&run_for("china").stdout).len(), 4);
    }
    let foundry = run(MANAGED, &["azure-ai-foundry"]).stdout;
    assert!(
        foundry.contains(
            "rules:\n  - name: any_azureml_ms\n    type: FQDN\n    category: UserDefined\n    destination: \
             \"*.azureml.ms\"\n"
        ),
        "{foundry}"
    );
}

#[test]
fn a_service_tag_stands_for_wildcards_with_widen() {
    let zone = "[[allow]]\nhost = \"*.tundra.azureml.us\"\nports = [\"udp/5831\"]\n";
    let narrow = export(zone, &["azure-firewall"]).expect_code(0);
    assert!(!narrow.stdout.contains("NetworkRule"), "{}", narrow.stdout);
    narrow.expect_stderr(&[
        "on udp/5831: network rules accept no wildcards; use --widen for a network rule with the service \
                            tag AzureMachineLearning\n",
    ]);
    let wide = export(zone, &["azure-firewall", "--widen"]).expect_code(0);
    let value: Value = serde_json::from_str(&wide.stdout).expect("JSON");
    let rule = &value["resources"][0]["properties"]["ruleCollections"][0]["rules"][0];
    assert_eq!(rule["destinationAddresses"], serde_json::json!(["AzureMachineLearning"]));
    assert_eq!((&rule["destinationPorts"][0], &rule["ipProtocols"][0]), (&"5831".into(), &"UDP".into()));
    wide.expect_stderr(&[
        "is widened: it also allows all addresses of the service tag AzureMachineLearning on udp/5831\n",
    ]);
}

#[test]
fn a_rule_that_ends_is_told() {
    let rule = |host: &str, until: &str| format!("[[allow]]\nhost = \"{host}\"\nuntil = {until}\n");
    let zone = format!("{}{}", rule(".later.example", "2999-12-31"), rule(".over.example", "2020-01-31"));
    let run = export(&zone, &["rpz"]).expect_code(0);
    assert!(
        run.stdout.contains("later.example CNAME") && !run.stdout.contains("over.example"),
        "{}",
        run.stdout
    );
    let told = "`.later.example` ends 2999-12-31, but stays in the export: export again then\n";
    assert_eq!(run.stderr, format!("warning: ./zone.toml:2: {told}"));
}

const PODS: &str = r#"
[[allow]]
host = "web.example"
ports = ["tcp/443"]
[[allow]]
host = ".both.example"
ports = ["any/53", "udp/123"]
[[allow]]
host = "any.example"
"#;

#[test]
fn cilium_keeps_traffic_within_the_cluster() {
    let cluster = export(PODS, &["cilium"]).expect_code(0);
    assert_eq!(cluster.stderr, "");
    let text = cluster.stdout;
    for part in [
        "# Requires Cilium 1.19 or newer",
        "kind: CiliumClusterwideNetworkPolicy\nmetadata:\n  name: namegate\nspec:\n  endpointSelector:\n    \
         matchExpressions:\n      - key: k8s:io.kubernetes.pod.namespace\n        operator: NotIn\n        values: \
         [kube-system]\n  egress:\n",
        "            k8s:k8s-app: kube-dns\n",
        "            k8s:k8s-app: node-local-dns\n",
        "              - matchPattern: \"**.cluster.local\"\n              - matchName: \"any.example\"\n",
        "            - key: k8s:k8s-app\n              operator: NotIn\n              values: [kube-dns, node-local-dns]\n",
        "    - toEntities: [kube-apiserver]\n",
        "    - toFQDNs:\n        - matchName: \"both.example\"\n        - matchPattern: \"**.both.example\"\n      toPorts:\n",
        "            - port: \"123\"\n              protocol: UDP\n            - port: \"53\"\n              protocol: ANY\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    let one = export(PODS, &["cilium", "--namespace", "training"]).expect_code(0).stdout;
    assert!(
        one.contains("kind: CiliumNetworkPolicy\nmetadata:\n  name: namegate\n  namespace: training\nspec:\n  endpointSelector: {}\n"),
        "{one}"
    );
    let two = export(PODS, &["cilium", "--namespace", "a", "--namespace", "b"]).expect_code(0).stdout;
    assert!(two.contains("operator: In\n        values: [a, b]\n"), "{two}");
}

#[test]
fn a_cluster_network_policy_ends_with_a_denial() {
    let text = export(PODS, &["cluster-network-policy", "--namespace", "training"]).expect_code(0).stdout;
    for part in [
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n",
        "      - key: kubernetes.io/metadata.name\n          operator: In\n          values: [training]\n",
        "      action: Pass\n      to:\n        - namespaces: {}\n        - nodes: {}\n",
        "    - name: names-any-port-1\n      action: Accept\n      to:\n        - domainNames:\n            - \"any.example\"\n    \
         - name: ",
        "            - \"both.example\"\n            - \"*.both.example\"\n      protocols:\n",
        "        - tcp:\n            destinationPort:\n              number: 53\n        - udp:\n            destinationPort:\n              \
         number: 53\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(
        text.ends_with("      action: Deny\n      to:\n        - networks: [\"0.0.0.0/0\", \"::/0\"]\n"),
        "{text}"
    );
    // 25 names for each peer, 25 peers for each rule.
    let many: String = (0..700).map(|index| format!("[[allow]]\nhost = \"n{index}.example\"\n")).collect();
    let text = export(&many, &["cluster-network-policy"]).expect_code(0).stdout;
    assert_eq!(text.matches("- domainNames:").count(), 28);
    assert_eq!(text.matches("action: Accept").count(), 2);
    // More rules than the API allows: the export is not usable, and says so.
    let ports: String = (1..30)
        .map(|port| format!("[[allow]]\nhost = \"n{port}.example\"\nports = [\"tcp/{port}\"]\n"))
        .collect();
    export(&ports, &["cluster-network-policy"])
        .expect_code(1)
        .expect_stderr(&["31 egress rules", "at most 25"]);
}

#[test]
fn a_dns_firewall_blocks_every_other_name() {
    let zone = "[[allow]]\nhost = \".a.example\"\n[[deny]]\nhost = \"*.b.a.example\"\n[[allow]]\nhost = \"c.b.a.example\"\n";
    let run = export(zone, &["route53"]).expect_code(0);
    assert_eq!(run.stderr, "");
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let resources = &value["Resources"];
    let list = |name: &str| resources[name]["Properties"]["Domains"].to_string();
    assert_eq!(list("AllowedNames1"), "[\"c.b.a.example\"]");
    assert_eq!(list("BlockedNames2"), "[\"*.b.a.example\"]");
    assert_eq!(list("AllowedNames3"), "[\"a.example\",\"*.a.example\"]");
    assert_eq!(list("EveryName"), "[\"*\"]");
    assert_eq!(resources["Association"]["Condition"], "HasVpc");
}

#[test]
fn zero_trust_dns_names_the_encrypted_server() {
    let run = run(
        "[policy]\nmode = \"observe\"\n",
        &[
            "ztdns",
            "--resolver",
            "tls://10.0.0.4#dns.example",
            "--resolver",
            "https://[fd00::4]:8443/q#dns.example",
        ],
    )
    .expect_code(0);
    assert_eq!(run.stderr, "");
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(value["@odata.type"], "#microsoft.graph.windowsZtdnsConfiguration");
    assert_eq!(value["auditModeEnabled"], true, "observe mode");
    let servers = &value["secureDnsServers"];
    assert_eq!(servers[0]["ipAddress"], "10.0.0.4");
    assert_eq!(servers[0]["dnsOverTlsConfiguration"]["certificateSubjectName"], "dns.example");
    assert_eq!(servers[0]["dnsOverTlsConfiguration"]["tlsPort"], 853);
    assert_eq!(servers[1]["ipAddress"], "fd00::4");
    assert_eq!(servers[1]["dnsOverHttpsConfiguration"]["queryUrl"], "https://dns.example/q");
    assert_eq!(servers[1]["dnsOverHttpsConfiguration"]["httpsPort"], 8443);
}
