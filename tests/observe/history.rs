//! Tests the history of lookups: its pages, `namegate log`, and what must not stop answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::namegate;
use crate::support::http::Http;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream, UdpClient, eventually};

fn page(gate: &Gate, path: &str) -> Value {
    let (status, body) = gate.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn lookups(gate: &Gate, query: &str) -> Vec<Value> {
    page(gate, &format!("/api/v1/log?{query}"))["lookups"].as_array().expect("lookups").clone()
}

fn names(gate: &Gate, query: &str) -> Vec<String> {
    lookups(gate, query).iter().map(|lookup| lookup["name"].as_str().expect("a name").to_owned()).collect()
}

/// Rows in the history; none while it cannot be read.
fn rows(gate: &Gate) -> usize {
    let (status, body) = gate.get("/api/v1/log");
    let page: Value = serde_json::from_str(&body).unwrap_or_default();
    if status == 200 { page["lookups"].as_array().map_or(0, Vec::len) } else { 0 }
}

/// Waits until the history has this number of rows.
fn expect_rows(gate: &Gate, count: usize) {
    eventually("rows in the history", || (rows(gate) == count).then_some(()));
}

/// Settings with a state directory in `directory`.
fn on_disk(directory: &TempDir) -> String {
    format!("server.state_directory = \"{}/state\"\n", directory.path().display())
}

#[test]
fn every_decision_can_be_searched() {
    let upstream = ScriptedUpstream::start();
    upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, "server.allow_clients = [\"127.0.0.0/16\"]");
    gate.ask("ws.allowed.example", "A");
    gate.ask("ws.allowed.example", "A");
    gate.ask("broken.allowed.example", "A");
    gate.ask("evil.example", "AAAA");
    gate.udp_from([127, 0, 0, 7]).ask(&Query::new("evil.example", "A"));
    gate.udp_from([127, 1, 0, 1]).ask(&Query::new("ws.allowed.example", "A"));
    expect_rows(&gate, 6);
    for (query, found) in [
        ("class=allowed", &["ws.allowed.example", "ws.allowed.example"][..]),
        ("class=blocked", &["evil.example", "evil.example"]),
        ("class=errors", &["broken.allowed.example"]),
        ("class=other", &["ws.allowed.example"]),
        ("decision=refused", &["ws.allowed.example"]),
        ("reason=not_listed&client=127.0.0.1", &["evil.example"]),
        ("client=127.0.0.7", &["evil.example"]),
        ("client=127.1.0.0/16", &["ws.allowed.example"]),
        ("below=allowed.example&rcode=servfail", &["broken.allowed.example"]),
        ("name=EVIL.example.", &["evil.example", "evil.example"]),
        ("name=evil.example&limit=1", &["evil.example"]),
        ("until=2020-01-01T00:00:00Z", &[]),
        ("since=2020-01-01T00:00:00Z&name=broken.allowed.example", &["broken.allowed.example"]),
    ] {
        assert_eq!(names(&gate, query), found, "{query}");
    }
    let blocked = &lookups(&gate, "client=127.0.0.1&class=blocked")[0];
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("type", "AAAA"),
        ("decision", "blocked"),
        ("reason", "not_listed"),
        ("rcode", "nxdomain"),
        ("source", "policy"),
    ] {
        assert_eq!(blocked[key], value, "{blocked}");
    }
    let allowed = &lookups(&gate, "class=allowed");
    assert!(allowed.iter().all(|lookup| lookup["rule"] == ".allowed.example"), "{allowed:?}");
    let graph = page(&gate, "/api/v1/log/graph?step=3600");
    let sum =
        |class: &str| graph[class].as_array().expect("a list").iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!((sum("allowed"), sum("blocked"), sum("errors"), sum("other")), (2, 2, 1, 1), "{graph}");
    let clients = page(&gate, "/api/v1/log/clients");
    assert_eq!(clients["items"][0]["key"], "127.0.0.1", "{clients}");
    assert_eq!((&clients["items"][0]["allowed"], &clients["items"][0]["errors"]), (&2.into(), &1.into()));
    let found = page(&gate, "/api/v1/log/names?class=blocked");
    assert_eq!(
        (&found["items"][0]["key"], &found["items"][0]["blocked"]),
        (&"evil.example".into(), &2.into())
    );
    gate.expect_clean_log();
}

#[test]
fn an_answer_without_lookups_says_where_the_history_begins() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let search = ["log", "--client", "10.9.9.9", "--since", "2h", "--admin", &gate.admin().to_string()];
    let run = namegate(gate.directory(), &search).expect_code(0);
    run.expect_stderr(&["note: the history begins at 20", "no such lookups"]);
}

