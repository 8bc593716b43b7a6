//! Tests upstreams that are silent, broken, slow or gone.

use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::code::TC;
use crate::support::script::{Step, changed};
use crate::support::upstream::Transport;
use crate::support::{Gate, Message, Response, Script, ScriptedUpstream};

/// The shortest possible deadline, for tests that wait for it.
const SHORT: &str = "upstream.deadline = \"1s\"";
/// Time that scheduling may add to a deadline.
const SLACK: Duration = Duration::from_millis(700);

fn good() -> Response {
    Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])
}

/// The reply, and how long it took.
fn timed(gate: &Gate) -> (Message, Duration) {
    let start = Instant::now();
    let reply = gate.ask("ws.allowed.example", "A");
    (reply, start.elapsed())
}

fn assert_servfail(reply: &Message, code: u16) {
    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![code]), "{reply:?}");
    assert!(reply.answers.is_empty());
    assert_eq!(reply.name(), "ws.allowed.example");
}

fn transports(upstream: &ScriptedUpstream) -> Vec<Transport> {
    upstream.queries().iter().map(|query| query.transport).collect()
}

#[test]
fn silence_ends_in_failure_within_the_deadline() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, SHORT);
    let (reply, took) = timed(&gate);
    assert_servfail(&reply, 22);
    let deadline = Duration::from_secs(1);
    assert!(took >= deadline - SLACK && took <= deadline + SLACK, "{took:?}");
    // Blocked names are still answered at once.
    let start = Instant::now();
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    assert!(start.elapsed() < SLACK);
}

#[test]
fn silence_is_asked_three_times_at_most() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "upstream.deadline = \"4s\"");
    let (reply, took) = timed(&gate);
    assert_servfail(&reply, 22);
    assert!(took <= Duration::from_secs(4) + SLACK, "{took:?}");
    let sent: Vec<Instant> = upstream.queries().iter().map(|query| query.at).collect();
    assert_eq!(sent.len(), 3);
    for pair in sent.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap >= Duration::from_millis(900) && gap <= Duration::from_secs(1) + SLACK, "{gap:?}");
    }
}

#[test]
fn a_lost_datagram_costs_a_second() {
    let upstream = ScriptedUpstream::start();
    upstream.on_each("ws.allowed.example", vec![Script::silent(), Script::reply(good())]);
    let gate = Gate::start(&upstream, "");
    let (reply, took) = timed(&gate);
    assert_eq!(reply.answer_data(), ["192.0.2.9"]);
    assert!(took <= Duration::from_secs(1) + SLACK, "{took:?}");
}

#[test]
fn a_late_reply_to_the_first_try_is_taken() {
    let upstream = ScriptedUpstream::start();
    let late = Script::late(Duration::from_millis(1500), good());
    upstream.on_each("ws.allowed.example", vec![late, Script::silent()]);
    let gate = Gate::start(&upstream, "");
    let (reply, took) = timed(&gate);
    assert_eq!(reply.answer_data(), ["192.0.2.9"]);
    assert!(took <= Duration::from_millis(1500) + SLACK, "{took:?}");
}

#[test]
fn the_second_server_answers_for_a_silent_first() {
    let (dead, alive) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    dead.by_default(Script::silent());
    dead.ignore_probes();
    let gate = Gate::with_upstreams(&[dead.address(), alive.address()], "");
    let (reply, took) = timed(&gate);
    assert_eq!(reply.answer_data(), ["192.0.2.1"]);
    assert!(took <= Duration::from_secs(1) + SLACK, "{took:?}");
    assert_eq!((dead.queries().len(), alive.queries().len()), (1, 1));
}

#[test]
fn the_second_server_answers_for_a_failing_first() {
    for rcode in ["SERVFAIL", "REFUSED"] {
        let (failing, alive) = (ScriptedUpstream::start(), ScriptedUpstream::start());
        failing.by_default(Script::reply(Response::failing(rcode)));
        let gate = Gate::with_upstreams(&[failing.address(), alive.address()], "");
        let (reply, took) = timed(&gate);
        assert_eq!(reply.answer_data(), ["192.0.2.1"], "{rcode}");
        assert!(took < Duration::from_secs(1), "{rcode}: expected at once, not after {took:?}");
        assert_eq!((failing.queries().len(), alive.queries().len()), (1, 1), "{rcode}");
    }
}

#[test]
fn the_second_server_answers_for_a_closed_port() {
    let alive = ScriptedUpstream::start();
    let gate = Gate::with_upstreams(&[ScriptedUpstream::unused_address(), alive.address()], "");
    let (reply, took) = timed(&gate);
    assert_eq!(reply.answer_data(), ["192.0.2.1"]);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_name_error_is_an_answer() {
    let (first, second) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    first.by_default(Script::reply(Response::failing("NXDOMAIN")));
    let gate = Gate::with_upstreams(&[first.address(), second.address()], "");
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NXDOMAIN");
    assert!(second.queries().is_empty());
}

#[test]
fn failures_of_all_servers_are_relayed_with_their_reason() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::failing("SERVFAIL").extended_error(9, "no DNSKEY")));
    let gate = Gate::start(&upstream, SHORT);
    let (reply, _) = timed(&gate);
    assert_eq!(reply.rcode(), "SERVFAIL");
    assert_eq!(reply.extended_errors(), [(9, "no DNSKEY".to_owned())]);
}

#[test]
fn a_closed_port_fails_within_the_deadline() {
    let gate = Gate::with_upstreams(&[ScriptedUpstream::unused_address()], SHORT);
    let (reply, took) = timed(&gate);
    assert_servfail(&reply, 22);
    assert!(took <= Duration::from_secs(1) + SLACK, "{took:?}");
}

