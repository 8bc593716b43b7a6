//! Tests `namegate import`: output of Azure and other resolvers becomes allowlists. `import_local_zones` tests local
//! zones, `import_faults` refused input.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};

/// The content of a file in `tests/data/azure`.
pub(crate) fn data(file: &str) -> String {
    format!("{}/tests/data/azure/{file}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn import(arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    namegate(directory.path(), &[&["import"], arguments].concat())
}

/// Imports a file with this content.
pub(crate) fn import_text(format: &str, text: &str) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("input"), text).expect("a file can be written");
    namegate(directory.path(), &["import", format, "input"])
}

/// The rules namegate reads from an allowlist, as `action pattern (purpose)`, sorted.
pub(crate) fn rules(zone: &str) -> Vec<String> {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("zone.toml"), zone).expect("a file can be written");
    let run = namegate(directory.path(), &["rules", "--json", "--zones", "./zone.toml"]).expect_code(0);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let text = |rule: &Value, field: &str| rule[field].as_str().unwrap_or_default().to_owned();
    let mut rules: Vec<String> = (value.as_array().expect("an array").iter())
        .map(|rule| format!("{} {} ({})", text(rule, "action"), text(rule, "pattern"), text(rule, "purpose")))
        .collect();
    rules.sort();
    rules
}

#[test]
fn a_workspace_becomes_a_zone_file() {
    let run = import(&["azure-ml", &data("dependencies.json"), "--wildcards"]).expect_code(0);
    assert_eq!(run.stderr, "");
    let storage = "Storage \"hot\"\\u{1b}[31m\\n[[allow]]";
    assert_eq!(
        rules(&run.stdout),
        [
            "allow *.azureml.ms (Azure Machine Learning)".to_owned(),
            format!("allow *.blob.core.windows.net ({storage})"),
            format!("allow contosomldata.blob.core.windows.net ({storage})"),
            format!("allow contosomldata.file.core.windows.net ({storage})"),
            format!("allow login.microsoftonline.com (Azure Active Directory; {storage})"),
            "allow management.azure.com (Azure portal)".to_owned(),
            "allow ml.azure.com (Azure Machine Learning)".to_owned(),
            "allow westeurope.tundra.azureml.ms (Azure Machine Learning)".to_owned(),
        ]
    );
    for ports in ["[\"tcp/80\", \"tcp/443\"]", "[\"tcp/443\", \"tcp/445\"]", "[\"udp/5831\"]"] {
        assert!(run.stdout.contains(ports), "{ports} in\n{}", run.stdout);
    }
    // Accounts of all customers are below this name.
    assert_eq!(run.stdout.matches("broad = true").count(), 1, "{}", run.stdout);
    assert!(run.stdout.contains("revised = 20"), "{}", run.stdout);
}

#[test]
fn the_array_alone_is_read_too_and_from_standard_input() {
    let text = std::fs::read_to_string(data("dependencies.json")).expect("a file");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let whole = import_text("azure-ml", &text).stdout;
    let array = import_text("azure-ml", &value["value"].to_string()).stdout;
    assert_eq!(whole, array);
    assert_eq!(import(&["list", "-"]).expect_code(2).stdout, "");
}

#[test]
fn nothing_is_opened_wider_without_being_asked() {
    for (format, file, held_back) in [
        ("azure-ml", "dependencies.json", &["`*.azureml.ms`", "`*.blob.core.windows.net`"][..]),
        ("list", "names.list", &["`*.azureml.ms`", "`.azurecr.io`"]),
        ("rpz", "policy.rpz", &["`*.azureml.ms`"]),
    ] {
        let run = import(&[format, &data(file)]).expect_code(1);
        for pattern in held_back {
            let line = run.stderr.lines().find(|line| line.contains(pattern));
            let line = line.unwrap_or_else(|| panic!("{pattern} in\n{}", run.stderr));
            assert!(line.contains("use --wildcards to import") && line.contains(file), "{line}");
        }
        let wide = |rule: &String| rule.starts_with("allow *") || rule.starts_with("allow .");
        assert!(!rules(&run.stdout).iter().any(wide), "{}", run.stdout);
    }
}

