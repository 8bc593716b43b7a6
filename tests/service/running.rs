//! Regression tests of limits, signals and canaries in a running namegate. Each test is named after the required
//! behaviour.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::client::TcpEvent;
use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::script::Step;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, TcpClient, eventually};

#[test]
fn a_limit_of_rates_spoils_no_proof() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        "rate_limit.responses_per_second = 20\nprove.must_resolve = [\"www.allowed.example\"]\n\
         prove.must_not_resolve = [\"canary.test\"]\nprove.interval = \"1h\"",
    );
    let (server, admin) = (gate.address().to_string(), gate.admin().to_string());
    let arguments = ["prove", "--config", "namegate.toml", "--server", &server, "--admin", &admin];
    let run = namegate(gate.directory(), &arguments).expect_code(0);
    assert!(run.stdout.contains("namegate prove: PASSED"), "{}", run.stdout);
}

/// Another program on this machine uses up the whole rate.
#[test]
fn a_limit_of_rates_fails_no_canary() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(
        &upstream,
        "rate_limit.responses_per_second = 20\nprove.must_resolve = [\"www.allowed.example\"]\n\
         prove.must_not_resolve = [\"canary.test\"]\nprove.interval = \"1s\"",
    );
    let client = gate.udp();
    let last_run = || gate.metrics().sum("namegate_canary_last_run_timestamp_seconds", &[]);
    // The first run that ends may have begun before the flood; the second has not.
    let (mut last, mut ended) = (last_run(), 0);
    let start = Instant::now();
    while ended < 2 {
        ended += usize::from(std::mem::replace(&mut last, last_run()) != last);
        (0..50).for_each(|_| client.send(&Query::new("evil.example", "A").bytes()));
        assert!(start.elapsed() < Duration::from_secs(60), "{ended} of 2 canary runs finished");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(gate.metrics().sum("namegate_canary_ok", &[]), 2.0);
}

#[test]
fn what_is_in_flight_has_the_deadline_of_the_last_reload() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["late.allowed.example 60 A 192.0.2.9"]);
    let wait = Step::Wait(Duration::from_millis(3500));
    upstream.on("late.allowed.example", Script::steps(vec![wait, Step::reply(answer)]));
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"");
    gate.write_settings("upstream.deadline = \"8s\"");
    assert_eq!(gate.reload(), Reload::Success);
    let (udp, mut tcp) = (gate.udp(), gate.tcp());
    udp.send(&Query::new("late.allowed.example", "A").bytes());
    tcp.send(&Query::new("late.allowed.example", "A").bytes());
    upstream.wait_for("late.allowed.example", 1);
    scope(|scope| {
        let ending = scope.spawn(|| gate.terminate());
        assert_eq!(Message::expect(&udp.receive()).answer_data(), ["192.0.2.9"]);
        assert_eq!(Message::expect(&tcp.receive()).answer_data(), ["192.0.2.9"]);
        assert!(ending.join().expect("namegate exits").success());
    });
}

#[test]
fn a_reload_is_held_to_the_addresses_in_force() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // The settings name another address, which takes effect at the next start.
    let itself = gate.address();
    gate.write_settings(&format!("server.listen = [\"127.0.0.1:1\"]\nupstream.servers = [\"{itself}\"]"));
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("is this resolver itself");
    assert_eq!(gate.ask("x.allowed.example", "A").rcode(), "NOERROR");
}

#[test]
fn other_clients_cannot_use_all_connections() {
    let upstream = ScriptedUpstream::start();
    let settings = "server.allow_clients = [\"127.0.0.1\"]\nserver.tcp_connections = 16\n\
                    server.tcp_connections_per_client = 8";
    let gate = Gate::start(&upstream, settings);
    let from = |last: u8| TcpClient::connect_from(IpAddr::from([127, 0, 0, last]), gate.address());
    let mut strangers: Vec<TcpClient> = (0..16).map(|number| from(2 + number % 4)).collect();
    let query = Query::new("x.allowed.example", "A");
    let framed = crate::support::client::framed(&query.bytes());
    let served: Vec<bool> = strangers
        .iter_mut()
        .map(|stranger| {
            drop(stranger.send_raw(&framed));
            matches!(stranger.event(), TcpEvent::Message(reply) if Message::expect(&reply).rcode() == "REFUSED")
        })
        .collect();
    assert_eq!(served.iter().filter(|served| **served).count(), 2, "an eighth of all slots");
    let mut known: Vec<TcpClient> = (0..8).map(|_| from(1)).collect();
    known.iter_mut().for_each(|client| assert_eq!(client.ask(&query).rcode(), "NOERROR"));
    let refused = [("reason", "not_allowed")];
    assert_eq!(gate.metrics().sum("namegate_tcp_connections_refused_total", &refused), 14.0);
}

