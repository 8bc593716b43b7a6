//! Tests that clients do not notice when one of two upstreams fails under load.

use std::sync::Mutex;
use std::thread::scope;
use std::time::Duration;

use crate::support::code::TC;
use crate::support::load::{Asked, ask_all, count, expect_none_wrong};
use crate::support::script::Step;
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Response, Script, ScriptedUpstream};

const QUERIES: usize = 2400;
const RATE: u32 = 600;

/// How the first upstream fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// It no longer replies.
    Silent,
    /// The host reports a closed port.
    Refused,
    /// It answers SERVFAIL.
    Servfail,
    /// It answers REFUSED.
    RefusedByCode,
    /// It truncates every answer, and its TCP port is closed.
    Truncated,
    /// It answers other questions.
    Lying,
}

/// Of every three names, one is new and the others repeat.
fn names() -> Vec<String> {
    let name = |number: usize| match number % 3 {
        0 => format!("n{number}.allowed.example"),
        1 => format!("often{}.allowed.example", number % 50),
        // Queried again only after the failure.
        _ => format!("twice{}.allowed.example", number % (QUERIES / 2)),
    };
    (0..QUERIES).map(name).collect()
}

fn kill(first: &Mutex<Option<ScriptedUpstream>>, death: Death) {
    let mut first = first.lock().unwrap();
    let upstream = first.as_ref().expect("it is stopped once");
    let lie = || Response::answering(&["twice1.allowed.example 60 A 198.51.100.66"]);
    match death {
        Death::Silent => {
            upstream.ignore_probes();
            upstream.by_default(Script::silent());
        }
        Death::Refused => *first = None,
        Death::Servfail => upstream.by_default(Script::reply(Response::failing("SERVFAIL"))),
        Death::RefusedByCode => upstream.by_default(Script::reply(Response::failing("REFUSED"))),
        Death::Truncated => {
            upstream.by_default(Script::truncated_then(vec![Step::reply(Response::default().flags(TC))]));
        }
        Death::Lying => {
            upstream.ignore_probes();
            upstream.by_default(Script::steps(vec![Step::wrong_name(lie()), Step::wrong_id(lie())]));
        }
    }
}

fn run(death: Death, scheme: &str) {
    let (first, second) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    first.by_default(truth::script());
    second.by_default(truth::script());
    let servers = [first.address(), second.address()].map(|address| format!("\"{scheme}{address}\""));
    let gate = Gate::start(&first, &format!("upstream.servers = [{}]", servers.join(", ")));
    let first = Mutex::new(Some(first));
    let asked = ask_all(&gate.udp(), names(), RATE, |index| {
        if index == QUERIES / 2 {
            kill(&first, death);
        }
    });
    expect_none_wrong(&asked);
    let answered = count(&asked, |outcome| *outcome == Outcome::Answered(0));
    let rest: Vec<Outcome> =
        asked.iter().map(Asked::outcome).filter(|outcome| *outcome != Outcome::Answered(0)).collect();
    assert!(
        answered * 1000 >= QUERIES * 999,
        "{death:?} {scheme}: {answered} of {QUERIES} are answered; {} are not: {:?}",
        rest.len(),
        rest.first()
    );
    let slowest = asked.iter().filter_map(Asked::took).max().unwrap_or_default();
    assert!(slowest < Duration::from_secs(6), "{death:?} {scheme}: {slowest:?}");
    eprintln!("{death:?} {scheme}: {answered} of {QUERIES} answered, the slowest after {slowest:?}");
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!((queries, outcomes), (QUERIES as f64, QUERIES as f64));
}

#[test]
fn silent_upstream_failure_loses_no_query() {
    run(Death::Silent, "");
}

#[test]
fn reported_upstream_failure_loses_no_query() {
    scope(|scope| {
        for death in [Death::Refused, Death::Servfail, Death::RefusedByCode] {
            scope.spawn(move || run(death, ""));
        }
    });
}

#[test]
fn useless_upstream_replies_lose_no_query() {
    scope(|scope| {
        for death in [Death::Truncated, Death::Lying] {
            scope.spawn(move || run(death, ""));
        }
    });
}

#[test]
fn upstream_failure_over_streams_loses_no_query() {
    scope(|scope| {
        for death in [Death::Silent, Death::Servfail] {
            scope.spawn(move || run(death, "tcp://"));
        }
    });
}