#[test]
fn whole_domains_are_never_carried_over() {
    for (format, text, place) in [
        ("list", "*.com\nml.azure.com\n", "input:1: `*.com`"),
        ("list", "ml.azure.com\n.co.uk\n", "input:2: `.co.uk`"),
        ("list", "localhost\nml.azure.com\n", "input:1: `localhost`"),
        (
            "rpz",
            "$TTL 1\n@ SOA a. b. 1 1 1 1 1\nml.azure.com CNAME rpz-passthru.\n* CNAME rpz-passthru.\n",
            "input:4: `*`",
        ),
        (
            "rpz",
            "$TTL 1\n@ SOA a. b. 1 1 1 1 1\nml.azure.com CNAME rpz-passthru.\n*.net CNAME rpz-passthru.\n",
            "input:4: `*.net`",
        ),
        (
            "azure-ml",
            r#"[{"properties":{"category":"c","endpoints":[{"domainName":"ml.azure.com"},{"domainName":"*.com"}]}}]"#,
            "input: [0].properties.endpoints[1].domainName: `*.com`",
        ),
    ] {
        let directory = TempDir::new().expect("a temporary directory");
        std::fs::write(directory.path().join("input"), text).expect("a file can be written");
        let run = namegate(directory.path(), &["import", format, "input", "--wildcards"]).expect_code(1);
        run.clone().expect_stderr(&[place]);
        let rules = rules(&run.stdout);
        assert!(rules.len() == 1 && rules[0].starts_with("allow ml.azure.com "), "{text}: {rules:?}");
    }
}

#[test]
fn a_response_policy_zone_becomes_rules_and_the_rest_is_told() {
    let run = import(&["rpz", &data("policy.rpz"), "--wildcards"]).expect_code(1);
    assert_eq!(
        rules(&run.stdout),
        [
            "allow *.azureml.ms ()",
            "allow ml.azure.com ()",
            "allow self.contoso.example ()",
            "deny *.old.azureml.ms ()",
            "deny dropped.azureml.ms ()",
            "deny old.azureml.ms ()",
        ]
    );
    for (line, text) in [
        (10, "slow.contoso.example"),
        (11, "walled.contoso.example"),
        (12, "moved.contoso.example"),
        (13, "rpz-ip"),
        (14, "rpz-client-ip"),
        (15, "rpz-nsdname"),
        (16, "rpz-nsip"),
        (17, "`com`"),
    ] {
        let place = format!("policy.rpz:{line}: ");
        let told = run.stderr.lines().find(|told| told.contains(&place));
        assert!(told.is_some_and(|told| told.contains(text)), "{place} {text} in\n{}", run.stderr);
    }
    assert!(run.stderr.contains("blocks names that are not in the zone"), "{}", run.stderr);
}

#[test]
fn an_exported_policy_zone_comes_back_the_same() {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(
        directory.path().join("namegate.toml"),
        "[policy]\nzones = []\nallow = [\".both.example\", \"name.example\", \"*.below.example\"]\n\
         deny = [\"*.x.both.example\"]\n[upstream]\nservers = [\"127.0.0.1:5300\"]\n",
    )
    .expect("a file can be written");
    let config = ["--config", "namegate.toml"];
    namegate(directory.path(), &[&["export", "rpz", "--output", "out.rpz"][..], &config].concat())
        .expect_code(0);
    let run = namegate(directory.path(), &["import", "rpz", "out.rpz", "--wildcards", "-o", "in.toml"]);
    assert_eq!(run.expect_code(0).stdout, "");
    for (name, code) in [
        ("both.example", 0),
        ("a.b.both.example", 0),
        ("x.both.example", 0),
        ("y.x.both.example", 1),
        ("name.example", 0),
        ("a.name.example", 1),
        ("below.example", 1),
        ("a.below.example", 0),
        ("example", 1),
    ] {
        namegate(directory.path(), &["explain", name, "--zones", "./in.toml"]).expect_code(code);
        namegate(directory.path(), &[&["explain", name][..], &config].concat()).expect_code(code);
    }
}
