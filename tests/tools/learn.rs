//! Tests `namegate learn`: turns blocked names into an allowlist that allows them.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::support::gate::Reload;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream, eventually};

const OBSERVE: &str =
    "policy.mode = \"observe\"\npolicy.deny = [\"*.search.example\"]\nlog.file = \"queries.log\"\n";

/// Queried names, and whether the proposed rules must allow them.
const ASKED: [(&str, bool); 13] = [
    ("registry.example.org", true),
    ("a.packages.corp.example", true),
    ("b.packages.corp.example", true),
    ("c.packages.corp.example", true),
    ("d.packages.corp.example", true),
    ("e.packages.corp.example", true),
    ("team.blob.core.windows.net", true),
    ("x.search.example", false),
    ("dns.google", false),
    ("archive.ubuntu.com", false),
    ("\\*.evil.example", false),
    ("a\\010b.evil.example", false),
    ("wpad", false),
];

/// Namegate in observe mode after queries for all of [`ASKED`], with its log written.
fn observed(upstream: &ScriptedUpstream) -> Gate {
    upstream.by_default(Script::reply(Response::answering(&[])));
    let gate = Gate::start(upstream, OBSERVE);
    for (name, _) in ASKED {
        assert_eq!(gate.ask(name, "A").rcode(), "NOERROR", "{name}");
    }
    gate.ask("registry.example.org", "AAAA");
    gate.ask("ws.allowed.example", "A");
    eventually("the log to be written", || {
        let log = fs::read_to_string(gate.directory().join("queries.log")).ok()?;
        (log.lines().count() == ASKED.len() + 1).then_some(())
    });
    gate
}

fn learn(directory: &Path, arguments: &[&str]) -> Finished {
    namegate(directory, &[&["learn", "--config", "namegate.toml"], arguments].concat())
}

#[test]
fn the_log_and_the_running_gate_teach_the_same_rules() {
    let upstream = ScriptedUpstream::start();
    let gate = observed(&upstream);
    let admin = gate.admin().to_string();
    let hosts = |zone: &str| -> Vec<String> {
        zone.lines().filter(|line| line.starts_with("host")).map(str::to_owned).collect()
    };
    let of_log = learn(gate.directory(), &["queries.log"]).expect_code(0);
    let of_gate = learn(gate.directory(), &["--admin", &admin]).expect_code(0);
    assert_eq!(hosts(&of_log.stdout), hosts(&of_gate.stdout));
    assert_eq!(
        hosts(&of_log.stdout),
        [
            "host    = \"*.packages.corp.example\"",
            "host    = \"registry.example.org\"",
            "host    = \"team.blob.core.windows.net\"",
        ]
    );
    for zone in [&of_log.stdout, &of_gate.stdout] {
        for part in [
            "purpose = \"queried 2 times by 1 client\"",
            "by 127.0.0.1, for A, AAAA\n",
            "# for example a.packages.corp.example, b.packages.corp.example, c.packages.corp.example\n",
            "# Anyone can create names below blob.core.windows.net (storage accounts): is this one yours?\n",
            "## In shipped allowlists: add one of \"ubuntu\", \"kubernetes\" to `policy.zones`\n# archive.ubuntu.com",
            "## Not suggested: public resolvers, which bypass namegate (Google)\n# dns.google (1)\n",
            "## Not suggested: denied by rule *.search.example at namegate.toml:",
        ] {
            assert!(zone.contains(part), "`{part}` is not in\n{zone}");
        }
        assert!(!zone.contains("evil") && !zone.contains("wpad"), "{zone}");
    }
    assert!(of_log.stderr.starts_with("3 rules for 7 names from 14 lookups; not suggested: 1 name in a shipped allowlist, 1 name of public resolvers, 1 name denied by a rule, "), "{}", of_log.stderr);
    assert!(of_log.stderr.contains("1 noise lookup, 2 lookups without a host name"), "{}", of_log.stderr);
    assert!(of_gate.stderr.starts_with("3 rules for 7 names from "), "{}", of_gate.stderr);
    // Standard output is the log in its other format.
    let text = gate.stdout.all().join("\n") + "\n";
    gate.write_file("text.log", &text);
    assert_eq!(hosts(&learn(gate.directory(), &["text.log"]).expect_code(0).stdout), hosts(&of_log.stdout));
}

