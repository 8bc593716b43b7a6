//! Tests `namegate audit`: one finding for each fault of a list, in every format, and the smaller list.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::tools::import::data;

fn list(file: &str) -> String {
    format!("{}/tests/data/lists/{file}", env!("CARGO_MANIFEST_DIR"))
}

fn audit(arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    namegate(directory.path(), &[&["audit"], arguments].concat())
}

fn audit_text(directory: &Path, file: &str, text: &str, arguments: &[&str]) -> Finished {
    fs::write(directory.join(file), text).expect("a file can be written");
    namegate(directory, &[&["audit", file], arguments].concat())
}

/// The kinds of findings with their counts, and each finding as `place text`.
fn findings(run: &Finished) -> (Vec<(String, u64)>, Vec<String>) {
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds = report["findings"].as_array().expect("an array");
    let counts = kinds.iter().map(|kind| (text(&kind["kind"]), kind["count"].as_u64().unwrap_or_default()));
    let each = kinds.iter().flat_map(|kind| kind["entries"].as_array().into_iter().flatten());
    let each = each.map(|one| format!("{} {}", text(&one["place"]), text(&one["text"])));
    (counts.collect(), each.collect())
}

#[test]
fn the_page_shows_the_report() {
    let directory = TempDir::new().expect("a temporary directory");
    for file in ["faults.list", "faults.log"] {
        fs::copy(list(file), directory.path().join(file)).expect("a file can be copied");
    }
    let run = namegate(directory.path(), &["audit", "faults.list", "--log", "faults.log"]).expect_code(1);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md")).expect("the page");
    let (_, shown) = page.split_once("```text\nfaults.list: ").expect("the example");
    let (shown, _) = shown.split_once("```").expect("its end");
    assert_eq!(run.stdout, format!("faults.list: {shown}"));
}

#[test]
fn a_list_with_every_fault_gets_every_kind() {
    let directory = TempDir::new().expect("a temporary directory");
    let text = fs::read_to_string(list("faults.list")).expect("a file");
    let log = list("faults.log");
    let run = audit_text(directory.path(), "faults.list", &text, &["--json", "--log", &log]).expect_code(1);
    assert_eq!(run.stderr, "");
    let (kinds, each) = findings(&run);
    let expected = [
        ("invalid", 3),
        ("placeholder", 1),
        ("public-resolver", 1),
        ("tunnel", 1),
        ("public-suffix", 1),
        ("broad", 3),
        ("no-effect", 1),
        ("duplicate", 1),
        ("redundant", 1),
        ("alias-target", 1),
        ("shipped", 2),
        ("unseen", 8),
    ];
    let expected: Vec<(String, u64)> = expected.map(|(kind, count)| (kind.to_owned(), count)).to_vec();
    assert_eq!(kinds, expected, "{each:#?}");
    for finding in [
        "faults.list:6 `https://files.contoso.com/simple`: expected a host name, not a URL; write `files.contoso.com`",
        "faults.list:10 `dns.google` (Google), allowed by `dns.google`",
        "faults.list:15 `mirror.contoso.com`: already covered by `mirror.contoso.com` at faults.list:4",
        "faults.list:16 `www.build.contoso.com`: covered by `.build.contoso.com` at faults.list:5",
        "faults.list:17 `old.contoso.com`: overridden by `old.contoso.com` at faults.list:18",
        "faults.list:3 `contosoacr.azurecr.io`: in `azure-ml`, as `{acr}.azurecr.io`",
    ] {
        assert!(each.iter().any(|one| one == finding), "{finding} in\n{each:#?}");
    }
}

