//! Tests what `namegate explain` says would allow a blocked name.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};

const SETTINGS: &str = r#"
admin.listen = ""
[policy]
zones = ["azure-ml", "python"]
strict = true
deny = ["pypi.org", "*.ubuntu.com"]
[parameters]
region = ["westeurope"]
[[client]]
name = "build-agents"
subnets = ["10.1.0.0/16", "10.2.0.0/16"]
zones = ["python", "docker-hub"]
[[client]]
name = "data-science"
subnets = ["10.3.0.0/16"]
mode = "observe"
"#;

fn explain(settings: &str, arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    namegate(directory.path(), &[&["explain", "--config", "namegate.toml"], arguments].concat())
}

/// A case, the arguments, lines that must be in the output, and texts that must not.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("a shipped allowlist has the name", &["registry-1.docker.io"],
        &[
            "  allow it allowlist `docker-hub` has it (`*.docker.io`): add it to policy.zones",
            "  allow it [policy] allow = [\"registry-1.docker.io\"] in namegate.toml",
            "  hint     group build-agents (10.1.0.0/16, 10.2.0.0/16) may query it: rule *.docker.io at zones/docker-hub.toml:",
        ], &["data-science"]),
    ("the group uses that allowlist", &["registry-1.docker.io", "--client", "10.1.0.4"],
        &["  group    build-agents: ", "  rule     *.docker.io at zones/docker-hub.toml:"],
        &["hint", "allow it"]),
    ("the group lacks an allowlist that others use", &["ml.azure.com", "--client", "10.2.0.4"],
        &[
            "  group    build-agents: ",
            "  hint     group default (clients in no other group) may query it: rule ml.azure.com at zones/azure-ml.toml:",
            "  hint     group data-science (10.3.0.0/16) may query it: rule ml.azure.com at zones/azure-ml.toml:",
            "  allow it allowlist `azure-ml` has it (`ml.azure.com`): add it to policy.zones",
        ], &[]),
    ("a group in observe mode gets the hints too", &["registry-1.docker.io", "--client", "10.3.0.4"],
        &["observed — ", "  allow it allowlist `docker-hub` has it"], &[]),
    ("an exact rule beats a deny rule for many names", &["archive.ubuntu.com"],
        &["  allow it [policy] allow = [\"archive.ubuntu.com\"] in namegate.toml"], &[]),
    ("the deny rule for exactly this name must go", &["pypi.org"],
        &["  allow it remove the rule at namegate.toml:6: it denies exactly this name"], &["allow ="]),
    ("a group has its own list in the settings", &["nowhere.example", "--client", "10.2.0.4"],
        &["  mode     enforce", "  allow it [[client]] name = \"build-agents\" allow = [\"nowhere.example\"] in namegate.toml"], &[]),
    ("a deny rule would still win", &["archive.ubuntu.com"], &["  rule     *.ubuntu.com at namegate.toml:"], &["allowlist `"]),
    ("broad rules are no hint", &["stranger.azurecr.us"], &["blocked — "], &["allowlist `"]),
    ("a parameter would do", &["mine.azurecr.io"], &["  inactive `{acr}.azurecr.io` would allow it: set [parameters] acr"], &["allowlist `"]),
    ("nothing has it", &["nowhere.example"], &["  allow it [policy] allow = [\"nowhere.example\"] in namegate.toml"], &["hint", "allowlist `"]),
    ("an allowed name needs no hint", &["ml.azure.com"], &["allowed — "], &["hint", "allow it"]),
];

#[test]
fn blocked_names_come_with_what_would_allow_them() {
    for (case, arguments, lines, absent) in ROWS {
        let run = explain(SETTINGS, arguments);
        for line in *lines {
            assert!(run.stdout.contains(line), "{case}: `{line}` is not in\n{run:?}");
        }
        for text in *absent {
            assert!(!run.stdout.contains(text), "{case}: `{text}` is in\n{}", run.stdout);
        }
    }
}