#[test]
fn invalid_searches_are_refused_with_a_remedy() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let http = Http::to(gate.admin());
    for (query, told) in [
        ("name=a..b", "`name`: invalid value `a..b`; help: write a name"),
        ("client=nobody", "10.1.0.0/16"),
        ("since=yesterday", "2026-11-23T02:00:00Z"),
        ("limit=0", "from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("class=bad", "allowed, blocked, errors, other"),
        ("decision=bad", "allowed, blocked, observed"),
        ("reason=bad", "not_listed"),
        ("rcode=bad", "servfail"),
        ("before=x", "`next`"),
        ("nome=x", "unknown field `nome`"),
    ] {
        http.send("GET", &format!("/api/v1/log?{query}"), "").expect_error(400, &[told, "help: "]);
    }
    for query in ["step=0", "step=1", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"] {
        http.send("GET", &format!("/api/v1/log/graph?{query}"), "").expect_error(400, &["help: "]);
    }
}

#[test]
fn history_survives_a_restart_in_the_sandbox() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().unwrap());
    let gate = Gate::start(&upstream, &on_disk(&directory));
    gate.ask("evil.example", "A");
    gate.ask("ws.allowed.example", "A");
    gate.terminate();
    let gate = Gate::start(&upstream, &on_disk(&directory));
    gate.ask("other.example", "A");
    expect_rows(&gate, 3);
    let file = directory.path().join("state/history.sqlite");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let metrics = gate.metrics();
    assert_eq!(metrics.sum("namegate_history_rows", &[]), 3.0);
    assert_eq!(metrics.sum("namegate_history_bytes", &[]), fs::metadata(&file).unwrap().len() as f64);
    assert_eq!(metrics.sum("namegate_history_ok", &[]), 1.0);
    assert_eq!(metrics.sum("namegate_history_lost_total", &[]), 0.0);
    gate.expect_clean_log();
}

#[test]
fn a_broken_history_costs_only_the_history() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().unwrap());
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(
        state.join("history.sqlite"),
        "this is no database, but as long as its header would be: ".repeat(9),
    )
    .unwrap();
    let gate = Gate::start(&upstream, &on_disk(&directory));
    gate.ask("evil.example", "A");
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    let line = gate.stderr.expect("the history of lookups is not written: ");
    assert!(line.contains("ERROR") && line.contains("history.sqlite"), "{line}");
    gate.stderr.expect("help: it is renamed to history.unreadable");
    let until = Instant::now() + Duration::from_secs(25);
    while rows(&gate) < 2 {
        assert!(Instant::now() < until, "{:?}", gate.stderr.all());
        std::thread::sleep(Duration::from_millis(100));
    }
    gate.stderr.expect("the history of lookups is written again");
    assert!(state.join("history.unreadable").exists());
}

#[test]
fn a_link_in_place_of_the_history_is_refused() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().unwrap());
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(directory.path().join("target"), "precious").unwrap();
    std::os::unix::fs::symlink(directory.path().join("target"), state.join("history.sqlite")).unwrap();
    let gate = Gate::start(&upstream, &on_disk(&directory));
    gate.stderr.expect("history.sqlite: it is a symbolic link");
    gate.expect_metrics("a history that is not well", |metrics| {
        metrics.sum("namegate_history_ok", &[]) == 0.0
    });
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.get("/api/v1/log").0, 503);
    assert_eq!(fs::read_to_string(directory.path().join("target")).unwrap(), "precious");
}

#[test]
fn two_processes_share_the_history_in_a_hand_over() {
    let (upstream, directory) = (ScriptedUpstream::start(), TempDir::new().unwrap());
    let (first, second) =
        (Gate::start(&upstream, &on_disk(&directory)), Gate::start(&upstream, &on_disk(&directory)));
    for number in 0..5 {
        first.ask(&format!("first-{number}.example"), "A");
        second.ask(&format!("second-{number}.example"), "A");
        std::thread::sleep(Duration::from_millis(700));
    }
    expect_rows(&first, 10);
    first.terminate();
    second.ask("last.example", "A");
    expect_rows(&second, 11);
    second.expect_clean_log();
}

#[test]
fn clients_are_stored_only_as_they_may_be_shown() {
    let upstream = ScriptedUpstream::start();
    for (client, shown) in [("subnet", Some("127.0.0.0/24")), ("none", None)] {
        let directory = TempDir::new().unwrap();
        let gate = Gate::start(&upstream, &format!("{}log.client = \"{client}\"", on_disk(&directory)));
        gate.ask("evil.example", "A");
        expect_rows(&gate, 1);
        assert_eq!(lookups(&gate, "")[0]["client"].as_str(), shown);
        drop(gate);
        let bytes = fs::read(directory.path().join("state/history.sqlite")).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"127.0.0.1"), "{client}");
    }
}