#[test]
fn learnt_rules_allow_exactly_the_queried_names() {
    let upstream = ScriptedUpstream::start();
    let gate = observed(&upstream);
    let run = learn(gate.directory(), &["queries.log", "--output", "learnt.toml"]).expect_code(0);
    assert_eq!(run.stdout, "");
    let zones = ["--zones", "learnt.toml", "--mode", "enforce"];
    let explain = |name: &str| {
        namegate(gate.directory(), &[&["explain", name, "--config", "namegate.toml"], &zones[..]].concat())
    };
    for (name, allowed) in ASKED {
        explain(name).expect_code(i32::from(!allowed));
    }
    explain("f.packages.corp.example").expect_code(0);
    explain("other.blob.core.windows.net").expect_code(1);
    // Enforce mode, with traffic.
    gate.write_settings("policy.zones = [\"learnt.toml\"]\npolicy.deny = [\"*.search.example\"]\nlog.file = \"queries.log\"\n");
    assert_eq!(gate.reload(), Reload::Success);
    for (name, allowed) in ASKED {
        let before = upstream.count(name);
        let rcode = gate.send(&Query::new(name, "TXT")).rcode();
        assert_eq!(rcode, if allowed { "NOERROR" } else { "NXDOMAIN" }, "{name}");
        assert_eq!(upstream.count(name) - before, usize::from(allowed), "{name}");
    }
    // Lookups are remembered across the reload; names that are now allowed are no longer proposed.
    let again = learn(gate.directory(), &["--admin", &gate.admin().to_string()]).expect_code(0);
    assert!(again.stderr.contains("0 rules for 0 names "), "{}", again.stderr);
    assert!(again.stderr.contains("7 names already allowed"), "{}", again.stderr);
}

#[test]
fn the_gate_shows_what_it_remembers() {
    let upstream = ScriptedUpstream::start();
    let gate = observed(&upstream);
    let page: Value = eventually("the names to be remembered", || {
        let (status, body) = gate.get("/api/v1/blocked");
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        (page["no_hosts"] == 2).then_some(page)
    });
    assert_eq!(page["forgotten"], 0);
    let names = page["names"].as_array().expect("names");
    assert_eq!(names.len(), ASKED.len() - 3, "without noise and without invalid host names: {page}");
    assert_eq!((&names[0]["name"], &names[0]["count"]), (&"registry.example.org".into(), &2.into()));
    assert_eq!(names[0]["types"], serde_json::json!(["A", "AAAA"]));
    assert_eq!(names[0]["clients"], serde_json::json!(["127.0.0.1"]));
    let denied: Vec<&Value> =
        names.iter().filter(|name| name["denied"] == true).map(|name| &name["name"]).collect();
    assert_eq!(denied, ["x.search.example"]);
}

#[test]
fn hidden_clients_stay_hidden() {
    let upstream = ScriptedUpstream::start();
    for (shown, client) in [("subnet", Some("127.0.0.0/24")), ("none", None)] {
        let gate = Gate::start(&upstream, &format!("log.client = \"{shown}\""));
        gate.ask("evil.example", "A");
        let run = eventually("the name to be remembered", || {
            let run = learn(gate.directory(), &["--admin", &gate.admin().to_string()]).expect_code(0);
            run.stdout.contains("\"evil.example\"").then_some(run)
        });
        assert!(!run.stdout.contains("by 127.0.0.1"), "{}", run.stdout);
        assert_eq!(run.stdout.contains("by 127.0.0.0/24"), client.is_some(), "{}", run.stdout);
    }
}

/// A directory with settings that allow nothing, and these files.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    let settings = "policy.zones = []\nadmin.listen = \"\"\n";
    for (name, text) in [("namegate.toml", settings)].iter().chain(files) {
        fs::write(directory.path().join(name), text).expect("a file can be written");
    }
    directory
}

fn line(time: &str, name: &str) -> String {
    format!(
        "2026-11-{time}.000Z blocked client=10.0.0.4 protocol=udp name={name} type=A reason=not_listed \
         rcode=nxdomain source=policy latency_seconds=0.000010\n"
    )
}

