//! Tests that `namegate import` reads the shapes in which programs write the same list.

use crate::support::command::namegate;
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
