//! Tests that after a kill at any moment, acknowledged grants are restored and the audit log is intact.

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

/// Number of kills.
const KILLS: u64 = 12;
/// Names that are granted and revoked.
const NAMES: usize = 8;

/// The last request for a name, and whether it was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Order {
    allow: bool,
    acknowledged: bool,
}

fn name(number: usize) -> String {
    format!("n{number}.wanted.example")
}

/// Grants and revokes names until namegate is gone; records in `orders` what was acknowledged.
fn order(gate: &Gate, orders: &Mutex<BTreeMap<usize, Order>>, random: &mut Random) {
    loop {
        let number = random.below(NAMES);
        let before = orders.lock().unwrap().get(&number).copied().unwrap_or_default();
        // A request with unknown result is sent again.
        let allow = !(before.allow && before.acknowledged);
        orders.lock().unwrap().insert(number, Order { allow, acknowledged: false });
        let name = name(number);
        let body = format!("{{\"name\": \"{name}\", \"for\": \"1h\", \"reason\": \"kill\"}}");
        let http = Http::to(gate.admin()).token(TOKEN);
        // A process being killed may end a request in many ways; none of them acknowledges it.
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

/// Settings with a token and a state directory, both in the returned directory.
fn settings() -> (String, TempDir) {
    let directory = TempDir::new().expect("a temporary directory");
    let (token, state) = (directory.path().join("token"), directory.path().join("state"));
    write_token(&token, &format!("{TOKEN}\n"), 0o600);
    let (token, state) = (token.display(), state.display());
    (format!("admin.token_file = \"{token}\"\nserver.state_directory = \"{state}\""), directory)
}

#[test]
fn acknowledged_grants_survive_a_kill_at_any_moment() {
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
        assert!(!state.join("allowed.unreadable").exists(), "kill {kill}: the file was partly written");
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

/// Asserts that the audit log names the author of every grant in force, and that each of its lines is complete.
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
        assert!(
            last.contains_key(pattern),
            "kill {kill}: {pattern} is allowed, but no audit record names the author"
        );
    }
}

// Regression: grants were saved before they were recorded, so a kill in between restored a grant that no record
// mentioned.
#[test]
fn no_grant_takes_effect_without_audit_record() {
    let upstream = ScriptedUpstream::start();
    let (settings, directory) = settings();
    let record = directory.path().join("state/audit.log");
    let gate = Gate::start(&upstream, &settings);
    // An audit log that cannot be written: a pipe, which must not block anything.
    let made = Command::new("mkfifo").arg(&record).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe can be made");
    let body = r#"{"name": "wanted.example", "for": "1h", "reason": "kill"}"#;
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", body);
    reply.expect_error(503, &["it is not a file", "help: "]);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    gate.signal("KILL");
    gate.wait();
    fs::remove_file(&record).expect("the pipe is there");
    let gate = Gate::start(&upstream, &settings);
    assert_eq!(gate.ask("wanted.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.get("/api/v1/allowed").1, "[]");
}
