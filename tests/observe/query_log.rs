//! Tests the query log on standard output and the log on standard error: one line per event, whatever clients send.

use serde_json::Value;

use crate::support::command::namegate;
use crate::support::settings::write_settings;
use crate::support::{Gate, PATIENCE, Query, Response, Script, ScriptedUpstream, eventually};

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
    let (head, latency) = rest.split_once(" latency_seconds=").expect("a latency");
    let wanted = "blocked client=127.0.0.1 protocol=udp name=evil.example type=A reason=not_listed rcode=nxdomain \
                  source=policy";
    assert_eq!(head, wanted);
    assert!(latency.parse::<f64>().is_ok_and(|seconds| seconds < 1.0), "{latency}");
    assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");
    let line = gate.stdout.expect("name=x.search.storage.example");
    let wanted =
        "blocked client=127.0.0.1 protocol=tcp name=x.search.storage.example type=TYPE65534 reason=denied";
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
        ("decision", "blocked"),
        ("client", "127.0.0.1"),
        ("protocol", "udp"),
        ("name", "evil.example"),
        ("type", "AAAA"),
        ("reason", "not_listed"),
        ("rcode", "nxdomain"),
        ("source", "policy"),
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
    let line =
        all.stdout.expect(" allowed client=127.0.0.1 protocol=udp name=ws.allowed.example type=A rule=");
    assert!(
        line.contains(&format!("rcode=noerror source=upstream upstream={}", upstream.address())),
        "{line}"
    );
    all.ask("ws.allowed.example", "A");
    all.stdout.expect("rcode=noerror source=cache latency_seconds");
    all.ask("ws.allowed.example", "IXFR");
    all.stdout.expect(" refused client=127.0.0.1 protocol=udp name=ws.allowed.example type=IXFR");
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

#[test]
fn answers_are_written_where_asked_for() {
    let upstream = ScriptedUpstream::start();
    let answer =
        ["ws.allowed.example 60 CNAME edge.elsewhere.example", "edge.elsewhere.example 30 A 192.0.2.7"];
    upstream.on("ws.allowed.example", Script::reply(Response::answering(&answer)));
    let settings = "log = { queries = \"all\", format = \"json\", answers = true }";
    let gate = Gate::start(&upstream, settings);
    gate.ask("ws.allowed.example", "A");
    let line: Value = serde_json::from_str(&gate.stdout.expect("ws.allowed")).expect("a JSON object");
    let shown: Vec<&str> =
        line["answers"].as_array().expect("answers").iter().filter_map(Value::as_str).collect();
    assert_eq!(shown, ["60 CNAME edge.elsewhere.example.", "edge.elsewhere.example. 30 A 192.0.2.7"]);
    assert_eq!(line["rule"], ".allowed.example");
}

#[test]
fn lines_go_to_a_file_that_is_put_aside_when_full() {
    let upstream = ScriptedUpstream::start();
    let settings =
        "log = { stdout = false, file = \"queries.log\", file_max_size = \"4KiB\", file_keep = 2 }";
    let gate = Gate::start(&upstream, settings);
    let client = gate.udp();
    let path = |suffix: &str| gate.directory().join(format!("queries.log{suffix}"));
    for number in 0..60 {
        client.ask(&Query::new(&format!("n{number}.evil.example"), "A"));
        // Lines that arrive together are written in one block, and a block is not split.
        eventually("the line", || {
            let text = std::fs::read_to_string(path("")).ok()?;
            text.contains(&format!("n{number}.evil.example")).then_some(())
        });
    }
    for suffix in ["", ".1", ".2"] {
        let text = std::fs::read_to_string(path(suffix)).unwrap_or_else(|error| panic!("{suffix}: {error}"));
        assert!(text.len() <= 4096, "{suffix} has {} bytes", text.len());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            assert_eq!(line["decision"], "blocked");
        }
    }
    assert!(!path(".3").exists());
    assert!(gate.stdout.all().is_empty(), "{:?}", gate.stdout.all());
}

#[test]
fn a_file_that_cannot_be_written_ends_the_start_with_a_remedy() {
    let upstream = ScriptedUpstream::start();
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "log.file = \"no/such/directory/queries.log\"\nadmin.listen = \"\"";
    let path = write_settings(directory.path(), &[upstream.address()], settings);
    let arguments = ["serve", "--config", path.to_str().expect("UTF-8")];
    let texts = ["no/such/directory/queries.log", "help: create its directory, or set `log.file`"];
    namegate(directory.path(), &arguments).expect_code(1).expect_stderr(&texts);
}

#[test]
fn what_is_not_blocked_can_be_sampled() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "log = { queries = \"all\", sample = 10 }\nserver.workers = 1");
    let client = gate.udp();
    client.ask(&Query::new("ws.allowed.example", "A"));
    for number in 0..100 {
        client.ask(&Query::new("ws.allowed.example", "A"));
        client.ask(&Query::new(&format!("n{number}.evil.example"), "A"));
    }
    gate.stdout.expect("n99.evil.example");
    let lines = gate.stdout.all();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count(" blocked "), 100, "every blocked lookup");
    assert_eq!(count(" allowed "), 10, "one in ten of the others");
    assert_eq!(count(" sample=10"), 10);
}

#[test]
fn clients_can_be_hidden() {
    let upstream = ScriptedUpstream::start();
    for (setting, shown) in [("subnet", Some("127.0.0.0/24")), ("none", None)] {
        let gate = Gate::start(&upstream, &format!("log.client = \"{setting}\""));
        gate.ask("evil.example", "A");
        let line = gate.stdout.expect("name=evil.example");
        let client = line.split(' ').find_map(|field| field.strip_prefix("client="));
        assert_eq!(client, shown, "{line}");
        let (_, recent) = gate.get("/api/v1/recent");
        let (_, top) = gate.get("/api/v1/top");
        assert!(!recent.contains("127.0.0.1") && !top.contains("127.0.0.1"), "{recent}{top}");
        let clients = gate.metrics().sum("namegate_top_blocked_clients", &[]);
        assert_eq!(clients, if shown.is_some() { 1.0 } else { 0.0 });
    }
}