#[test]
fn history_can_be_off() {
    let gate = Gate::start(&ScriptedUpstream::start(), "history.max_age = \"0s\"");
    gate.ask("evil.example", "A");
    Http::to(gate.admin()).send("GET", "/api/v1/log", "").expect_error(404, &["`history.max_age`", "help: "]);
    assert!(!gate.metrics().has("namegate_history_rows"));
}

#[test]
fn a_flood_of_names_leaves_the_lookups_of_others() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    gate.udp_from([127, 0, 0, 9]).ask(&Query::new("before.example", "A"));
    let flood = UdpClient::of(gate.address());
    for number in 0..60_000_u32 {
        flood.send(&Query::new(&format!("n{number}.tunnel.example"), "A").bytes());
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    gate.udp_from([127, 0, 0, 9]).ask(&Query::new("after.example", "A"));
    let found = eventually("both lookups of the other client", || {
        Some(names(&gate, "client=127.0.0.9")).filter(|names| names.len() == 2)
    });
    assert_eq!(found, ["after.example", "before.example"]);
    let graph = page(&gate, "/api/v1/log/clients?client=127.0.0.1");
    assert!(graph["sampled"] == true, "{graph}");
}

#[test]
fn the_command_lists_what_it_is_asked_for() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, "policy.deny = [\"evil.example\"]");
    gate.ask("ws.allowed.example", "A");
    gate.ask("evil.example", "AAAA");
    gate.ask("evil.example", "AAAA");
    expect_rows(&gate, 2);
    let admin = gate.admin().to_string();
    let log =
        |arguments: &[&str]| namegate(gate.directory(), &[&["log", "--admin", &admin], arguments].concat());
    let run = log(&["--client", "127.0.0.1", "--since", "1h", "--blocked"]).expect_code(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.stdout);
    assert!(lines[0].starts_with("TIME (UTC)") && lines[0].ends_with("RULE"), "{}", run.stdout);
    for part in ["  2 ", "127.0.0.1", "evil.example", "AAAA", "blocked", "denied", "/namegate.toml:"] {
        assert!(lines[1].contains(part), "{part}: {}", run.stdout);
    }
    assert!(run.stderr.contains("note: the history begins at "), "{}", run.stderr);
    let failed = log(&["--failed"]).expect_code(0);
    assert!(failed.stdout.contains("servfail") && !failed.stdout.contains("evil"), "{}", failed.stdout);
    let json: Value = serde_json::from_str(&log(&["--json", "--name", "evil.example"]).stdout).unwrap();
    assert_eq!(json["lookups"][0]["count"], 2);
    let one = log(&["--limit", "1"]).expect_code(0);
    assert!(one.stdout.lines().count() == 2 && one.stderr.contains("only the newest rows"), "{}", one.stderr);
    log(&["--below", "nowhere.example"]).expect_code(0).expect_stderr(&["no such lookups"]);
    log(&["--name", "a..b"])
        .expect_code(2)
        .expect_stderr(&["error: `name`: invalid value", "\n  help: write a name"]);
    log(&["--since", "1h", "--until", "2h"])
        .expect_code(2)
        .expect_stderr(&["--until is not after --since", "help: "]);
    log(&["--since", "soon"]).expect_code(2).expect_stderr(&["02:00"]);
}

#[test]
fn learn_reads_the_history_of_a_time() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    gate.ask("early.example.com", "A");
    std::thread::sleep(Duration::from_millis(1500));
    gate.udp_from([127, 0, 0, 7]).ask(&Query::new("late.example.com", "A"));
    expect_rows(&gate, 2);
    let first = lookups(&gate, "name=early.example.com")[0]["time"].as_str().unwrap().to_owned();
    let between = humantime::parse_rfc3339(&first).unwrap() + Duration::from_millis(700);
    let between = humantime::format_rfc3339_millis(between).to_string();
    let admin = gate.admin().to_string();
    let learn = |arguments: &[&str]| {
        let run = [&["learn", "--config", "namegate.toml", "--admin", &admin], arguments].concat();
        namegate(gate.directory(), &run).expect_code(0).stdout
    };
    for (arguments, early, late) in [
        (&["--until", &between][..], true, false),
        (&["--since", &between], false, true),
        (&["--client", "127.0.0.7"], false, true),
    ] {
        let text = learn(arguments);
        let has = |name: &str| text.contains(&format!("host    = \"{name}\""));
        assert_eq!(
            (has("early.example.com"), has("late.example.com")),
            (early, late),
            "{arguments:?}: {text}"
        );
    }
}