#[test]
fn lines_that_cannot_be_read_are_told_with_their_place() {
    let log = [
        &line("20T00:00:00", "a.example.com"),
        "ERROR what is this\n",
        &line("21T00:00:00", "b.example.com"),
    ]
    .concat();
    let cut = [&log, &line("22T00:00:00", "c.example.com")[..90]].concat();
    let directory = directory(&[
        ("queries.log", &cut),
        ("queries.log.1", &log),
        ("other.log", "INFO ready\n"),
        ("empty.log", ""),
    ]);
    let run = learn(directory.path(), &["queries.log", "queries.log.1", "empty.log"]).expect_code(0);
    assert_eq!(
        run.stderr.lines().collect::<Vec<_>>(),
        [
            "warning: queries.log:2: not a line of a query log, skipped",
            "warning: queries.log.1:2: not a line of a query log, skipped",
            "2 rules for 2 names from 4 lookups",
        ]
    );
    assert!(
        run.stdout.contains("host    = \"a.example.com\"") && !run.stdout.contains("c.exa"),
        "{}",
        run.stdout
    );
    learn(directory.path(), &["queries.log", "other.log"])
        .expect_code(1)
        .expect_stderr(&["error: other.log: not a query log", "help: "]);
    learn(directory.path(), &["nowhere.log"])
        .expect_code(1)
        .expect_stderr(&["error: cannot read query log nowhere.log: ", "help: "]);
    learn(directory.path(), &[]).expect_code(1).expect_stderr(&["the admin listener is off"]);
    learn(directory.path(), &["queries.log", "--fold", "1"]).expect_code(2);
    learn(directory.path(), &["queries.log", "--until", "2026"]).expect_code(2).expect_stderr(&["36h"]);
    learn(directory.path(), &["queries.log", "--client", "10.0.0.4/33"])
        .expect_code(2)
        .expect_stderr(&["10.1.0.0/16"]);
    learn(directory.path(), &["queries.log", "--since", "2026-11-23", "--until", "2026-11-22"])
        .expect_code(1)
        .expect_stderr(&["error: --until is not after --since", "help: "]);
    learn(directory.path(), &["--until", "2026-11-22"])
        .expect_code(1)
        .expect_stderr(&["the admin listener is off"]);
    learn(directory.path(), &["queries.log", "--since", "whenever"]).expect_code(2).expect_stderr(&["36h"]);
}

#[test]
fn options_choose_what_is_proposed() {
    let mut log = line("20T00:00:00", "old.example.com");
    for label in ["a", "b", "c"] {
        log += &line("22T00:00:00", &format!("{label}.blob.core.windows.net"));
        log += &line("22T00:00:01", &format!("{label}.example.com"));
    }
    log += &line("22T00:00:02", "a.example.com");
    let directory = directory(&[("queries.log", &log)]);
    let learn = |arguments: &[&str]| {
        let run = learn(directory.path(), &[&["queries.log", "--json"], arguments].concat()).expect_code(0);
        serde_json::from_str::<Value>(&run.stdout).expect("one JSON object")
    };
    let hosts = |value: &Value| -> Vec<String> {
        let rules = value["rules"].as_array().expect("rules");
        rules.iter().map(|rule| rule["host"].as_str().expect("a host").to_owned()).collect()
    };
    assert_eq!(hosts(&learn(&[])).len(), 7);
    let folded = learn(&["--fold", "3"]);
    assert_eq!(
        hosts(&folded),
        ["*.example.com", "a.blob.core.windows.net", "b.blob.core.windows.net", "c.blob.core.windows.net"]
    );
    assert_eq!(folded["not_folded"][0]["host"], "*.blob.core.windows.net");
    let risky = learn(&["--fold", "3", "--fold-risky"]);
    assert_eq!(hosts(&risky), ["*.example.com", "*.blob.core.windows.net"]);
    assert_eq!(risky["rules"][1]["opens"], "storage accounts");
    assert_eq!(hosts(&learn(&["--min-count", "2"])), ["a.example.com"]);
    assert_eq!(hosts(&learn(&["--since", "2026-11-22T00:00:01Z"])).len(), 3);
    assert_eq!(hosts(&learn(&["--since", "2026-11-21"])).len(), 6);
    assert_eq!(hosts(&learn(&["--until", "2026-11-21"])), ["old.example.com"]);
    assert_eq!(
        hosts(&learn(&["--since", "2026-11-22T00:00:01Z", "--until", "2026-11-22T00:00:02Z"])).len(),
        3
    );
    assert_eq!(hosts(&learn(&["--client", "10.0.0.4"])).len(), 7);
    assert_eq!(hosts(&learn(&["--client", "10.0.0.9/24"])).len(), 7);
    assert_eq!(hosts(&learn(&["--client", "10.0.0.5"])).len(), 0);
}

#[test]
fn clients_that_the_data_hides_are_refused() {
    let shown = line("20T00:00:00", "a.example.com");
    let subnet = shown.replace("10.0.0.4", "10.0.0.0/24");
    let hidden = shown.replace("client=10.0.0.4 ", "");
    let directory = directory(&[("subnet.log", &subnet), ("hidden.log", &hidden)]);
    learn(directory.path(), &["subnet.log", "--client", "10.0.0.0/16"]).expect_code(0);
    learn(directory.path(), &["subnet.log", "--client", "10.1.0.0/16"]).expect_code(0);
    for file in ["subnet.log", "hidden.log"] {
        let run = learn(directory.path(), &[file, "--client", "10.0.0.4"]).expect_code(1);
        run.expect_stderr(&[
            "error: cannot tell for 1 lookup whether the client is in 10.0.0.4/32: `log.client` hides",
            "help: ",
        ]);
    }
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "log.client = \"none\"");
    gate.ask("evil.example", "A");
    eventually("the name to be remembered", || {
        let arguments = ["--admin", &gate.admin().to_string(), "--client", "127.0.0.1"];
        let run = learn(gate.directory(), &arguments);
        let error =
            "error: cannot tell for 1 name whether the client is in 127.0.0.1/32: the running resolver";
        run.stderr.starts_with(error).then_some(())
    });
}

