//! Tests `namegate export`: its files, warnings and exit codes. `export_targets` tests what single targets write,
//! `export_readings` interprets the files as their targets do, and `export_servers` loads them into real servers.

use clap::ValueEnum;
use namegate::tools::export::Target;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};

pub(crate) fn run(settings: &str, arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    let global = ["--config", "namegate.toml", "--upstream", "10.0.0.4"];
    namegate(directory.path(), &[&["export"], arguments, &global].concat())
}

const SMALL: &str = "[policy]\nzones = []\nallow = [\n\".both.example\",\n\"name.example\",\n\"*.below.example\"]\n\
                     deny = [\n\"*.denied.both.example\"]\n";

/// The lines of a file without comments.
pub(crate) fn lines(text: &str, mark: &str) -> Vec<String> {
    let bare =
        text.lines().map(|line| line.split(&format!("  {mark} ")).next().unwrap_or_default().to_owned());
    bare.filter(|line| !line.starts_with(mark)).collect()
}

#[test]
fn a_response_policy_zone_has_two_records_for_each_name() {
    let run = run(SMALL, &["rpz"]).expect_code(0);
    assert_eq!(run.stderr, "");
    assert!(run.stdout.contains("name.example CNAME rpz-passthru.  ; namegate.toml:5\n"), "{}", run.stdout);
    assert_eq!(
        lines(&run.stdout, ";")[3..],
        [
            "* CNAME .",
            "example CNAME .",
            "*.example CNAME .",
            "below.example CNAME .",
            "*.below.example CNAME rpz-passthru.",
            "both.example CNAME rpz-passthru.",
            "*.both.example CNAME rpz-passthru.",
            "denied.both.example CNAME rpz-passthru.",
            "*.denied.both.example CNAME .",
            "name.example CNAME rpz-passthru.",
            "*.name.example CNAME .",
        ]
    );
}

#[test]
fn dnsmasq_has_a_server_for_each_allowed_name() {
    let run = run(SMALL, &["dnsmasq"]).expect_code(0);
    assert_eq!(run.stderr, "");
    assert_eq!(
        lines(&run.stdout, "#"),
        [
            "no-resolv",
            "no-hosts",
            "local=/#/",
            "server=/*.below.example/10.0.0.4#53",
            "server=/both.example/10.0.0.4#53",
            "local=/*.denied.both.example/",
            "server=/name.example/10.0.0.4#53",
            "local=/*.name.example/",
        ]
    );
}

