//! Regression tests of upstream exchanges. Each test is named after the required behaviour.

use std::process::{Command, Stdio};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::code::TC;
use crate::support::gate::Reload;
use crate::support::metrics::Metrics;
use crate::support::script::Step;
use crate::support::settings::write_settings;
use crate::support::{
    Gate, Message, Query, Response, Script, ScriptedUpstream, UdpClient, command, eventually,
};

/// Time that scheduling may add to a bounded time.
const SLACK: Duration = Duration::from_millis(300);

/// A name of `count` labels.
fn deep(count: usize) -> String {
    (0..count).map(|number| format!("l{number}")).collect::<Vec<_>>().join(".")
}

/// The reverse name of an IPv6 address: 34 labels.
fn reverse() -> String {
    format!("{}ip6.arpa", "1.".repeat(32))
}

fn allowing(rule: &str) -> String {
    format!("policy.allow = [\"{rule}\"]")
}

/// Sends a query for each name at once; returns one waiting client per name.
fn burst(gate: &Gate, names: std::ops::Range<usize>) -> Vec<UdpClient> {
    let send = |number| {
        let client = gate.udp();
        client.send(&Query::new(&format!("n{number}.allowed.example"), "A").edns().bytes());
        client
    };
    names.map(send).collect()
}

fn assert_failures(clients: &[UdpClient]) {
    for client in clients {
        assert_eq!(Message::expect(&client.receive()).rcode(), "SERVFAIL");
    }
}

/// Queries shed for `reason`, and all shed queries.
fn sheds(metrics: &Metrics, reason: &str) -> (f64, f64) {
    let count = |labels| metrics.sum("namegate_upstream_shed_total", labels);
    (count(&[("reason", reason)]), count(&[]))
}

// Regression: inserting a first rule with more labels than the trie had slots searched for a free slot forever.
#[test]
fn a_deep_rule_is_checked_at_once() {
    for rule in [deep(40), format!("*.{}", deep(40)), reverse(), deep(60)] {
        let directory = TempDir::new().expect("a temporary directory");
        let path = write_settings(directory.path(), &[([127, 0, 0, 1], 53).into()], &allowing(&rule));
        let mut check = Command::new(command::binary());
        check.args(["check", "--config"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut check = check.spawn().expect("the binary starts");
        let start = Instant::now();
        let status = loop {
            match check.try_wait().expect("a child can be waited for") {
                Some(status) => break Some(status),
                None if start.elapsed() > Duration::from_secs(2) => break None,
                None => sleep(Duration::from_millis(5)),
            }
        };
        drop(check.kill());
        drop(check.wait());
        assert!(status.is_some_and(|status| status.success()), "`check` of {rule}: {status:?}");
    }
}

// As above, at start and on reload.
#[test]
fn a_deep_rule_decides_its_names_alone() {
    let upstream = ScriptedUpstream::start();
    for rule in [deep(40), reverse()] {
        let started = Gate::start(&upstream, &allowing(&rule));
        let reloaded = Gate::start(&upstream, "");
        reloaded.write_settings(&allowing(&rule));
        assert_eq!(reloaded.reload(), Reload::Success);
        let (_, parent) = rule.split_once('.').expect("labels");
        for gate in [started, reloaded] {
            assert_eq!(gate.ask(&rule, "A").rcode(), "NOERROR");
            let reply = gate.ask(parent, "A");
            assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("NOERROR", vec![15]), "{parent}");
            for other in [&format!("a.{rule}"), &format!("a.{parent}"), &format!("{rule}.example")] {
                assert_eq!(gate.ask(other, "A").rcode(), "NXDOMAIN", "{other}");
            }
        }
    }
    assert_eq!(upstream.asked(), [deep(40), deep(40), reverse(), reverse()].map(|name| format!("{name} A")));
}

// Regression: each reload created a new budget, while queries in flight used the old one.
#[test]
fn a_reload_does_not_renew_the_budget() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let settings = "upstream.deadline = \"2s\"\nupstream.max_in_flight = 5";
    let gate = Gate::start(&upstream, settings);
    let mut clients = burst(&gate, 0..10);
    // One client gets as many slots as it leaves free, plus one.
    eventually("its slots in use", || (upstream.queries().len() >= 3).then_some(()));
    for round in 1..4 {
        gate.write_settings(&format!("{settings}\nblock.ttl = \"{round}s\""));
        assert_eq!(gate.reload(), Reload::Success);
        clients.extend(burst(&gate, round * 10..round * 10 + 10));
        sleep(Duration::from_millis(50));
    }
    sleep(SLACK);
    let received = upstream.queries();
    // None of the first ones has ended.
    let pending = received.iter().filter(|query| query.at < received[0].at + Duration::from_millis(1900));
    assert_eq!(pending.count(), 3);
}