// Once, the first suggestion for the demonstration's traffic was `*.exfiltrate.example.com`.
#[test]
fn the_demonstrations_exfiltration_gets_no_rule() {
    let mut log = String::new();
    for number in 0..40 {
        let name = format!("d{number}.exfiltrate.example.com");
        log += &line("20T00:00:00", &name).replace("type=A", "type=TXT");
        log += &line("20T00:00:00", "telemetry.example.com");
    }
    let directory = directory(&[("queries.log", &log)]);
    let run = learn(directory.path(), &["queries.log"]).expect_code(0);
    let hosts: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("host")).collect();
    assert_eq!(hosts, ["host    = \"telemetry.example.com\""]);
    let heading = "## Not suggested: they look like encoded data; find out which clients send it to example.com\n# d0.exfil";
    assert!(run.stdout.contains(heading), "{}", run.stdout);
    assert_eq!(run.stderr, "1 rule for 1 name from 80 lookups; not suggested: 40 names with encoded data\n");
}

#[test]
fn probes_of_prove_get_no_rule() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&[])));
    let settings =
        "policy.mode = \"observe\"\npolicy.allow = [\"*.azureml.ms\"]\nlog.file = \"queries.log\"\n";
    let gate = Gate::start(&upstream, settings);
    let (server, admin) = (gate.address().to_string(), gate.admin().to_string());
    let prove = ["prove", "--config", "namegate.toml", "--server", &server, "--admin", &admin];
    // It fails: observe mode forwards what must not resolve.
    namegate(gate.directory(), &prove).expect_code(1);
    gate.ask("wanted.example", "A");
    let run = eventually("the log to be written", || {
        let run = learn(gate.directory(), &["queries.log"]);
        run.stdout.contains("\"wanted.example\"").then_some(run)
    });
    let hosts: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("host")).collect();
    assert_eq!(hosts, ["host    = \"wanted.example\""], "{}", run.stdout);
    let heading = "## Not suggested: in `prove.must_not_resolve`, or queried by `namegate prove`\n# ";
    assert!(run.stdout.contains(heading) && run.stdout.contains("# evilazureml.ms ("), "{}", run.stdout);
    assert!(run.stderr.contains(" names queried by namegate itself"), "{}", run.stderr);
}

#[test]
fn values_of_parameters_are_suggested_in_place_of_rules() {
    let log = [
        line("20T00:00:00", "mine.blob.core.windows.net"),
        line("20T00:00:00", "mine.file.core.windows.net"),
        line("20T00:00:00", "x.northeurope.batch.azure.com"),
    ];
    let directory = directory(&[("queries.log", &log.concat())]);
    let settings =
        "policy.zones = [\"azure-ml\"]\npolicy.strict = true\nparameters.region = [\"westeurope\"]\n";
    fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    let run = learn(directory.path(), &["queries.log"]).expect_code(0);
    assert!(!run.stdout.contains("[[allow]]"), "{}", run.stdout);
    for part in [
        "\n## Allowed by your allowlists once you add northeurope to [parameters] region\n",
        "# x.northeurope.batch.azure.com (1)\n",
        "\n## Allowed by your allowlists once you add mine to [parameters] storage\n\
         # Anyone can create names below blob.core.windows.net (storage accounts): are these yours?\n\
         # mine.blob.core.windows.net (1)\n# mine.file.core.windows.net (1)\n",
    ] {
        assert!(run.stdout.contains(part), "`{part}` is not in\n{}", run.stdout);
    }
    let summary =
        "0 rules for 0 names from 3 lookups; not suggested: 3 names allowed by values of parameters\n";
    assert_eq!(run.stderr, summary);
    let run = learn(directory.path(), &["queries.log", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let region = serde_json::json!({
        "why": "parameters",
        "add": { "region": "northeurope" },
        "names": [{ "name": "x.northeurope.batch.azure.com", "count": 1 }],
    });
    assert_eq!(value["left_out"][0], region);
    // The values do what the output says.
    let settings = settings.replace("[\"westeurope\"]", "[\"westeurope\", \"northeurope\"]")
        + "parameters.storage = [\"mine\"]\n";
    fs::write(directory.path().join("namegate.toml"), settings).expect("a file can be written");
    let run = learn(directory.path(), &["queries.log"]).expect_code(0);
    assert!(run.stderr.contains("3 names already allowed"), "{}", run.stderr);
}
