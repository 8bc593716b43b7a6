//! Tests that the status tells what is wrong: on its JSON page and in `namegate top`.

use std::ops::Range;
use std::path::Path;

use namegate::observe::problems;
use serde_json::Value;

use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::{Gate, Response, Script, ScriptedUpstream, eventually};

const QUICK: &str = "upstream.deadline = \"1s\"\n";

fn status(gate: &Gate) -> Value {
    serde_json::from_str(&gate.get("/api/v1/status").1).expect("JSON")
}

/// Kind, severity and message of each problem.
fn shown(status: &Value) -> Vec<(String, String, String)> {
    let text = |problem: &Value, key: &str| problem[key].as_str().expect("a text").to_owned();
    let problems = status["problems"].as_array().expect("a list");
    let all = |problem| (text(problem, "kind"), text(problem, "severity"), text(problem, "message"));
    problems.iter().map(all).collect()
}

fn kinds(status: &Value) -> Vec<String> {
    shown(status).into_iter().map(|(kind, ..)| kind).collect()
}

/// The message of a problem of `kind`, once there is one.
fn expect_problem(gate: &Gate, kind: &str, severity: &str) -> String {
    eventually(kind, || {
        let found = shown(&status(gate)).into_iter().find(|(found, ..)| found == kind)?;
        assert_eq!(found.1, severity, "{kind}");
        Some(found.2)
    })
}

/// Sends queries for allowed names with these numbers at the same time.
fn ask_at_once(gate: &Gate, numbers: Range<usize>, rcode: &str) {
    std::thread::scope(|scope| {
        for number in numbers {
            scope.spawn(move || {
                assert_eq!(gate.ask(&format!("n{number}.allowed.example"), "A").rcode(), rcode);
            });
        }
    });
}

fn top(gate: &Gate) -> String {
    namegate(gate.directory(), &["top", "--once", "--admin", &gate.admin().to_string()]).expect_code(0).stdout
}

#[test]
fn healthy_resolver_has_no_problems() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for name in ["www.allowed.example", "evil.example"] {
        gate.ask(name, "A");
    }
    let status = eventually("a reply of the upstream", || {
        Some(status(&gate))
            .filter(|status| status["ready"] == true && status["problems"] == serde_json::json!([]))
    });
    let rates = status["rates"].as_object().expect("lists");
    assert_eq!(rates.keys().collect::<Vec<_>>(), ["allowed", "blocked", "errors", "other"]);
    assert!(!top(&gate).contains("ERROR"), "{}", top(&gate));
}

#[test]
fn dead_upstreams_are_the_first_thing_shown() {
    let (one, other) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    for upstream in [&one, &other] {
        upstream.ignore_probes();
        upstream.by_default(Script::silent());
    }
    let gate = Gate::with_upstreams(&[one.address(), other.address()], QUICK);
    // The first four go to the first upstream, which is then down, the others to the second.
    ask_at_once(&gate, 0..4, "SERVFAIL");
    ask_at_once(&gate, 4..8, "SERVFAIL");
    gate.ask("evil.example", "A");
    let sum = |status: &Value, list: &str| {
        status["rates"][list].as_array().expect("a list").iter().filter_map(Value::as_u64).sum::<u64>()
    };
    eventually("the rates", || {
        let status = status(&gate);
        (["allowed", "errors", "blocked"].map(|list| sum(&status, list)) == [0, 8, 1]).then_some(())
    });
    let message = expect_problem(&gate, "servfail", "error");
    assert!(message.starts_with("clients get SERVFAIL: 8 of 8 lookups"), "{message}");
    let totals = &status(&gate)["totals"];
    assert_eq!(
        (&totals["allowed"], &totals["errors"], &totals["blocked"]),
        (&0.into(), &8.into(), &1.into())
    );
    let text = top(&gate);
    assert!(
        text.lines().nth(1).is_some_and(|line| line.starts_with("ERROR: clients get SERVFAIL")),
        "{text}"
    );
    assert!(text.contains("allowed 0, blocked 1, observed 0 (noise 0), errors 8"), "{text}");
    // Which upstream gets which query depends on how fast they are sent: go on until both have failed often enough.
    let mut number = 8;
    let message = eventually("upstreams_down", || {
        ask_at_once(&gate, number..number + 4, "SERVFAIL");
        number += 4;
        let found = shown(&status(&gate)).into_iter().find(|(kind, ..)| kind == "upstreams_down")?;
        assert_eq!(found.1, "error");
        Some(found.2)
    });
    assert!(
        message.contains(&one.address().to_string()) && message.contains(&other.address().to_string()),
        "{message}"
    );
    let status = status(&gate);
    assert_eq!(kinds(&status), ["servfail", "upstreams_down", "not_ready"], "{status}");
    assert_eq!(status["ready"], false);
    assert_eq!(gate.get("/readyz").0, 503);
}

#[test]
fn lone_servfail_is_no_problem() {
    let upstream = ScriptedUpstream::start();
    upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, QUICK);
    gate.ask("broken.allowed.example", "A");
    let status = eventually("the error in the rates", || {
        let status = status(&gate);
        let is_counted =
            status["rates"]["errors"].as_array().expect("a list").iter().any(|count| *count == 1);
        is_counted.then_some(status)
    });
    assert_eq!(kinds(&status), Vec::<String>::new(), "{status}");
}

#[test]
fn one_upstream_of_two_down_is_a_warning() {
    let (sound, dead) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    dead.ignore_probes();
    dead.by_default(Script::silent());
    let gate = Gate::with_upstreams(&[dead.address(), sound.address()], "");
    ask_at_once(&gate, 0..4, "NOERROR");
    let message = expect_problem(&gate, "upstream_down", "warning");
    assert!(
        message.contains(&dead.address().to_string()) && !message.contains(&sound.address().to_string()),
        "{message}"
    );
    assert_eq!(status(&gate)["ready"], true);
}

#[test]
fn failed_reload_is_a_problem_until_one_succeeds() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    gate.write_settings("policy.mode = \"obsreve\"");
    assert_eq!(gate.reload(), Reload::Failure);
    let message = expect_problem(&gate, "reload_failed", "error");
    assert!(message.contains("obsreve") && message.contains("namegate.toml:"), "{message}");
    assert!(!message.contains('\n') && !message.contains("\\n"), "{message}");
    let problem = &status(&gate)["problems"][0];
    assert!(problem["since"].as_str().is_some_and(|since| since.starts_with("20")), "{problem}");
    gate.write_settings("");
    assert_eq!(gate.reload(), Reload::Success);
    assert!(!kinds(&status(&gate)).contains(&"reload_failed".to_owned()));
}

#[test]
fn observe_mode_names_its_groups() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        "client = [{ name = \"trial\", subnets = [\"127.9.0.0/16\"], mode = \"observe\" }]",
    );
    let message = expect_problem(&gate, "observe_mode", "warning");
    assert!(message.contains("for client groups trial;"), "{message}");
}

#[test]
fn failed_canaries_are_problems() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        "prove.interval = \"1s\"\nprove.must_resolve = [\"blocked.example\"]\n\
         prove.must_not_resolve = [\"www.allowed.example\"]",
    );
    let message = expect_problem(&gate, "canary_not_blocked", "error");
    assert!(message.contains("www.allowed.example"), "{message}");
    let message = expect_problem(&gate, "canary_not_resolved", "warning");
    assert!(message.contains("blocked.example"), "{message}");
}

#[test]
fn documented_problems_are_those_reported() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).expect("docs/operations.md");
    assert!(page.contains(&problems::markdown()), "put this table there:\n{}", problems::markdown());
}