/// musl gives up after 5.0 s, dnspython after 5.4 s: both still get the reason.
#[test]
fn silence_ends_at_default_settings_before_clients_give_up() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "");
    let (reply, took) = timed(&gate);
    assert_servfail(&reply, 22);
    assert!((4.0..4.9).contains(&took.as_secs_f64()), "Azure may take 4 s, musl gives up after 5: {took:?}");
}

#[test]
fn truncation_leads_to_tcp() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::truncated_then_tcp(good()));
    let gate = Gate::start(&upstream, SHORT);
    assert_eq!(timed(&gate).0.answer_data(), ["192.0.2.9"]);
    assert_eq!(transports(&upstream), [Transport::Udp, Transport::Tcp]);
    let [udp, tcp] = upstream.queries().try_into().expect("two queries");
    assert_eq!(udp.message.question_bytes, tcp.message.question_bytes);
}

#[test]
fn an_undecodable_answer_leads_to_tcp() {
    let upstream = ScriptedUpstream::start();
    let broken = Step::changed(good(), |bytes| bytes.truncate(bytes.len() - 15));
    upstream.by_default(Script { udp: vec![broken], tcp: vec![Step::reply(good())] });
    let gate = Gate::start(&upstream, SHORT);
    assert_eq!(timed(&gate).0.answer_data(), ["192.0.2.9"]);
    assert_eq!(transports(&upstream), [Transport::Udp, Transport::Tcp]);
}

#[test]
fn a_datagram_larger_than_we_take_leads_to_tcp() {
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> = (0..200).map(|n| format!("ws.allowed.example 60 A 192.0.2.{n}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.by_default(Script {
        udp: vec![Step::reply(Response::answering(&records))],
        tcp: vec![Step::reply(good())],
    });
    let gate = Gate::start(&upstream, SHORT);
    assert_eq!(timed(&gate).0.answer_data(), ["192.0.2.9"]);
    assert_eq!(transports(&upstream), [Transport::Udp, Transport::Tcp]);
}

/// Scripts whose TCP side never sends the whole answer; each times out or is given up.
fn useless_over_tcp() -> Vec<(&'static str, Script)> {
    vec![
        ("TC over TCP", Script::truncated_then(vec![Step::reply(Response::default().flags(TC))])),
        ("silence over TCP", Script::truncated()),
        ("closed without a byte", Script::truncated_then(vec![Step::Close])),
        (
            "closed half way",
            Script::truncated_then(vec![Step::Announce(500, changed(good(), |_| ())), Step::Close]),
        ),
        ("stuck half way", Script::truncated_then(vec![Step::Announce(500, changed(good(), |_| ()))])),
        ("a length of zero", Script::truncated_then(vec![Step::bytes(&[]), Step::Close])),
        ("another id", Script::truncated_then(vec![Step::wrong_id(good()), Step::Close])),
        ("another question", Script::truncated_then(vec![Step::wrong_name(good()), Step::Close])),
        (
            "undecodable",
            Script::truncated_then(vec![Step::changed(good(), |bytes| bytes.truncate(bytes.len() - 15))]),
        ),
    ]
}

#[test]
fn a_useless_tcp_side_ends_in_failure() {
    scope(|scope| {
        for (case, script) in useless_over_tcp() {
            scope.spawn(move || {
                let upstream = ScriptedUpstream::start();
                upstream.by_default(script);
                let gate = Gate::start(&upstream, SHORT);
                let (reply, took) = timed(&gate);
                assert_eq!(reply.rcode(), "SERVFAIL", "{case}");
                assert!(!reply.ede_codes().is_empty(), "{case}: no reason is given");
                assert!(took <= Duration::from_secs(1) + SLACK, "{case}: {took:?}");
                let sent = upstream.queries().len();
                assert!(sent <= 6, "{case}: {sent} upstream queries for one query");
                assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN", "{case}");
            });
        }
    });
}

#[test]
fn the_second_server_answers_for_a_useless_tcp_side() {
    scope(|scope| {
        for (case, script) in useless_over_tcp() {
            scope.spawn(move || {
                let (broken, alive) = (ScriptedUpstream::start(), ScriptedUpstream::start());
                broken.by_default(script);
                let gate = Gate::with_upstreams(&[broken.address(), alive.address()], "");
                let (reply, took) = timed(&gate);
                assert_eq!(reply.answer_data(), ["192.0.2.1"], "{case}");
                assert!(took <= Duration::from_secs(1) + SLACK, "{case}: {took:?}");
            });
        }
    });
}

#[test]
fn a_dead_server_is_asked_last_and_comes_back() {
    let (flapping, steady) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    flapping.by_default(Script::silent());
    flapping.ignore_probes();
    let gate = Gate::with_upstreams(&[flapping.address(), steady.address()], "");
    scope(|scope| {
        for number in 0..20 {
            let gate = &gate;
            scope.spawn(move || gate.ask(&format!("n{number}.allowed.example"), "A"));
        }
    });
    let up = |metrics: &crate::support::metrics::Metrics| {
        metrics.sum("namegate_upstream_up", &[("upstream", &flapping.address().to_string())])
    };
    gate.expect_metrics("the dead server to be down", |metrics| up(metrics) == 0.0);
    let start = Instant::now();
    assert_eq!(gate.ask("later.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    assert!(start.elapsed() < SLACK, "the dead server is still queried first");
}
