//! Killed at any moment and started again: what was acknowledged is there, and the record of it is whole.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::thread::{scope, sleep};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::support::http::Http;
use crate::support::random::Random;
use crate::support::{Gate, ScriptedUpstream};

/// How often it is killed.
const KILLS: u64 = 12;
/// Names that are allowed and taken back.
const NAMES: usize = 8;

/// What was last ordered for a name, and whether that was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Order {
    allow: bool,
    acknowledged: bool,
}

fn name(number: usize) -> String {
    format!("n{number}.wanted.example")
}

/// Allows names and takes them back until the gate is gone; what it acknowledged stands in `orders` afterwards.
fn order(gate: &Gate, orders: &Mutex<BTreeMap<usize, Order>>, random: &mut Random) {
    loop {
        let number = random.below(NAMES);
        let before = orders.lock().unwrap().get(&number).copied().unwrap_or_default();
        // One of which nobody knows what became of it is given again.
        let allow = !(before.allow && before.acknowledged);
        orders.lock().unwrap().insert(number, Order { allow, acknowledged: false });
        let name = name(number);
        let body = format!("{{\"name\": \"{name}\", \"for\": \"1h\", \"reason\": \"kill\"}}");
        let http = Http::to(gate.admin()).token(TOKEN);
        // One that is being killed may end a request in many ways; none of them is an acknowledgement.
        let status = match allow {
            true => http.header("Content-Type: application/json").try_send("POST", "/api/v1/allowed", &body),
            false => http.try_send("DELETE", &format!("/api/v1/allowed/{name}"), ""),
        };
        let status = status.map(|reply| reply.status);
        match (status, allow) {
            (Some(201), true) | (Some(204), false) => {
                orders.lock().unwrap().insert(number, Order { allow, acknowledged: true });
            }
            _ => return,
        }
    }
}

/// Settings of a gate with a token and a place for its state, both in the directory.
fn settings() -> (String, TempDir) {
    let directory = TempDir::new().expect("a temporary directory");
    let (token, state) = (directory.path().join("token"), directory.path().join("state"));
    write_token(&token, &format!("{TOKEN}\n"), 0o600);
    let (token, state) = (token.display(), state.display());
    (format!("admin.token_file = \"{token}\"\nserver.state_directory = \"{state}\""), directory)
}

#[test]
fn killed_at_any_moment_it_comes_back_with_what_it_acknowledged() {
    let upstream = ScriptedUpstream::start();
    let (settings, directory) = settings();
    let state = directory.path().join("state");
    let orders = Mutex::new(BTreeMap::new());
    for kill in 0..KILLS {
        let gate = Gate::start(&upstream, &settings);
        for (number, Order { allow, acknowledged }) in orders.lock().unwrap().iter() {
            let allowed = gate.ask(&name(*number), "A").rcode() == "NOERROR";
            assert!(
                !acknowledged || allowed == *allow,
                "kill {kill}: {} is allowed: {allowed}",
                name(*number)
            );
        }
        assert!(!state.join("allowed.unreadable").exists(), "kill {kill}: the file was torn");
        expect_record(&state.join("audit.log"), &gate, kill);
        let mut random = Random::of(kill);
        scope(|scope| {
            let patience = Duration::from_millis(20) + random.time(Duration::from_millis(250));
            scope.spawn(|| order(&gate, &orders, &mut random));
            sleep(patience);
            gate.signal("KILL");
        });
    }
}

/// The record says of every name that is allowed who allowed it, and each of its lines is whole.
fn expect_record(path: &std::path::Path, gate: &Gate, kill: u64) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut last = BTreeMap::new();
    for line in text.lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("kill {kill}: {error} in {line}"));
        last.insert(line["pattern"].as_str().expect("a pattern").to_owned(), line["event"].clone());
    }
    let (_, list) = gate.get("/api/v1/allowed");
    let list: Value = serde_json::from_str(&list).expect("JSON");
    for grant in list.as_array().expect("a list") {
        let pattern = grant["pattern"].as_str().expect("a pattern");
        assert!(last.contains_key(pattern), "kill {kill}: {pattern} is allowed, and no record says by whom");
    }
}

// What was allowed was kept first and recorded then: killed in between, a gate came back with a name open that no record knew.
#[test]
fn nothing_is_allowed_that_no_record_tells_of() {
    let upstream = ScriptedUpstream::start();
    let (settings, directory) = settings();
    let record = directory.path().join("state/audit.log");
    let gate = Gate::start(&upstream, &settings);
    // A record that cannot be written: a pipe, which nothing must wait for.
    let made = Command::new("mkfifo").arg(&record).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe can be made");
    let body = r#"{"name": "wanted.example", "for": "1h", "reason": "kill"}"#;
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", body);
    reply.expect_error(422, &["audit.log: it is no file", "help: "]);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    gate.signal("KILL");
    gate.wait();
    fs::remove_file(&record).expect("the pipe is there");
    let gate = Gate::start(&upstream, &settings);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.get("/api/v1/allowed").1, "[]");
}
