//! Tests that `namegate import` reads the shapes in which programs write the same list.

use serde_json::{Value, json};

use crate::support::command::{Finished, namegate};
use crate::tools::import::{data, import, import_text, rules};

fn list(file: &str) -> String {
    format!("{}/tests/data/lists/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn dependencies_of_all_programs_are_the_same() {
    for file in ["dependencies-sdk.json", "dependencies-powershell.json"] {
        let run = import(&["azure-ml", &data(file)]).expect_code(0);
        assert_eq!(
            rules(&run.stdout),
            [
                "allow login.microsoftonline.com (Azure Active Directory)",
                "allow westeurope.tundra.azureml.ms (Azure Machine Learning)",
            ],
            "{file}"
        );
        // The response names no protocol, and Microsoft lists this port for UDP.
        assert!(
            run.stdout.contains("[\"udp/5831\"]") && run.stdout.contains("\"tcp/443\""),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn outbound_rules_of_a_managed_network_become_rules() {
    for (file, skipped) in [
        (
            "outbound-rules-cli.json",
            &["[0]: not imported: service tag", "[3]: not imported: private endpoint"][..],
        ),
        (
            "outbound-rules-workspace.json",
            &["outboundRules.aad: not imported: service tag", "outboundRules.store"],
        ),
        ("outbound-rules-rest.json", &["value[2]: not imported: service tag"]),
    ] {
        let run = import(&["azure-ml", &data(file), "--wildcards"]).expect_code(1).expect_stderr(skipped);
        let found = rules(&run.stdout);
        let hosts: Vec<&str> = found.iter().filter_map(|rule| rule.split(" (").next()).collect();
        assert_eq!(hosts, ["allow *.pythonhosted.org", "allow pypi.org"], "{file}");
    }
}

#[test]
fn firewall_rules_become_rules_with_ports() {
    for file in ["firewall-cli.json", "firewall-arm.json", "firewall-classic.json"] {
        let run = import(&["azure-firewall", &data(file), "--wildcards"]).expect_code(1);
        assert_eq!(
            rules(&run.stdout),
            [
                "allow *.pythonhosted.org (workspaces/packages)",
                "allow pypi.org (workspaces/packages)",
                "allow westeurope.tundra.azureml.ms (workspaces/tundra)",
                "deny test.pypi.org (never/old)",
            ],
            "{file}"
        );
        for ports in ["[\"tcp/80\", \"tcp/443\"]", "[\"udp/5831\"]"] {
            assert!(run.stdout.contains(ports), "{ports} in\n{}", run.stdout);
        }
        run.expect_stderr(&[
            "`WindowsUpdate`: FQDN tag",
            "service tags, and no names",
            "decides by priority",
        ]);
        import(&["azure-firewall", &data(file)])
            .expect_code(1)
            .expect_stderr(&["`*.pythonhosted.org` is not imported"]);
    }
    let everything = "[{\"ruleCollections\": [{\"action\": {\"type\": \"Allow\"}, \"rules\": [{\"targetFqdns\": [\"*\", \"pypi.org\"]}]}]}]";
    let run = import_text("azure-firewall", everything).expect_code(1);
    assert_eq!(rules(&run.stdout), ["allow pypi.org ()"]);
    run.expect_stderr(&["`*` is not imported: it would allow every name"]);
}

#[test]
fn domain_lists_keep_their_action() {
    let run = import(&["list", &data("dns-policy-arm.json"), "--wildcards"]).expect_code(1);
    assert_eq!(rules(&run.stdout), ["allow .azureml.ms ()", "allow .pypi.org ()", "deny .old.azureml.ms ()"]);
    run.expect_stderr(&["no rule that allows or blocks uses the list `unused`"]);
    let run = import(&["list", &list("aws-template.json"), "--wildcards"]).expect_code(0);
    assert_eq!(rules(&run.stdout), ["allow *.azureml.ms ()", "allow pypi.org ()", "deny old.azureml.ms ()"]);
}

#[test]
fn lists_of_other_programs_become_rules() {
    for (text, code, expected) in [
        ("{\"Domains\": [\"pypi.org\"]}", 0, &["allow pypi.org ()"][..]),
        // Only Azure's lists need the final dot, and there a domain covers the names below it.
        ("[\"pypi.org.\"]", 1, &["allow pypi.org ()"]),
        ("[\"pypi.org\"]", 0, &["allow pypi.org ()"]),
        ("{\"id\": \"x\", \"domains\": [\"pypi.org.\"]}", 1, &["allow pypi.org ()"]),
        ("[{\"Id\": \"x\", \"Domain\": [\"pypi.org.\"]}]", 1, &["allow pypi.org ()"]),
        ("||ads.contoso.com^\n@@||www.contoso.com^\n", 1, &["deny .ads.contoso.com ()"]),
        (
            "127.0.0.1 localhost\n0.0.0.0 ads.contoso.com  # comment\n10.0.0.4 db.contoso.com\n",
            1,
            &["deny ads.contoso.com ()"],
        ),
        ("pypi.org:443\nupload.pypi.org:8443\n", 0, &["allow pypi.org ()", "allow upload.pypi.org ()"]),
    ] {
        let run = import_text("list", text).expect_code(code);
        assert_eq!(rules(&run.stdout), expected, "{text}\n{}", run.stderr);
    }
    let run = import(&["list", &list("workflow.yml"), "--wildcards"]).expect_code(0);
    assert_eq!(
        rules(&run.stdout),
        [
            "allow *.pythonhosted.org ()",
            "allow github.com ()",
            "allow pypi.org ()",
            "allow upload.pypi.org ()"
        ]
    );
    assert_eq!(run.stdout.matches("[\"tcp/443\"]").count(), 4, "{}", run.stdout);
}

#[test]
fn an_exported_security_policy_comes_back() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(
        directory.path().join("namegate.toml"),
        "[policy]\nzones = []\nallow = [\".contoso.com\"]\ndeny = [\".old.contoso.com\"]\n\
         [upstream]\nservers = [\"127.0.0.1:5300\"]\n",
    )
    .expect("a file can be written");
    let export = ["export", "azure-dns-policy", "--config", "namegate.toml", "--output", "policy.json"];
    namegate(directory.path(), &export).expect_code(0);
    let run = namegate(directory.path(), &["import", "list", "policy.json", "--wildcards"]).expect_code(0);
    assert_eq!(rules(&run.stdout), ["allow .contoso.com ()", "deny .old.contoso.com ()"]);
}

/// An ARM template with a list for each name, and with rules: name, list, action, priority and state.
fn azure_template(lists: &[(&str, &str)], rules: &[(&str, &str, &str, u32, &str)]) -> String {
    let lists = lists.iter().map(|(name, domain)| {
        json!({
            "type": "Microsoft.Network/dnsResolverDomainLists",
            "name": name,
            "properties": { "domains": [domain] },
        })
    });
    let rules = rules.iter().map(|(name, list, action, priority, state)| {
        let id = format!("[resourceId('Microsoft.Network/dnsResolverDomainLists', '{list}')]");
        json!({
            "type": "Microsoft.Network/dnsResolverPolicies/dnsSecurityRules",
            "name": name,
            "properties": {
                "priority": priority,
                "action": { "actionType": action },
                "dnsSecurityRuleState": state,
                "dnsResolverDomainLists": [{ "id": id }],
            },
        })
    });
    json!({ "contentVersion": "1.0.0.0", "resources": lists.chain(rules).collect::<Vec<_>>() }).to_string()
}

fn aws_template(lists: &[(&str, &str)], rules: &[Value]) -> String {
    let mut resources: serde_json::Map<String, Value> = lists
        .iter()
        .map(|(name, domain)| {
            let list = json!({
                "Type": "AWS::Route53Resolver::FirewallDomainList",
                "Properties": { "Domains": [domain] },
            });
            ((*name).to_owned(), list)
        })
        .collect();
    let group = json!({
        "Type": "AWS::Route53Resolver::FirewallRuleGroup",
        "Properties": { "FirewallRules": rules },
    });
    resources.insert("Rules".to_owned(), group);
    json!({ "Resources": resources }).to_string()
}

/// Imports with `--wildcards`, which also adds the names below a domain.
fn import_wide(format: &str, text: &str) -> Finished {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("input"), text).expect("a file can be written");
    namegate(directory.path(), &["import", format, "input", "--wildcards"])
}

#[test]
fn the_rule_with_the_lowest_priority_decides() {
    const LISTS: [(&str, &str); 2] = [("wide", "contoso.com."), ("narrow", "www.contoso.com.")];
    let first = "decides first";
    for (case, rules_of_policy, code, expected, remark) in [
        (
            "a wide block decides before a narrow allow",
            &[("p/a", "wide", "Block", 100, "Enabled"), ("p/b", "narrow", "Allow", 200, "Enabled")][..],
            1,
            &["deny .contoso.com ()"][..],
            first,
        ),
        (
            "a narrow allow decides before a wide block",
            &[("p/a", "wide", "Block", 200, "Enabled"), ("p/b", "narrow", "Allow", 100, "Enabled")],
            0,
            &["allow .www.contoso.com ()", "deny .contoso.com ()"],
            "",
        ),
        (
            "a wide allow decides before a narrow block",
            &[("p/a", "wide", "Allow", 100, "Enabled"), ("p/b", "narrow", "Block", 200, "Enabled")],
            1,
            &["allow .contoso.com ()"],
            first,
        ),
        (
            "a disabled rule is left out",
            &[("p/a", "wide", "Allow", 100, "Disabled"), ("p/b", "narrow", "Allow", 200, "Enabled")],
            1,
            &["allow .www.contoso.com ()"],
            "the rule is disabled",
        ),
        (
            "of two rules with the same list the first decides",
            &[
                ("p/a", "narrow", "Allow", 200, "Enabled"),
                ("p/b", "narrow", "Block", 90, "Enabled"),
                ("p/c", "wide", "Allow", 300, "Enabled"),
            ],
            0,
            &["allow .contoso.com ()", "deny .www.contoso.com ()"],
            "",
        ),
        (
            "a disabled block of the same list does not decide",
            &[
                ("p/a", "narrow", "Allow", 200, "Enabled"),
                ("p/b", "narrow", "Block", 90, "Disabled"),
                ("p/c", "wide", "Block", 300, "Enabled"),
            ],
            1,
            &["allow .www.contoso.com ()", "deny .contoso.com ()"],
            "the rule is disabled",
        ),
        (
            "a list outside the template is reported",
            &[("p/a", "other", "Block", 90, "Enabled"), ("p/b", "wide", "Allow", 200, "Enabled")],
            1,
            &["allow .contoso.com ()"],
            "not in the template",
        ),
    ] {
        let run = import_wide("list", &azure_template(&LISTS, rules_of_policy)).expect_code(code);
        assert_eq!(rules(&run.stdout), expected, "{case}\n{}", run.stderr);
        assert!(run.stderr.contains(remark), "{case}\n{}", run.stderr);
    }
    let several = [("p/a", "wide", "Allow", 100, "Enabled"), ("other/a", "narrow", "Block", 200, "Enabled")];
    import_wide("list", &azure_template(&LISTS, &several))
        .expect_code(2)
        .expect_stderr(&["rules of several DNS resolver policies"]);
    let unknown = [("p/a", "wide", "Allow", 100, "Paused")];
    import_wide("list", &azure_template(&LISTS, &unknown)).expect_code(2).expect_stderr(&["unknown state"]);
}

#[test]
fn rules_of_aws_decide_by_priority_and_record_type() {
    let rule = |list: &str, action: &str, priority: u32| json!({ "Action": action, "Priority": priority, "FirewallDomainListId": { "Ref": list } });
    let of_type = |mut rule: Value| {
        rule["Qtype"] = json!("AAAA");
        rule
    };
    let lists = [("Wide", "*.contoso.com"), ("Narrow", "www.contoso.com")];
    for (case, rules_of_group, code, expected, remark) in [
        (
            "a wide block decides before a narrow allow",
            vec![rule("Wide", "BLOCK", 100), rule("Narrow", "ALLOW", 200)],
            1,
            &["deny *.contoso.com ()"][..],
            "decides first",
        ),
        (
            "a narrow allow decides before a wide block",
            vec![rule("Wide", "BLOCK", 200), rule("Narrow", "ALLOW", 100)],
            0,
            &["allow www.contoso.com ()", "deny *.contoso.com ()"],
            "",
        ),
        (
            "of two rules with the same list the first decides",
            vec![rule("Narrow", "ALLOW", 200), rule("Narrow", "BLOCK", 90), rule("Wide", "ALLOW", 300)],
            0,
            &["allow *.contoso.com ()", "deny www.contoso.com ()"],
            "",
        ),
        (
            "an allow rule for one record type is left out",
            vec![of_type(rule("Wide", "ALLOW", 100)), rule("Narrow", "ALLOW", 200)],
            1,
            &["allow www.contoso.com ()"],
            "one record type only",
        ),
        (
            "a block rule for one record type denies every type",
            vec![of_type(rule("Narrow", "BLOCK", 100)), rule("Wide", "ALLOW", 200)],
            1,
            &["allow *.contoso.com ()", "deny www.contoso.com ()"],
            "denied for every type",
        ),
    ] {
        let run = import_wide("list", &aws_template(&lists, &rules_of_group)).expect_code(code);
        assert_eq!(rules(&run.stdout), expected, "{case}\n{}", run.stderr);
        assert!(run.stderr.contains(remark), "{case}\n{}", run.stderr);
    }
    let unnumbered = json!({ "Action": "ALLOW", "FirewallDomainListId": { "Ref": "Wide" } });
    import_wide("list", &aws_template(&lists, &[unnumbered]))
        .expect_code(2)
        .expect_stderr(&["`Priority` is missing"]);
}

#[test]
fn firewall_rules_never_allow_what_an_earlier_rule_denies() {
    let collection = |action: &str, priority: u32, field: &str, fqdn: &str| {
        json!({
            "priority": priority,
            "action": { "type": action },
            "rules": [{ "name": "r", (field): [fqdn] }],
        })
    };
    for (case, collections, expected) in [
        (
            "deny first",
            [
                collection("Deny", 100, "targetFqdns", "*.contoso.com"),
                collection("Allow", 200, "targetFqdns", "www.contoso.com"),
            ],
            &["deny *.contoso.com (r)"][..],
        ),
        (
            "allow first",
            [
                collection("Deny", 300, "targetFqdns", "*.contoso.com"),
                collection("Allow", 200, "targetFqdns", "www.contoso.com"),
            ],
            &["allow www.contoso.com (r)", "deny *.contoso.com (r)"],
        ),
        (
            "network rules come first",
            [
                collection("Deny", 300, "destinationFqdns", "www.contoso.com"),
                collection("Allow", 200, "targetFqdns", "www.contoso.com"),
            ],
            &["deny www.contoso.com (r)"],
        ),
        (
            "an allow rule may have other ports",
            [
                collection("Deny", 300, "targetFqdns", "www.contoso.com"),
                collection("Allow", 200, "targetFqdns", "*.contoso.com"),
            ],
            &["allow *.contoso.com (r)", "deny www.contoso.com (r)"],
        ),
    ] {
        let text = json!([{ "priority": 100, "ruleCollections": collections }]).to_string();
        let run = import_wide("azure-firewall", &text);
        assert_eq!(rules(&run.stdout), expected, "{case}\n{}", run.stderr);
    }
}

#[test]
fn exceptions_of_filter_lists_win() {
    for (text, code, expected) in [
        ("||ads.contoso.org^\n@@||contoso.org^\n", 1, &["allow .contoso.org ()"][..]),
        ("@@||contoso.org^\n||contoso.org^\n", 1, &["allow .contoso.org ()"]),
        ("||contoso.org^\n@@||www.contoso.org^\n", 0, &["allow .www.contoso.org ()", "deny .contoso.org ()"]),
        (
            "||ads.contoso.org^$important\n@@||contoso.org^\n",
            0,
            &["allow .contoso.org ()", "deny .ads.contoso.org ()"],
        ),
        ("||contoso.org^$important\n@@||www.contoso.org^\n", 1, &["deny .contoso.org ()"]),
        (
            "||contoso.org^$important\n@@||www.contoso.org^$important\n",
            0,
            &["allow .www.contoso.org ()", "deny .contoso.org ()"],
        ),
    ] {
        let run = import_wide("list", text).expect_code(code);
        assert_eq!(rules(&run.stdout), expected, "{text}\n{}", run.stderr);
        assert_eq!(run.stderr.contains("decides first"), code == 1, "{}", run.stderr);
    }
}

#[test]
fn lines_without_a_name_are_skipped_and_reported() {
    for (text, expected, remark) in [
        ("allowed-endpoints: >\n  pypi.org:443\n  192.0.2.4:443\n", "allow pypi.org ()", "input:3:"),
        ("pypi.org:443\n192.0.2.4:443\n", "allow pypi.org ()", "input:2:"),
        ("pypi.org:443\n[2001:db8::4]:443\n192.0.2.0/24\n", "allow pypi.org ()", "input:3:"),
        ("127.0.0.1\n0.0.0.0 ads.contoso.com\n", "deny ads.contoso.com ()", "input:1:"),
        ("0.0.0.0 ads.contoso.com\n::1\n", "deny ads.contoso.com ()", "input:2:"),
    ] {
        let run = import_text("list", text).expect_code(1).expect_stderr(&[remark, "address"]);
        assert_eq!(rules(&run.stdout), [expected], "{text}\n{}", run.stderr);
    }
    for text in [
        "allowed-endpoints: pypi.org:443 # comment\n",
        "allowed-endpoints: \"pypi.org:443\" # comment\n",
        "allowed-endpoints: >   # comment\n  pypi.org:443\n",
        "allowed-endpoints: |\n  pypi.org:443 # comment\n",
        "pypi.org:443 # comment\n",
    ] {
        let run = import_text("list", text).expect_code(0);
        assert_eq!(rules(&run.stdout), ["allow pypi.org ()"], "{text}");
    }
}