#[test]
fn a_hangup_at_any_moment_ends_nothing() {
    let upstream = ScriptedUpstream::start();
    // As soon as SIGHUP is caught: it is the lowest bit of the mask.
    let caught = "grep -Eq '^SigCgt:.*[13579bdf]$' /proc/$$/status";
    let script = format!(
        "(until {caught}; do :; done; for i in $(seq 50); do kill -HUP $$; sleep 0.02; done) & exec \"$@\""
    );
    let list: String = (0..1_000_000).map(|number| format!("n{number}.many.example\n")).collect();
    let settings = "policy.zones = [\"many.list\"]";
    let files = [("many.list", &*list)];
    let gate = Gate::launched_by(&["sh", "-c", &script, "sh"], &[upstream.address()], settings, &files);
    assert_eq!(gate.ask("n7.many.example", "A").rcode(), "NOERROR");
    eventually("a reload", || gate.stderr.all().iter().any(|line| line.contains("reloaded: ")).then_some(()));
}

#[test]
fn in_observe_mode_any_is_told_like_every_other_type() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.mode = \"observe\"");
    assert_eq!(gate.ask("evil.example", "ANY").rcode(), "NOERROR");
    assert_eq!(gate.ask("x.allowed.example", "ANY").rcode(), "NOERROR");
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_blocked_total", &[("reason", "not_listed")]), 1.0);
    let decided = |decision| metrics.sum("namegate_responses_total", &[("decision", decision)]);
    assert_eq!((decided("observed"), decided("allowed")), (1.0, 1.0));
    assert!(upstream.queries().is_empty());
}

#[test]
fn an_alias_is_no_way_round_what_a_rule_expects() {
    let upstream = ScriptedUpstream::start();
    let answer = |name: &str, records: &[&str]| {
        let records: Vec<String> = records.iter().map(|record| format!("{name} {record}")).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        upstream.on(name, Script::reply(Response::answering(&records)));
    };
    // A chain whose middle TTL is shorter than followed names stay allowed; an alias to itself; and a circle.
    for (name, records) in [
        ("a.example", ["1 CNAME one.test", "1 CNAME self.test", "1 CNAME left.test"].as_slice()),
        ("one.test", &["3600 CNAME two.test"]),
        ("two.test", &["60 A 10.0.0.5"]),
        ("self.test", &["3600 CNAME self.test", "0 A 10.0.0.5"]),
        ("left.test", &["3600 CNAME right.test"]),
        ("right.test", &["7200 CNAME left.test", "0 A 10.0.0.5"]),
    ] {
        answer(name, records);
    }
    let zone = "cname = \"follow\"\n[[allow]]\nhost = \"a.example\"\nexpect = \"public\"\n";
    let settings = "policy.zones = [\"{dir}/zone.toml\"]\npolicy.enforce_expect = true";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("zone.toml", zone)]);
    for (name, rcode) in [
        ("a.example", "NOERROR"),
        ("one.test", "NOERROR"),
        ("left.test", "NOERROR"),
        ("two.test", "SERVFAIL"),
        ("self.test", "SERVFAIL"),
        ("right.test", "SERVFAIL"),
        ("self.test", "SERVFAIL"),
        ("two.test", "SERVFAIL"),
    ] {
        assert_eq!(gate.ask(name, "A").rcode(), rcode, "{name}");
    }
    let counted = [("expect", "public")];
    assert_eq!(gate.settled_metrics().sum("namegate_unexpected_answers_total", &counted), 5.0);
    // Longer than the first answers are remembered: their targets are held to the same expectation, or to none.
    sleep(Duration::from_secs(11));
    for name in ["two.test", "self.test", "right.test"] {
        let rcode = gate.ask(name, "A").rcode();
        assert!(rcode == "SERVFAIL" || rcode == "NXDOMAIN", "{name}: {rcode}");
    }
}

#[test]
fn wrong_host_headers_are_refused() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    for (case, head, status) in [
        ("an address", "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1", "200"),
        ("none, HTTP/1.0", "GET /metrics HTTP/1.0", "200"),
        ("none", "GET /metrics HTTP/1.1", "403"),
        ("a second one", "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example", "403"),
        ("not ASCII", "GET /metrics HTTP/1.1\r\nHost: evil.exampl\u{e9}", "403"),
        ("absolute form", "GET http://evil.example/metrics HTTP/1.1\r\nHost: 127.0.0.1", "403"),
    ] {
        let mut stream = TcpStream::connect(gate.admin()).expect("the kernel accepts");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).expect("a request");
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        let reply = String::from_utf8_lossy(&reply);
        assert_eq!(reply.split(' ').nth(1), Some(status), "{case}: {reply:.100}");
    }
}