#[test]
fn every_shape_is_detected_and_can_be_forced() {
    for (file, format, shape) in [
        (data("dependencies.json"), "azure-ml", "workspace dependencies"),
        (data("dependencies-powershell.json"), "azure-ml", "workspace dependencies"),
        (data("outbound-rules-cli.json"), "azure-ml", "outbound rules"),
        (data("outbound-rules-workspace.json"), "azure-ml", "outbound rules"),
        (data("firewall-cli.json"), "azure-firewall", "Azure Firewall rules"),
        (data("firewall-arm.json"), "azure-firewall", "Azure Firewall rules"),
        (data("firewall-classic.json"), "azure-firewall", "Azure Firewall rules"),
        (data("dns-policy-arm.json"), "list", "Azure DNS domain lists"),
        (data("policy.rpz"), "rpz", "response policy zone"),
        (data("names.list"), "list", "names, one per line"),
        (list("aws-template.json"), "list", "AWS domain lists"),
        (list("workflow.yml"), "list", "allowed-endpoints"),
        (format!("{}/zones/python.toml", env!("CARGO_MANIFEST_DIR")), "allowlist", "allowlist of namegate"),
    ] {
        let run = audit(&[&file]);
        assert!(run.code < 2 && run.stdout.contains(shape), "{file}: {run:?}");
        let forced = audit(&[&file, "--format", format]);
        assert_eq!((forced.code, &forced.stdout), (run.code, &run.stdout), "{file}");
    }
}

#[test]
fn clean_lists_have_no_findings() {
    let directory = TempDir::new().expect("a temporary directory");
    let run = audit_text(directory.path(), "own.list", "mirror.contoso.com\n.build.contoso.com\n", &[])
        .expect_code(0);
    assert!(run.stdout.contains("2 entries, 0 with findings"), "{}", run.stdout);
    // Kinds that are not wanted do not count.
    audit_text(directory.path(), "own.list", "*.co.uk\n", &[]).expect_code(1);
    audit_text(directory.path(), "own.list", "*.co.uk\n", &["--allow", "public-suffix"]).expect_code(0);
}

#[test]
fn settings_are_audited_as_they_are_in_force() {
    let directory = TempDir::new().expect("a temporary directory");
    let text = "[policy]\nzones = [\"python\"]\nallow = [\"pypi.org\", \"*.ngrok.io\"]\n";
    let run = audit_text(directory.path(), "namegate.toml", text, &["--json"]).expect_code(1);
    let (kinds, _) = findings(&run);
    let kinds: Vec<&str> = kinds.iter().map(|(kind, _)| kind.as_str()).collect();
    assert!(kinds.contains(&"tunnel") && kinds.contains(&"shipped"), "{kinds:?}");
    fs::write(directory.path().join("own.list"), "a.contoso.com\n").expect("a file can be written");
    namegate(directory.path(), &["audit", "own.list", "namegate.toml"])
        .expect_code(2)
        .expect_stderr(&["settings cannot be audited together with lists", "alone"]);
}

#[test]
fn the_smaller_list_is_an_allowlist_with_the_same_decisions() {
    let directory = TempDir::new().expect("a temporary directory");
    let text = fs::read_to_string(list("faults.list")).expect("a file");
    audit_text(directory.path(), "faults.list", &text, &["--minimal", "small.toml"]).expect_code(1);
    let small = fs::read_to_string(directory.path().join("small.toml")).expect("a file");
    assert_eq!(small.matches("host = ").count(), 11, "{small}");
    // Entries that are no host names were never rules.
    let valid: String = text
        .lines()
        .filter(|line| !["https", "10.20", "<"].iter().any(|one| line.starts_with(one)))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(directory.path().join("valid.list"), valid).expect("a file can be written");
    for name in [
        "pypi.org",
        "x.pypi.org",
        "mirror.contoso.com",
        "build.contoso.com",
        "www.build.contoso.com",
        "old.contoso.com",
        "a.old.contoso.com",
        "contoso.com",
        "a.blob.core.windows.net",
        "x.trafficmanager.net",
        "a.co.uk",
        "co.uk",
        "ngrok.io",
        "a.ngrok.io",
        "other.example",
    ] {
        let explain = |zone: &str| namegate(directory.path(), &["explain", name, "--zones", zone]).code;
        assert_eq!(explain("./valid.list"), explain("./small.toml"), "{name}");
    }
    let ends = "[[allow]]\nhost = \"a.contoso.com\"\nuntil = 2099-01-31\n";
    audit_text(directory.path(), "ends.toml", ends, &["--minimal", "ends-small.toml"])
        .expect_code(2)
        .expect_stderr(&["`a.contoso.com`", "an end (`until`)"]);
    assert!(!directory.path().join("ends-small.toml").exists());
}

