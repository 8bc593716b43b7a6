//! Tests `namegate diff`: names that a workspace needs, compared with the policy.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};

/// Compares the workspace in `tests/data/azure` with a policy of these rules.
fn diff(allow: &str, deny: &str, arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    let settings = format!("[policy]\nzones = []\nallow = [\n{allow}\n]\ndeny = [{deny}]\n");
    std::fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    let file = format!("{}/tests/data/azure/dependencies.json", env!("CARGO_MANIFEST_DIR"));
    namegate(directory.path(), &[&["diff", &file, "--config", "namegate.toml"], arguments].concat())
}

/// Exactly the rules that the workspace needs.
const ENOUGH: &str = r#""login.microsoftonline.com", "management.azure.com", "ml.azure.com", "*.azureml.ms",
"*.blob.core.windows.net", "contosomldata.file.core.windows.net""#;

#[test]
fn no_difference_is_status_zero() {
    assert_eq!(diff(ENOUGH, "", &[]).expect_code(0).stdout, "no difference\n");
    // `.azureml.ms` differs from the needed `*.azureml.ms` only in one name, which nobody can create.
    let apex = ENOUGH.replace("*.azureml.ms", ".azureml.ms");
    assert_eq!(diff(&apex, "", &[]).expect_code(0).stdout, "no difference\n");
}

/// A case, the rules beside [`ENOUGH`], and the lines printed.
type WiderRow = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const WIDER: &[WiderRow] = &[
    ("a domain above one need", "\".file.core.windows.net\"",
        &["~ allowed, wider than needed: .file.core.windows.net  namegate.toml:6 (needed: contosomldata.file.core.windows.net)"]),
    ("a domain above several", "\".windows.net\"",
        &["~ allowed, wider than needed: .windows.net  namegate.toml:6 (needed: *.blob.core.windows.net, \
           contosomldata.blob.core.windows.net and 1 more)"]),
    ("names below a needed name", "\"*.ml.azure.com\"", &["- allowed, not needed: *.ml.azure.com  namegate.toml:6"]),
    ("the needed name, and names below it", "\".management.azure.com\"",
        &["~ allowed, wider than needed: .management.azure.com  namegate.toml:6 (needed: management.azure.com)"]),
    ("a narrower rule", "\"*.westeurope.azureml.ms\"", &[]),
    ("the needed name itself", "\"contosomldata.blob.core.windows.net\"", &[]),
];

// Once, a rule that allowed one needed name among thousands of others was not reported.
#[test]
fn rules_wider_than_the_need_are_told_with_the_needed_hosts() {
    for (case, rule, lines) in WIDER {
        let run = diff(&format!("{ENOUGH},\n{rule}"), "", &[]).expect_code(i32::from(!lines.is_empty()));
        let lines = if lines.is_empty() { &["no difference"] } else { *lines };
        assert_eq!(run.stdout.lines().collect::<Vec<_>>(), lines, "{case}");
    }
    let wide = format!("{ENOUGH},\n\".windows.net\"");
    assert_eq!(diff(&wide, "", &["--needed-only"]).expect_code(0).stdout, "no difference\n");
    let run = diff(&wide, "", &["--json"]).expect_code(1);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let needed = [
        "*.blob.core.windows.net",
        "contosomldata.blob.core.windows.net",
        "contosomldata.file.core.windows.net",
    ];
    let wider =
        [serde_json::json!({ "pattern": ".windows.net", "place": "namegate.toml:6", "needed": needed })];
    assert_eq!(value, serde_json::json!({ "needed": [], "wider": wider, "not_listed": [] }));
}

#[test]
fn what_is_needed_and_blocked_is_told_with_the_reason() {
    let allow =
        ENOUGH.replace("\"management.azure.com\", ", "").replace("*.azureml.ms", "workspace.azureml.ms");
    let run = diff(&allow, "\"ml.azure.com\"", &["--needed-only"]).expect_code(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "+ needed, blocked: *.azureml.ms (Azure Machine Learning, tcp/443): not on the allowlist",
            "+ needed, blocked: management.azure.com (Azure portal, tcp/443): not on the allowlist",
            "+ needed, blocked: ml.azure.com (Azure Machine Learning, tcp/443): denied by rule ml.azure.com at namegate.toml:7",
            "+ needed, blocked: westeurope.tundra.azureml.ms (Azure Machine Learning, udp/5831): not on the allowlist",
        ]
    );
}

#[test]
fn a_need_is_blocked_in_part_where_something_below_it_is_denied() {
    let run = diff(ENOUGH, "\"*.search.azureml.ms\"", &[]).expect_code(1);
    let line = "+ needed, partly blocked: *.azureml.ms (Azure Machine Learning, tcp/443): \
                denied by rule *.search.azureml.ms at namegate.toml:7\n";
    assert_eq!(run.stdout, line);
}

#[test]
fn what_is_allowed_and_not_listed_is_told_with_its_place() {
    let allow = format!("{ENOUGH},\n\"pypi.org\", \"a.azureml.ms\",\n\".azurecr.io\"");
    let run = diff(&allow, "", &[]).expect_code(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "- allowed, not needed: pypi.org  namegate.toml:6",
            "- allowed, not needed: .azurecr.io  namegate.toml:7",
        ]
    );
    assert_eq!(diff(&allow, "", &["--needed-only"]).expect_code(0).stdout, "no difference\n");
}

#[test]
fn programs_get_json() {
    let run = diff("\"pypi.org\"", "", &["--json"]).expect_code(1);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(value["not_listed"][0]["pattern"], "pypi.org");
    assert_eq!(value["not_listed"][0]["place"], "namegate.toml:4");
    let needed = value["needed"].as_array().expect("an array");
    let hosts: Vec<&str> = needed.iter().filter_map(|needed| needed["host"].as_str()).collect();
    assert_eq!(hosts.len(), 8, "{hosts:?}");
    let login = needed.iter().find(|needed| needed["host"] == "login.microsoftonline.com").expect("a host");
    assert_eq!(login["ports"], serde_json::json!(["tcp/80", "tcp/443"]));
    assert_eq!(login["categories"].as_array().expect("an array").len(), 2);
}

#[test]
fn bad_input_is_status_two() {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("bad.json"), "{\"value\": [").expect("a file can be written");
    std::fs::write(directory.path().join("bad.toml"), "[polcy]\n").expect("a file can be written");
    let good = format!("{}/tests/data/azure/dependencies.json", env!("CARGO_MANIFEST_DIR"));
    for (arguments, texts) in [
        (&["diff", "bad.json"][..], &["bad.json:1:"][..]),
        (&["diff", "missing.json"], &["missing.json"]),
        (&["diff", &good, "--config", "bad.toml"], &["bad.toml:1:"]),
        (&["diff"], &[]),
    ] {
        let run = namegate(directory.path(), arguments).expect_code(2);
        assert_eq!(run.stdout, "");
        run.expect_stderr(texts);
    }
}