#[test]
fn what_unbound_cannot_say_is_told() {
    let zones = |text: &str| {
        let zones = lines(text, "#")
            .into_iter()
            .filter(|line| line.contains("local-zone") && !line.contains("localhost"));
        zones.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let expected = [
        "local-zone: \".\" always_nxdomain",
        "local-zone: \"below.example.\" transparent",
        "local-zone: \"both.example.\" always_transparent",
        "local-zone: \"denied.both.example.\" always_nxdomain",
        "local-zone: \"name.example.\" always_transparent",
    ];
    for arguments in [&["unbound"][..], &["unbound", "--widen"]] {
        let unbound = run(SMALL, arguments).expect_code(0);
        assert_eq!(zones(&unbound.stdout), expected);
        unbound.expect_stderr(&[
            "warning: namegate.toml:5: `name.example` is widened: it also allows its subdomains, which belong to the same \
             owner\n",
            "warning: namegate.toml:8: `*.denied.both.example` also blocks `denied.both.example`: ",
        ]);
    }
}

/// Names that anyone can create are not opened without `--widen`.
#[test]
fn names_of_strangers_are_opened_only_with_widen() {
    let settings = |host: &str| format!("[policy]\nzones = []\nallow = [\"{host}\"]\n");
    for target in ["unbound", "azure-dns-policy"] {
        for (host, owner) in [
            ("westeurope.cloudapp.azure.com", "virtual machines and load balancers"),
            ("blob.core.windows.net", "storage accounts"),
            ("contoso.azurewebsites.net", "web sites and functions"),
            ("blogspot.com", "names of a provider's customers"),
            ("co.uk", "domains"),
        ] {
            let narrow = run(&settings(host), &[target]).expect_code(0);
            let told = format!("anyone can create names ({owner}); use --widen to allow both");
            narrow.clone().expect_stderr(&[&told]);
            assert!(!narrow.stdout.contains(&format!("\"{host}.\"")), "{target}: {}", narrow.stdout);
            let wide = run(&settings(host), &[target, "--widen"]).expect_code(0);
            assert!(wide.stdout.contains(&format!("\"{host}.\"")), "{target}: {}", wide.stdout);
        }
        let studio = run(&settings("ml.azure.com"), &[target]).expect_code(0);
        let zones = studio.stdout.lines().filter(|line| line.contains("ml.azure.com.\"")).count();
        assert_eq!(zones, 2, "{target}: {}", studio.stdout);
        studio.expect_stderr(&["belong to the same owner, except below `inference.ml.azure.com`\n"]);
        // A rule for the names below opens them again.
        let both = "[policy]\nzones = []\nallow = [\"ml.azure.com\", \"*.inference.ml.azure.com\"]\n";
        let both = run(both, &[target]).expect_code(0);
        assert!(!both.stdout.contains("Block-") || target == "unbound", "{}", both.stdout);
    }
}

/// Names with characters that a format gives a meaning are left out, and what they deny stays blocked.
#[test]
fn names_that_a_format_would_misread_are_left_out() {
    let settings = r"
[policy]
zones = []
allow = [
'ok.example.test',
'\*.example.test',
'a\/evil.com',
'a\#b.example.test',
'a\010b.example.test',
'a\.b.example.test',
'.zone.test',
'exact.test']
deny = ['x\.y.b.zone.test', '*.x\.y.exact.test']
";
    for target in Target::value_variants().iter().filter(|target| **target != Target::Ztdns) {
        let run = run(settings, &[target.name().as_str()]).expect_code(0);
        for rule in [r"\*.example.test", r"a\.b.example.test", r"a\010b.example.test"] {
            let told = run.stderr.lines().any(|line| line.contains(&format!("`{rule}` is not exported")));
            assert!(told, "{target:?}, {rule}: {}", run.stderr);
        }
        for part in
            ["\"*.example.test", "/*.example.test/10.0.0.4", "\\", "\n*.example.test CNAME rpz-passthru."]
        {
            assert!(!run.stdout.contains(part), "{target:?}: {part}\n{}", run.stdout);
        }
        let has_evil = run.stdout.contains("/evil.com");
        assert!(!has_evil || *target == Target::Rpz, "{target:?}: {}", run.stdout);
        if !matches!(
            target,
            Target::AzureMl | Target::AzureAiFoundry | Target::Cilium | Target::ClusterNetworkPolicy
        ) {
            let told = "`.zone.test` is not exported below `b.zone.test`: this format cannot write";
            assert!(run.stderr.contains(told), "{target:?}: {}", run.stderr);
        }
    }
    let dnsmasq = run(settings, &["dnsmasq"]).stdout;
    assert_eq!(
        lines(&dnsmasq, "#")[3..],
        [
            "server=/exact.test/10.0.0.4#53",
            "local=/*.exact.test/",
            "server=/ok.example.test/10.0.0.4#53",
            "local=/*.ok.example.test/",
            "server=/zone.test/10.0.0.4#53",
            "local=/*.b.zone.test/",
        ]
    );
    let unbound = run(settings, &["unbound"]);
    assert!(unbound.stdout.contains("local-zone: \"b.zone.test.\" always_nxdomain"), "{}", unbound.stdout);
    // Its subdomains cannot be opened without the denied ones.
    assert!(!unbound.stdout.contains("exact.test.\" always_transparent"), "{}", unbound.stdout);
    let rpz = lines(&run(settings, &["rpz"]).stdout, ";");
    let owners: Vec<&str> = rpz.iter().filter_map(|line| line.split(" CNAME ").next()).collect();
    let mut different = owners.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(
        owners.len(),
        different.len(),
        "a server refuses a zone with two CNAME records of one name: {rpz:?}"
    );
}

/// Public resolvers and tunnels below a name that is widened stay blocked.
#[test]
fn what_is_widened_stops_at_resolvers_and_tunnels() {
    let settings = |hosts: &str| format!("[policy]\nzones = []\nallow = [{hosts}]\n");
    for (hosts, blocked) in [
        ("\"quad9.net\"", "dns.quad9.net"),
        ("\"icloud.com\"", "mask.icloud.com"),
        ("\"googlezip.net\"", "dns-tunnel-check.googlezip.net"),
        ("\"visualstudio.com\"", "tunnels.api.visualstudio.com"),
        ("\"ml.azure.com\", \"inference.ml.azure.com\"", "inference.ml.azure.com"),
        ("\"windows.net\", \"core.windows.net\", \"blob.core.windows.net\"", "blob.core.windows.net"),
    ] {
        let unbound = run(&settings(hosts), &["unbound"]).expect_code(0);
        let zone = format!("local-zone: \"{blocked}.\" always_nxdomain");
        assert!(unbound.stdout.contains(&zone), "{hosts}: {}", unbound.stdout);
    }
    let tunnel = run(&settings("\"edge.argotunnel.com\""), &["unbound"]).expect_code(0);
    tunnel.expect_stderr(&["where anyone can create names (Cloudflare tunnels); use --widen"]);
}

/// A required host that drops out is an error, whatever the target.
#[test]
fn a_required_host_that_drops_out_makes_the_status_1() {
    let directory = TempDir::new().expect("a temporary directory");
    let zone = |listed: &str, superseded: &str| {
        format!(
            "[[edition]]\nid = \"page\"\npage = \"a page\"\ndate = 2026-03-19\n{superseded}\n\
             [[allow]]\nhost = \"contoso.azurewebsites.net\"\nports = [\"tcp/443\"]\n{listed}\n\
             [[allow]]\nhost = \"*.nested.example\"\nports = [\"tcp/443\"]\n{listed}\n\
             [[deny]]\nhost = \"x.nested.example\"\nreason = \"a test\"\n\
             [[allow]]\nhost = \"a+b.example\"\nports = [\"tcp/443\"]\n{listed}\n\
             [[allow]]\nhost = \"*.udp.example\"\nports = [\"udp/5831\"]\n{listed}\n"
        )
    };
    let listed = "listed = [\"page\"]";
    for (target, lost) in [
        ("unbound", &["a+b.example", "contoso.azurewebsites.net"][..]),
        ("azure-dns-policy", &["a+b.example", "contoso.azurewebsites.net"]),
        ("azure-firewall", &["a+b.example", "*.udp.example"]),
        ("azure-ml", &["a+b.example", "*.nested.example"]),
        ("azure-ai-foundry", &["a+b.example", "*.nested.example"]),
        ("cilium", &["a+b.example", "*.nested.example"]),
        ("cluster-network-policy", &["a+b.example", "*.nested.example"]),
        ("route53", &["a+b.example"]),
        ("rpz", &[]),
        ("dnsmasq", &["a+b.example"]),
        ("coredns", &["a+b.example"]),
    ] {
        for (text, is_required) in
            [(zone(listed, ""), true), (zone(listed, "superseded = true"), false), (zone("", ""), false)]
        {
            std::fs::write(directory.path().join("zone.toml"), text).expect("a file can be written");
            let arguments = ["export", target, "--zones", "./zone.toml", "--upstream", "10.0.0.4"];
            let run = namegate(directory.path(), &arguments);
            let required: Vec<&str> = run
                .stderr
                .lines()
                .filter(|line| line.starts_with("error: ./zone.toml:"))
                .map(|line| line.split('`').nth(1).unwrap_or_default())
                .collect();
            assert_eq!(required, if is_required { lost } else { &[] }, "{target}: {}", run.stderr);
            assert!(!run.stdout.is_empty(), "{target}: the file is written all the same");
            run.expect_code(i32::from(is_required && !lost.is_empty()));
        }
    }
}

#[test]
fn an_option_of_another_target_is_refused() {
    let network = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub";
    for (arguments, texts) in [
        (&["rpz", "--vnet", network][..], &["--vnet has no meaning for `rpz`", "azure-dns-policy"][..]),
        (&["rpz", "--discover", "127.0.0.1"], &["--discover has no meaning for `rpz`"]),
        (&["azure-dns-policy", "--vnet", "hub"], &["write the resource ID of a virtual network"]),
        (&["azure-dns-policy", "--discover", "tls://10.0.0.4"], &["answers over UDP", "168.63.129.16"]),
        (&["azure-dns-policy", "--discover", "system"], &["answers over UDP"]),
        (&["azure-dns-policy", "--namespace", "a"], &["it is for cilium and cluster-network-policy"]),
        (&["cilium", "--namespace", "kube-system"], &["cut the cluster's DNS servers off"]),
        (&["cilium", "--cloud", "china"], &["it is for azure-ml and azure-ai-foundry"]),
        (&["azure-ml", "--cloud", "moon"], &["public", "government", "china"]),
        (&["ztdns"], &["ZTDNS has no list of names", "--resolver tls://10.0.0.4#dns.example"]),
        (&["ztdns", "--resolver", "10.0.0.4"], &["write an encrypted server by its address"]),
        (&["nonsense"], &["azure-firewall"]),
    ] {
        let run = run(SMALL, arguments).expect_code(2).expect_stderr(texts);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

#[test]
fn strict_makes_what_was_told_a_failure() {
    for (target, arguments, code) in [
        ("rpz", &["--strict"][..], 0),
        ("dnsmasq", &["--strict"], 0),
        ("unbound", &["--strict"], 1),
        ("unbound", &["--strict", "--widen"], 1),
        ("azure-dns-policy", &[], 0),
        ("azure-dns-policy", &["--strict"], 1),
        ("cilium", &["--strict"], 1),
        ("nonsense", &[], 2),
    ] {
        run(SMALL, &[&[target], arguments].concat()).expect_code(code);
    }
}

#[test]
fn an_export_can_go_to_a_file() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("out");
    let file = file.to_str().expect("a path in UTF-8");
    assert_eq!(run(SMALL, &["rpz", "--output", file]).expect_code(0).stdout, "");
    assert_eq!(std::fs::read_to_string(file).expect("a file"), run(SMALL, &["rpz"]).stdout);
    let nowhere = format!("{file}/no/such/file");
    run(SMALL, &["rpz", "--output", &nowhere]).expect_code(1).expect_stderr(&[&nowhere]);
}

#[test]
fn the_upstream_that_is_no_address_is_told() {
    let directory = TempDir::new().expect("a temporary directory");
    let run = namegate(directory.path(), &["export", "dnsmasq", "--upstream", "system"]).expect_code(0);
    run.expect_stderr(&["168.63.129.16", "--upstream"]);
}

#[test]
fn ports_become_protocols_and_what_is_no_web_port_is_told() {
    let directory = TempDir::new().expect("a temporary directory");
    let rules = [
        ("web.example", "\"tcp/80\", \"tcp/443\""),
        ("files.example", "\"tcp/443\", \"tcp/445\""),
        ("time.example", "\"udp/123\""),
        ("*.tundra.example", "\"udp/5831\""),
        ("inner.web.example", "\"tcp/8443\""),
    ];
    let zone: String = rules
        .iter()
        .map(|(host, ports)| format!("[[allow]]\nhost = \"{host}\"\nports = [{ports}]\n"))
        .collect();
    std::fs::write(directory.path().join("zone.toml"), zone).expect("a file can be written");
    let export = |target: &str| {
        let arguments = ["export", target, "--zones", "./zone.toml", "--upstream", "10.0.0.4"];
        namegate(directory.path(), &arguments).expect_code(0)
    };
    let firewall = export("azure-firewall");
    let value: Value = serde_json::from_str(&firewall.stdout).expect("JSON");
    let collections = &value["resources"][0]["properties"]["ruleCollections"];
    let rules: Vec<String> = (collections.as_array().expect("collections").iter())
        .flat_map(|collection| collection["rules"].as_array().expect("rules"))
        .map(|rule| {
            format!(
                "{} {}",
                rule["name"],
                rule.get("targetFqdns").unwrap_or_else(|| &rule["destinationFqdns"])
            )
        })
        .collect();
    assert_eq!(
        rules,
        [
            "\"tcp-445\" [\"files.example\"]",
            "\"tcp-8443\" [\"inner.web.example\"]",
            "\"udp-123\" [\"time.example\"]",
            "\"web-80-443\" [\"web.example\"]",
            "\"web-443\" [\"files.example\"]",
        ]
    );
    let told = "`*.tundra.example` is not allowed on udp/5831: network rules accept no wildcards";
    assert_eq!(firewall.stderr, format!("warning: ./zone.toml:11: {told}\n"));
    let workspace = export("azure-ml");
    assert_eq!(workspace.stdout.matches("type: fqdn").count(), 5, "{}", workspace.stdout);
    assert_eq!(workspace.stderr.lines().count(), 4, "{}", workspace.stderr);
    let cilium = export("cilium");
    assert_eq!(cilium.stderr, "");
    assert!(cilium.stdout.contains("- matchPattern: \"**.tundra.example\""), "{}", cilium.stdout);
    assert!(cilium.stdout.contains("- port: \"5831\"\n              protocol: UDP"), "{}", cilium.stdout);
}
