//! The log of blocked lookups on standard output, and the log on standard error: one line each, whatever clients send.

use serde_json::Value;

use crate::support::{Gate, PATIENCE, Query, ScriptedUpstream};

const RULES: &str = "policy.allow = [\".storage.example\"]\npolicy.deny = [\"*.search.storage.example\"]";

/// Names that would break a line, a terminal, a JSON text or an HTML page.
const HOSTILE: [&str; 6] = [
    r"line\010feed.evil.example",
    r"\027[31mred.evil.example",
    r#"quote\"and\\backslash.evil.example"#,
    r"\226\128\174override.evil.example",
    "<script>alert(1)<script>.evil.example",
    r"\000nul\255high.evil.example",
];

#[test]
fn blocked_lookups_are_written_as_text() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, RULES);
    gate.ask("Evil.example", "A");
    gate.tcp().ask(&Query::new("x.search.storage.example", "TYPE65534"));
    gate.ask("ws.storage.example", "A");
    gate.ask("last.example", "A");
    let line = gate.stdout.expect("name=evil.example");
    let (time, rest) = line.split_once(' ').expect("a time");
    assert_eq!(rest, "blocked client=127.0.0.1 proto=udp name=evil.example type=A reason=not_listed");
    assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");
    let line = gate.stdout.expect("name=x.search.storage.example");
    let wanted =
        "blocked client=127.0.0.1 proto=tcp name=x.search.storage.example type=TYPE65534 reason=denied";
    assert!(line.contains(wanted), "{line}");
    gate.stdout.expect("name=last.example");
    assert_eq!(gate.stdout.all().len(), 3, "{:?}", gate.stdout.all());
}

#[test]
fn blocked_lookups_are_written_as_json() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &format!("{RULES}\nlog.format = \"json\""));
    gate.ask("evil.example", "AAAA");
    gate.ask("x.search.storage.example", "A");
    let line: Value = serde_json::from_str(&gate.stdout.expect("evil.example")).expect("a JSON object");
    assert!(line["time"].is_string());
    for (key, value) in [
        ("event", "blocked"),
        ("client", "127.0.0.1"),
        ("proto", "udp"),
        ("name", "evil.example"),
        ("type", "AAAA"),
        ("reason", "not_listed"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    let line: Value = serde_json::from_str(&gate.stdout.expect("x.search.storage")).expect("a JSON object");
    assert_eq!(
        (&line["reason"], &line["rule"]),
        (&Value::from("denied"), &Value::from("*.search.storage.example"))
    );
    let place = line["place"].as_str().expect("a place");
    let settings = std::fs::read_to_string(gate.settings_path()).expect("settings");
    let number =
        settings.lines().position(|line| line.contains("*.search.storage.example")).expect("the rule") + 1;
    assert!(place.ends_with(&format!("namegate.toml:{number}")), "{place}");
    for line in gate.stderr.all() {
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error} in the log line {line}"));
    }
}

#[test]
fn hostile_names_stay_on_their_line() {
    let upstream = ScriptedUpstream::start();
    for format in ["text", "json"] {
        let gate = Gate::start(&upstream, &format!("log.format = \"{format}\""));
        let client = gate.udp();
        for name in HOSTILE {
            assert_eq!(client.ask(&Query::new(name, "A")).rcode(), "NXDOMAIN", "{name}");
        }
        client.ask(&Query::new("last.example", "A"));
        gate.stdout.expect("last.example");
        let lines = gate.stdout.all();
        assert_eq!(lines.len(), HOSTILE.len() + 1, "{lines:?}");
        for line in lines.iter().chain(&gate.stderr.all()) {
            assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line:?}");
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            }
        }
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn which_lookups_are_written_is_a_setting() {
    let upstream = ScriptedUpstream::start();
    let all = Gate::start(&upstream, "log.queries = \"all\"");
    all.ask("ws.allowed.example", "A");
    all.stdout.expect(" allowed client=127.0.0.1 proto=udp name=ws.allowed.example type=A");
    all.ask("ws.allowed.example", "IXFR");
    all.stdout.expect(" refused client=127.0.0.1 proto=udp name=ws.allowed.example type=IXFR");
    let none = Gate::start(&upstream, "log.queries = \"none\"");
    none.ask("evil.example", "A");
    none.ask("ws.allowed.example", "A");
    let lines = none.stdout.clone();
    assert!(none.terminate().success());
    assert_eq!(lines.wait(PATIENCE, |_| false), None, "waits for the end of the output");
    assert!(lines.all().is_empty(), "{:?}", lines.all());
}

#[test]
fn the_last_lines_are_written_at_the_end() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    for number in 0..500 {
        client.ask(&Query::new(&format!("n{number}.evil.example"), "A"));
    }
    let lines = gate.stdout.clone();
    assert!(gate.terminate().success());
    lines.wait(PATIENCE, |_| false);
    assert_eq!(lines.all().len(), 500);
}

#[test]
fn refused_clients_fill_no_log() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.allow_clients = [\"127.0.0.1\"]");
    let stranger = gate.udp_from([127, 0, 0, 2]);
    for _ in 0..20 {
        stranger.ask(&Query::new("evil.example", "A"));
    }
    gate.ask("last.example", "A");
    gate.stdout.expect("last.example");
    assert_eq!(gate.stdout.all().len(), 1);
    gate.expect_clean_log();
}