#[test]
fn many_groups_are_counted_not_listed() {
    let mut settings = SETTINGS.to_owned();
    for number in 0..6 {
        settings += &format!(
            "[[client]]\nname = \"g{number}\"\nsubnets = [\"10.1{number}.0.0/16\"]\nallow = [\"x{number}.example\", \"a.example\"]\n"
        );
    }
    let run = explain(&settings, &["a.example"]).expect_code(1);
    assert_eq!(
        run.stdout.matches(" may query it: rule a.example at namegate.toml:").count(),
        3,
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("  hint     3 more groups may query it\n"), "{}", run.stdout);
}

#[test]
fn programs_get_the_hints_too() {
    let run = explain(SETTINGS, &["registry-1.docker.io", "--json"]).expect_code(1);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(value["shipped"], json!([{ "zone": "docker-hub", "pattern": "*.docker.io" }]));
    let [group] = value["other_groups"].as_array().expect("groups").as_slice() else { panic!("{value}") };
    assert_eq!(group["group"], "build-agents");
    assert_eq!(group["subnets"], json!(["10.1.0.0/16", "10.2.0.0/16"]));
    assert_eq!(
        (&value["group"], &value["zones"]),
        (&json!("default"), &json!(["azure-ml", "python", "settings"]))
    );
    let run = explain(SETTINGS, &["mine.azurecr.io", "--json"]).expect_code(1);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(value["inactive"], json!({ "host": "{acr}.azurecr.io", "parameters": ["acr"] }));
    let run = explain(SETTINGS, &["ml.azure.com", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!((&value["shipped"], &value["other_groups"]), (&json!([]), &json!([])));
}

// An allowlist that is not in use gives hints only: its errors must not stop the command.
#[test]
fn an_unused_allowlist_with_errors_is_no_obstacle() {
    let directory = TempDir::new().expect("a temporary directory");
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).expect("a file");
    write("docker-hub.toml", "[[allow]]\nhost = \"*\"\n");
    write("namegate.toml", "admin.listen = \"\"\n[policy]\nzones = []\nzones_directory = \".\"\n");
    let run = namegate(directory.path(), &["explain", "registry-1.docker.io", "--config", "namegate.toml"]);
    let run = run.expect_code(1);
    assert!(run.stdout.starts_with("blocked — ") && run.stderr.is_empty(), "{run:?}");
}

#[test]
fn the_entry_is_for_the_file_that_decides() {
    let directory = TempDir::new().expect("a temporary directory");
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).expect("a file");
    write("ours.toml", "[[allow]]\nhost = \"old.example\"\npurpose = \"a trial\"\nuntil = 2020-01-31\n");
    write("names.list", "a.example\n");
    let settings = r#"
admin.listen = ""
[policy]
zones = ["python", "ours.toml"]
[[client]]
name = "build"
subnets = ["10.1.0.0/16"]
zones = ["names.list"]
[[client]]
name = "desk"
subnets = ["10.2.0.0/16"]
zones = ["python"]
allow = ["b.example"]
"#;
    write("namegate.toml", settings);
    let entry = |name: &str, client: &str| {
        let arguments = ["explain", name, "--client", client, "--json", "--config", "namegate.toml"];
        let run = namegate(directory.path(), &arguments).expect_code(1);
        serde_json::from_str::<Value>(&run.stdout).expect("JSON")["entry"].clone()
    };
    for (case, client, file, text) in [
        ("its own file", "10.9.0.4", "ours.toml", "[[allow]]\nhost = \"new.example\"\n"),
        ("its own list", "10.1.0.4", "names.list", "new.example\n"),
        (
            "only shipped ones",
            "10.2.0.4",
            "namegate.toml",
            "[[client]]\nname = \"desk\"\nallow = [\"b.example\", \"new.example\"]\n",
        ),
    ] {
        assert_eq!(entry("new.example", client), json!({ "file": file, "text": text }), "{case}");
    }
    let ended = entry("old.example", "10.9.0.4");
    assert_eq!(ended["file"], "ours.toml:2", "the rule itself is extended");
    assert!(ended["text"].as_str().is_some_and(|text| text.starts_with("until = 20")), "{ended}");
}