#[test]
fn what_cannot_be_read_is_refused() {
    let directory = TempDir::new().expect("a temporary directory");
    for (file, text, arguments, texts) in [
        ("a.json", "{\"domains\": [", &[][..], &["a.json:1:", "ends too early"][..]),
        ("a.json", "{\"x\": 1}", &[], &["`domains` is missing"]),
        ("a.json", "{\"value\": [], \"nextLink\": \"https://x/2\"}", &[], &["nextLink", "all pages"]),
        ("a.list", "", &[], &["the file is empty"]),
        ("a.list", "# nothing\n", &[], &["no host names in this file"]),
        ("a.toml", "[[allow]]\nhots = \"a.contoso.com\"\n", &[], &["a.toml:", "hots"]),
        ("a.toml", "[policy]\nzonez = []\n", &[], &["zonez"]),
        ("a.list", "a.contoso.com\n", &["--log", "nowhere.log"], &["nowhere.log", "query log"]),
        ("a.list", "a.contoso.com\n", &["--log", "a.list"], &["not a query log of namegate"]),
        ("a.list", "a.contoso.com\n", &["--format", "azure-firewall"], &["invalid JSON"]),
    ] {
        let run = audit_text(directory.path(), file, text, arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{text}\n{}", run.stderr);
        run.expect_stderr(texts);
    }
    audit(&["nowhere.json"]).expect_code(2).expect_stderr(&["nowhere.json", "file not found"]);
}

#[test]
fn markdown_has_a_table_for_each_kind() {
    let run = audit(&[&list("faults.list"), "--markdown"]).expect_code(1);
    assert!(
        run.stdout.starts_with("# Audit\n\n| file | format | entries |\n|---|---|--:|\n"),
        "{}",
        run.stdout
    );
    for line in ["| [broad](#broad) | 3 |", "## broad", "| place | finding |"] {
        assert!(run.stdout.lines().any(|shown| shown == line), "{line} in\n{}", run.stdout);
    }
}

#[test]
fn the_smaller_list_is_refused_where_it_would_lose_something() {
    let names = "[[allow]]\nhost = \"a.contoso.com\"\n";
    let settings = "[policy]\nzones = []\nallow = [\"a.contoso.com\"]\n";
    let observe = "[policy]\nzones = []\nmode = \"observe\"\nallow = [\"a.contoso.com\"]\n";
    for (file, text, lost) in [
        (
            "a.toml",
            format!("{names}[[deny]]\nhost = \"b.a.contoso.com\"\nuntil = 2099-01-31\n"),
            "an end (`until`)",
        ),
        ("a.toml", format!("servers = [\"192.0.2.53:53\"]\n{names}"), "`servers`"),
        (
            "s.toml",
            format!(
                "{settings}[[client]]\nname = \"g\"\nsubnets = [\"10.9.0.0/16\"]\nallow = [\"b.contoso.com\"]\n"
            ),
            "[[client]]",
        ),
        (
            "s.toml",
            format!("{settings}[[route]]\nnames = [\".contoso.com\"]\nservers = [\"192.0.2.53:53\"]\n"),
            "[[route]]",
        ),
        (
            "s.toml",
            format!("{settings}[[local]]\norigin = \"corp.example\"\nfile = \"local.zone\"\n"),
            "[[local]]",
        ),
        ("s.toml", observe.to_owned(), "observe"),
    ] {
        let directory = TempDir::new().expect("a temporary directory");
        let zone = "@ 60 IN SOA ns hostmaster 1 3600 300 86400 10\n@ 60 IN NS ns\nns 60 IN A 192.0.2.53\n";
        fs::write(directory.path().join("local.zone"), zone).expect("a file can be written");
        let run = audit_text(directory.path(), file, &text, &["--minimal", "small.toml"]).expect_code(2);
        run.expect_stderr(&["cannot write a smaller list", lost, "help: leave out --minimal"]);
        assert!(!directory.path().join("small.toml").exists(), "{text}");
    }
    let directory = TempDir::new().expect("a temporary directory");
    let text = "a.contoso.com\na.contoso.com\n";
    for target in ["own.list", "./own.list"] {
        audit_text(directory.path(), "own.list", text, &["--minimal", target])
            .expect_code(2)
            .expect_stderr(&["would overwrite own.list", "another path"]);
        assert_eq!(fs::read_to_string(directory.path().join("own.list")).expect("a file"), text);
    }
    let settings = "[policy]\nzones = [\"own.list\"]\n";
    audit_text(directory.path(), "s.toml", settings, &["--minimal", "own.list"])
        .expect_code(2)
        .expect_stderr(&["would overwrite"]);
}

#[test]
fn client_groups_of_settings_are_audited() {
    let directory = TempDir::new().expect("a temporary directory");
    let text = "[policy]\nzones = []\nallow = [\"a.contoso.com\"]\n[[client]]\nname = \"build\"\n\
         subnets = [\"10.9.0.0/16\"]\nallow = [\"*.ngrok.io\"]\n";
    let run = audit_text(directory.path(), "namegate.toml", text, &[]).expect_code(1);
    for shown in ["client group `build`", "tunnel: client group `build`: ", "`*.ngrok.io`"] {
        assert!(run.stdout.contains(shown), "`{shown}` is not in\n{}", run.stdout);
    }
    let run = audit_text(directory.path(), "namegate.toml", text, &["--json"]).expect_code(1);
    let report: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["findings"][0]["group"], "build", "{}", run.stdout);
}