// Regression: answers of a removed upstream were served until their TTL expired.
#[test]
fn entries_of_a_removed_upstream_are_not_served() {
    let (old, new) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    new.by_default(Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.99"])));
    let gate = Gate::start(&old, "");
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    gate.write_settings(&format!("upstream.servers = [\"{}\"]", new.address()));
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.99"]);
    assert_eq!((old.queries().len(), new.queries().len()), (1, 1));
}

// Regression: a server that refused the retry was queried a third time, because the first attempt was still pending.
#[test]
fn a_refused_retry_ends_the_query() {
    let upstream = ScriptedUpstream::start();
    let failing = Script::reply(Response::failing("SERVFAIL"));
    upstream.on_each("ws.allowed.example", vec![Script::silent(), failing]);
    let gate = Gate::start(&upstream, "");
    let start = Instant::now();
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "SERVFAIL");
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    sleep(Duration::from_millis(2300).saturating_sub(start.elapsed()));
    assert_eq!(upstream.queries().len(), 2);
}

// Regression: the retry went to the server that had refused, not to the one whose reply was lost.
#[test]
fn a_server_that_said_no_is_not_asked_again() {
    let (failing, lossy) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    failing.by_default(Script::reply(Response::failing("SERVFAIL")));
    let answer = Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]));
    lossy.on_each("ws.allowed.example", vec![Script::silent(), answer]);
    let gate = Gate::with_upstreams(&[failing.address(), lossy.address()], "");
    let start = Instant::now();
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.9"]);
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    assert_eq!((failing.queries().len(), lossy.queries().len()), (1, 2));
}

// Regression: only slots in flight were considered: a server whose rate was used up was still queried first.
#[test]
fn a_burst_beyond_the_rate_is_spread() {
    let upstreams = [ScriptedUpstream::start(), ScriptedUpstream::start()];
    let addresses = upstreams.each_ref().map(ScriptedUpstream::address);
    let gate = Gate::with_upstreams(&addresses, "upstream.max_qps = 20");
    let start = Instant::now();
    for client in burst(&gate, 0..30) {
        assert_eq!(Message::expect(&client.receive()).rcode(), "NOERROR");
    }
    let took = start.elapsed();
    let asked = upstreams.each_ref().map(|upstream| upstream.queries().len());
    assert!(asked.iter().all(|&count| count >= 8), "{asked:?} in {took:?}");
    // A single server needs 1.4 s.
    assert!(took < Duration::from_millis(1200), "{took:?}");
}

// Regression: the three attempts of one query counted as three failures in a row.
#[test]
fn one_dead_name_does_not_make_a_server_down() {
    let upstream = ScriptedUpstream::start();
    upstream.on("dead.allowed.example", Script::silent());
    let gate = Gate::start(&upstream, "upstream.deadline = \"2400ms\"");
    assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(gate.ask("dead.allowed.example", "A").rcode(), "SERVFAIL");
    assert_eq!(gate.metrics().sum("namegate_upstream_up", &[]), 1.0);
    assert_eq!(upstream.count("dead.allowed.example"), 3);
    assert_eq!(gate.ask("other.allowed.example", "A").rcode(), "NOERROR");
}

// Regression: a slot freed just before the deadline was used for a query whose answer nobody would receive.
#[test]
fn no_query_is_sent_that_has_no_time_left() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"\nupstream.max_in_flight = 1");
    assert_failures(&burst(&gate, 0..10));
    sleep(SLACK);
    let received = upstream.queries();
    assert_eq!(received.len(), 1, "{:?}", received.iter().map(|query| query.at).collect::<Vec<_>>());
    let metrics = gate.settled_metrics();
    let (in_flight, all) = sheds(&metrics, "in_flight");
    assert!(in_flight == all && (9.0..=10.0).contains(&all), "{}", metrics.text);
}

