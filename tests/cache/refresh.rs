//! Tests prefetching before expiry, and stale answers where they are enabled.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Gate, Record, Response, Script, ScriptedUpstream, beside, eventually};

/// "Stale Answer" and "Stale NXDOMAIN Answer" (RFC 8914 sections 4.4 and 4.20).
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN: u16 = 19;

fn first() -> Script {
    Script::reply(Response::answering(&["ws.allowed.example 1 A 192.0.2.1"]))
}

fn second() -> Script {
    Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.2"]))
}

const STALE: &str = "cache.serve_stale = true\nupstream.deadline = \"2500ms\"";

#[test]
fn popular_entries_are_prefetched_before_expiry() {
    let upstream = ScriptedUpstream::start();
    let answer = |ip: &str| Script::reply(Response::answering(&[&format!("ws.allowed.example 8 A {ip}")]));
    upstream.on_each("ws.allowed.example", vec![answer("192.0.2.1"), answer("192.0.2.2")]);
    upstream.on_each("once.allowed.example", vec![answer("192.0.2.1"), answer("192.0.2.2")]);
    let gate = Gate::start(&upstream, "");
    let started = Instant::now();
    let ask_at = |milliseconds: u64| {
        sleep(Duration::from_millis(milliseconds).saturating_sub(started.elapsed()));
        gate.ask("ws.allowed.example", "A").answer_data()
    };
    assert_eq!(ask_at(0), ["192.0.2.1"]);
    assert_eq!(gate.ask("once.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(ask_at(100), ["192.0.2.1"]);
    assert_eq!(upstream.count("ws.allowed.example"), 1, "no prefetch long before expiry");
    assert_eq!(ask_at(7400), ["192.0.2.1"], "no client waits for the new answer");
    eventually("the new answer", || (upstream.count("ws.allowed.example") == 2).then_some(()));
    assert_eq!(ask_at(8300), ["192.0.2.2"]);
    assert_eq!(upstream.count("ws.allowed.example"), 2);
    assert_eq!(upstream.count("once.allowed.example"), 1, "nobody queried it again");
}

#[test]
fn prefetching_can_be_turned_off() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["ws.allowed.example 3 A 192.0.2.1"]);
    upstream.on("ws.allowed.example", Script::reply(answer));
    let gate = Gate::start(&upstream, "cache.prefetch = false");
    for _ in 0..28 {
        gate.ask("ws.allowed.example", "A");
        sleep(Duration::from_millis(100));
    }
    assert_eq!(upstream.count("ws.allowed.example"), 1);
}

#[test]
fn failed_prefetch_keeps_entry_until_expiry() {
    let upstream = ScriptedUpstream::start();
    let answer = Script::reply(Response::answering(&["ws.allowed.example 4 A 192.0.2.1"]));
    upstream.on_each("ws.allowed.example", vec![answer, Script::reply(Response::failing("SERVFAIL"))]);
    let gate = Gate::start(&upstream, "");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3900) {
        assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
        sleep(Duration::from_millis(50));
    }
    assert!(upstream.count("ws.allowed.example") > 1, "it was tried");
}

#[test]
fn stale_answer_is_served_on_failure_when_enabled() {
    let upstream = ScriptedUpstream::start();
    upstream.on_each("ws.allowed.example", vec![first(), Script::silent()]);
    let gate = Gate::start(&upstream, STALE);
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    sleep(Duration::from_millis(1100));
    let asked = Instant::now();
    let reply = gate.ask("ws.allowed.example", "A");
    // RFC 8767 section 5: the client response timer, 1.8 s.
    assert!((1700..2400).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert_eq!((reply.answer_data(), reply.answers[0].ttl), (vec!["192.0.2.1".to_owned()], 30));
    assert_eq!(reply.ede_codes(), [STALE_ANSWER]);
    // The attempt continues and fails; then nobody waits, and the upstream is not queried for 30 s.
    sleep(Duration::from_millis(1000));
    let (before, asked) = (upstream.count("ws.allowed.example"), Instant::now());
    let reply = gate.ask("ws.allowed.example", "A");
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert_eq!((reply.answer_data(), reply.ede_codes()), (vec!["192.0.2.1".to_owned()], vec![STALE_ANSWER]));
    assert_eq!(upstream.count("ws.allowed.example"), before);
}

#[test]
fn later_client_gets_stale_answer_at_once() {
    let upstream = ScriptedUpstream::start();
    upstream.on_each("ws.allowed.example", vec![first(), Script::silent()]);
    let gate = Gate::start(&upstream, "cache.serve_stale = true");
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    sleep(Duration::from_millis(1100));
    // The first client waits for its full patience, while the exchange continues to its deadline.
    assert_eq!(gate.ask("ws.allowed.example", "A").ede_codes(), [STALE_ANSWER]);
    for late in 0..8 {
        let asked = Instant::now();
        let reply = gate.ask("ws.allowed.example", "A");
        assert_eq!(
            (reply.answer_data(), reply.ede_codes()),
            (vec!["192.0.2.1".to_owned()], vec![STALE_ANSWER])
        );
        assert!(asked.elapsed() < Duration::from_millis(500), "{late}: {:?}", asked.elapsed());
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_failure_brings_the_stale_answer_at_once() {
    let upstream = ScriptedUpstream::start();
    let gone = Response::negative("NXDOMAIN", Record::soa("allowed.example", 1, 1));
    let failing = || Script::reply(Response::failing("SERVFAIL"));
    upstream.on_each("ws.allowed.example", vec![first(), failing()]);
    upstream.on_each("gone.allowed.example", vec![Script::reply(gone), failing()]);
    let gate = Gate::start(&upstream, STALE);
    gate.ask("ws.allowed.example", "A");
    assert_eq!(gate.ask("gone.allowed.example", "A").rcode(), "NXDOMAIN");
    sleep(Duration::from_millis(1100));
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!((reply.answer_data(), reply.ede_codes()), (vec!["192.0.2.1".to_owned()], vec![STALE_ANSWER]));
    let reply = gate.ask("gone.allowed.example", "A");
    assert_eq!((reply.rcode(), reply.ede_codes()), ("NXDOMAIN".to_owned(), vec![STALE_NXDOMAIN]));
}

#[test]
fn a_newer_answer_is_never_passed_over() {
    let upstream = ScriptedUpstream::start();
    upstream.on_each("ws.allowed.example", vec![first(), second()]);
    let gate = Gate::start(&upstream, STALE);
    gate.ask("ws.allowed.example", "A");
    sleep(Duration::from_millis(1100));
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!((reply.answer_data(), reply.ede_codes()), (vec!["192.0.2.2".to_owned()], vec![]));
}

#[test]
fn stale_answers_have_an_end_and_are_off_unless_wanted() {
    let cases = [
        ("", false),
        ("cache.serve_stale = true\ncache.max_stale = \"1s\"", false),
        ("cache.serve_stale = true\ncache.max_stale = \"10s\"", true),
    ];
    beside(cases, |(settings, stale)| {
        let upstream = ScriptedUpstream::start();
        upstream.on_each("ws.allowed.example", vec![first(), Script::reply(Response::failing("SERVFAIL"))]);
        let gate = Gate::start(&upstream, settings);
        gate.ask("ws.allowed.example", "A");
        sleep(Duration::from_millis(2200));
        let reply = gate.ask("ws.allowed.example", "A");
        assert_eq!(reply.rcode() == "NOERROR", stale, "{settings}");
    });
}