#[test]
fn hostile_text_is_escaped_in_every_report() {
    let directory = TempDir::new().expect("a temporary directory");
    for entry in [
        "x\u{1b}[2J.contoso.com",
        "x\u{9b}31m\u{202e}.contoso.com",
        "`|</td><script>alert(1)</script>",
        "a`b|c\\|d",
        "[x](javascript:alert(1))",
    ] {
        let text = format!("[{}]", serde_json::json!(entry));
        let run = audit_text(directory.path(), "a|`<b>.json", &text, &[]).expect_code(1);
        let hostile = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(run.stdout.chars().find(hostile), None, "{:?}", run.stdout);
        let run = audit_text(directory.path(), "a|`<b>.json", &text, &["--markdown"]).expect_code(1);
        assert_eq!(run.stdout.chars().find(hostile), None, "{:?}", run.stdout);
        for line in run.stdout.lines() {
            let plain = line.split('`').step_by(2).collect::<String>();
            assert!(!plain.contains('<') && !plain.replace("](#", "").contains("]("), "{line}");
            let cells = line.matches('|').count();
            assert!(!line.starts_with('|') || cells == 3 || cells == 4, "{line}");
        }
    }
}

#[test]
fn ports_of_a_repeated_entry_are_kept() {
    let directory = TempDir::new().expect("a temporary directory");
    let rule = |port: u16| {
        serde_json::json!({
            "name": "r",
            "protocols": [{ "protocolType": "Https", "port": port }],
            "targetFqdns": ["mirror.contoso.com"],
        })
    };
    for (ports, code) in [([443, 8443], 0), ([443, 443], 1)] {
        let rules = ports.map(rule);
        let group = serde_json::json!([{
            "priority": 100,
            "ruleCollections": [{ "priority": 100, "action": { "type": "Allow" }, "rules": rules }],
        }]);
        audit_text(directory.path(), "rules.json", &group.to_string(), &[]).expect_code(code);
    }
}