// Regression: time spent waiting for a slot or a turn is part of the deadline, not in addition to it.
#[test]
fn waiting_is_part_of_the_deadline() {
    let limits = ["max_in_flight = 1", "max_qps = 2", "max_in_flight = 3\nupstream.max_qps = 4"];
    let longest = Duration::from_secs(1) + SLACK;
    scope(|scope| {
        for limit in limits {
            scope.spawn(move || {
                let upstream = ScriptedUpstream::start();
                upstream.by_default(Script::silent());
                let gate = Gate::start(&upstream, &format!("upstream.deadline = \"1s\"\nupstream.{limit}"));
                let start = Instant::now();
                assert_failures(&burst(&gate, 0..20));
                assert!(start.elapsed() <= longest, "{limit}: {:?}", start.elapsed());
            });
        }
    });
}

// Regression: useless replies were reported as missing replies.
#[test]
fn useless_replies_are_not_called_silence() {
    // Queried without EDNS, it does not report the error.
    let bad_version = |query: &Message| {
        let mut bytes = Response::failing("FORMERR").render(query);
        match query.edns {
            Some(_) => {
                bytes[3] = 0;
                let upper_rcode = bytes.len() - 6; // of the OPT record, which ends the message
                bytes[upper_rcode] = 1;
            }
            None => {
                bytes.truncate(12);
                bytes[4..].fill(0);
            }
        }
        bytes
    };
    let cases = [
        ("BADVERS", Step::Send(std::sync::Arc::new(bad_version))),
        ("TC on TCP too", Step::reply(Response::default().flags(TC))),
    ];
    for (case, step) in cases {
        let upstream = ScriptedUpstream::start();
        upstream.by_default(Script::steps(vec![step]));
        let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"");
        let reply = gate.ask("ws.allowed.example", "A");
        assert_eq!(reply.rcode(), "SERVFAIL", "{case}");
        let errors = reply.extended_errors();
        let [(_, text)] = errors.as_slice() else { panic!("{case}: {errors:?}") };
        let untrue = ["", "no upstream answered in time", "no upstream could be reached"];
        assert!(!untrue.contains(&text.as_str()), "{case}: {errors:?}");
    }
}

// Regression: the counts restarted with the new upstream, below the published values, which then stood still.
#[test]
fn rejected_replies_are_counted_on_over_a_reload() {
    let upstreams = [ScriptedUpstream::start(), ScriptedUpstream::start()];
    let answer = || Response::answering(&["ws.allowed.example 0 A 192.0.2.9"]);
    for upstream in &upstreams {
        upstream.by_default(Script::steps(vec![Step::wrong_id(answer()), Step::reply(answer())]));
    }
    let gate = Gate::start(&upstreams[0], "");
    let rejected = || gate.metrics().sum("namegate_upstream_replies_rejected_total", &[]);
    for (upstream, queries, total) in [(0, 3, 3.0), (1, 2, 5.0), (0, 1, 6.0)] {
        let before = rejected();
        gate.write_settings(&format!("upstream.servers = [\"{}\"]", upstreams[upstream].address()));
        assert_eq!(gate.reload(), Reload::Success);
        assert_eq!(rejected(), before, "a reload changes no count");
        for number in 0..queries {
            gate.ask(&format!("{upstream}-{total}-{number}.allowed.example"), "A");
        }
        assert_eq!(rejected(), total);
    }
}

// As above, with a new cache.
#[test]
fn evictions_are_counted_on_over_a_reload() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "cache.max_bytes = \"16KiB\"");
    let client = gate.udp();
    let evicted = || gate.metrics().sum("namegate_cache_evictions_total", &[]);
    let mut last = 0.0;
    for (round, size) in ["16KiB", "17KiB", "18KiB"].iter().enumerate() {
        gate.write_settings(&format!("cache.max_bytes = \"{size}\""));
        assert_eq!(gate.reload(), Reload::Success);
        assert!(evicted() >= last, "a reload lowers the count");
        for number in 0..200 {
            client.ask(&Query::new(&format!("n{number}-{round}.allowed.example"), "A"));
        }
        let now = eventually("evictions", || Some(evicted()).filter(|&now| now > last + 20.0));
        last = now;
    }
}
