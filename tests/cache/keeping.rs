//! Tests what is cached of upstream answers, for how long, and for which clients.

use std::thread::{scope, sleep};
use std::time::Duration;

use crate::support::code::{AD, CD, RD};
use crate::support::{Gate, Query, Record, Response, Script, ScriptedUpstream};

/// Long enough for every TTL to drop by one, and for some to drop by two.
const ONE_SECOND: Duration = Duration::from_millis(1100);

fn ttls(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.ttl).collect()
}

#[test]
fn cache_entry_ttl_decreases() {
    let upstream = ScriptedUpstream::start();
    let response = Response::answering(&[
        "ws.allowed.example 60 CNAME edge.elsewhere.example",
        "edge.elsewhere.example 1 A 192.0.2.9",
    ])
    .authority(&["elsewhere.example 100 NS ns.elsewhere.example"]);
    upstream.on("short.allowed.example", Script::reply(response.clone()));
    let response = Response { answers: Record::list(&["ws.allowed.example 60 A 192.0.2.9"]), ..response };
    upstream.on("ws.allowed.example", Script::reply(response));
    let gate = Gate::start(&upstream, "");
    let first = gate.ask("ws.allowed.example", "A");
    assert_eq!((ttls(&first.answers), ttls(&first.authorities)), (vec![60], vec![100]));
    gate.ask("short.allowed.example", "A");
    sleep(ONE_SECOND);
    let later = gate.ask("ws.allowed.example", "A");
    assert!(matches!(later.answers[0].ttl, 58 | 59), "{:?}", later.answers);
    assert!(matches!(later.authorities[0].ttl, 98 | 99), "{:?}", later.authorities);
    // The whole answer has the shortest TTL of its records.
    gate.ask("short.allowed.example", "A");
    assert_eq!(
        upstream.asked(),
        ["ws.allowed.example A", "short.allowed.example A", "short.allowed.example A"]
    );
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_cache_hits_total", &[]), 1.0);
    assert_eq!(metrics.sum("namegate_cache_misses_total", &[]), 3.0);
    assert_eq!(metrics.sum("namegate_cache_entries", &[]), 2.0);
}

#[test]
fn a_time_to_live_of_zero_is_not_kept() {
    let upstream = ScriptedUpstream::start();
    upstream
        .on("ws.allowed.example", Script::reply(Response::answering(&["ws.allowed.example 0 A 192.0.2.9"])));
    let gate = Gate::start(&upstream, "");
    for _ in 0..2 {
        assert_eq!(gate.ask("ws.allowed.example", "A").answers[0].ttl, 0);
    }
    assert_eq!(upstream.queries().len(), 2);
}

#[test]
fn a_time_to_live_with_the_top_bit_is_zero() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&["ws.allowed.example 2147483648 A 192.0.2.9"])));
    let gate = Gate::start(&upstream, "");
    assert_eq!(gate.ask("ws.allowed.example", "A").answers[0].ttl, 0, "RFC 2181 section 8");
    gate.ask("ws.allowed.example", "A");
    assert_eq!(upstream.queries().len(), 2);
}

#[test]
fn times_to_live_are_capped() {
    let upstream = ScriptedUpstream::start();
    upstream.on(
        "long.allowed.example",
        Script::reply(Response::answering(&["long.allowed.example 86400 A 192.0.2.9"])),
    );
    let missing = Response::negative("NXDOMAIN", Record::soa("allowed.example", 86_400, 86_400));
    upstream.on("missing.allowed.example", Script::reply(missing));
    let gate = Gate::start(&upstream, "");
    for _ in 0..2 {
        let ttl = gate.ask("long.allowed.example", "A").answers[0].ttl;
        assert!((3599..=3600).contains(&ttl), "positive: {ttl}");
        let ttl = gate.ask("missing.allowed.example", "A").authorities[0].ttl;
        assert!((299..=300).contains(&ttl), "negative: {ttl}");
    }
    assert_eq!(upstream.queries().len(), 2);
    let gate = Gate::start(&upstream, "cache.max_ttl = \"5s\"\ncache.max_negative_ttl = \"3s\"");
    assert_eq!(gate.ask("long.allowed.example", "A").answers[0].ttl, 5);
    assert_eq!(gate.ask("missing.allowed.example", "A").authorities[0].ttl, 3);
}

#[test]
fn a_negative_answer_lives_as_its_soa_says() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let cases = [
        ("minimum.allowed.example", "NXDOMAIN", Record::soa("allowed.example", 300, 1)),
        ("own-ttl.allowed.example", "NXDOMAIN", Record::soa("allowed.example", 1, 300)),
        ("no-data.allowed.example", "NOERROR", Record::soa("allowed.example", 300, 1)),
        ("longer.allowed.example", "NXDOMAIN", Record::soa("allowed.example", 60, 60)),
    ];
    for (name, rcode, soa) in &cases {
        upstream.on(name, Script::reply(Response::negative(rcode, soa.clone())));
    }
    let ask_all = || {
        for (name, rcode, _) in &cases {
            assert_eq!(gate.ask(name, "A").rcode(), *rcode, "{name}");
        }
    };
    ask_all();
    ask_all();
    assert_eq!(upstream.queries().len(), 4, "cached");
    sleep(ONE_SECOND);
    ask_all();
    for (name, count) in [("minimum", 2), ("own-ttl", 2), ("no-data", 2), ("longer", 1)] {
        assert_eq!(upstream.count(&format!("{name}.allowed.example")), count, "{name}");
    }
}

#[test]
fn a_negative_answer_without_soa_is_not_kept() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::failing("NXDOMAIN")));
    let gate = Gate::start(&upstream, "");
    for _ in 0..2 {
        assert_eq!(gate.ask("missing.allowed.example", "A").rcode(), "NXDOMAIN");
    }
    assert_eq!(upstream.queries().len(), 2, "RFC 2308 section 5");
}

#[test]
fn a_failure_is_kept_for_moments() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::failing("SERVFAIL")));
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    assert_eq!(client.ask(&Query::new("ws.allowed.example", "A")).rcode(), "SERVFAIL");
    let asked = upstream.queries().len();
    assert!((1..=3).contains(&asked), "{asked} upstream queries for one query");
    for _ in 0..5 {
        assert_eq!(client.ask(&Query::new("ws.allowed.example", "A")).rcode(), "SERVFAIL");
    }
    assert_eq!(upstream.queries().len(), asked, "RFC 9520 section 3.2: at least one second");
    upstream.by_default(Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])));
    crate::support::eventually("the failure to expire within 5 s", || {
        (client.ask(&Query::new("ws.allowed.example", "A")).rcode() == "NOERROR").then_some(())
    });
}

#[test]
fn questions_that_differ_have_answers_of_their_own() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let queries = || {
        let plain = || Query::new("ws.allowed.example", "A");
        [
            plain(),
            plain().dnssec_ok(),
            plain().flags(RD | CD),
            plain().dnssec_ok().flags(RD | CD),
            Query::new("ws.allowed.example", "AAAA"),
            Query::new("ws.allowed.example", "TXT"),
            Query::new("x.ws.allowed.example", "A"),
        ]
    };
    let count = queries().len();
    for query in queries() {
        gate.send(&query);
    }
    assert_eq!(upstream.queries().len(), count, "each question is queried separately");
    for query in queries() {
        gate.send(&query);
    }
    assert_eq!(upstream.queries().len(), count, "and is then known");
}

#[test]
fn queries_with_same_answer_share_a_cache_entry() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let plain = || Query::new("ws.allowed.example", "A");
    for query in [
        plain(),
        plain().edns(),
        plain().payload(4096),
        plain().flags(RD | AD),
        Query::new("WS.ALLOWED.example", "A"),
    ] {
        assert_eq!(gate.send(&query).answer_data(), ["192.0.2.1"]);
        assert_eq!(gate.tcp().ask(&query).answer_data(), ["192.0.2.1"]);
    }
    assert_eq!(upstream.queries().len(), 1);
}

#[test]
fn without_recursion_desired_the_cache_tells_nothing() {
    let upstream = ScriptedUpstream::start();
    let settings = "server.allow_clients = [\"127.0.0.0/8\"]\n[[client]]\nname = \"others\"\nsubnets = [\"127.9.0.0/16\"]\n";
    let gate = Gate::start(&upstream, settings);
    let peek = Query::new("ws.allowed.example", "A").edns().flags(0);
    let mut told = Vec::new();
    for _ in ["cold", "cached"] {
        for client in [[127, 0, 0, 1], [127, 9, 0, 1]] {
            let reply = gate.udp_from(client).ask(&peek);
            assert_eq!(
                (reply.rcode().as_str(), reply.ede_codes(), reply.has(RD)),
                ("REFUSED", vec![20], false)
            );
            told.push(reply.bytes[2..].to_vec());
            told.push(gate.tcp().ask(&peek).bytes[2..].to_vec());
        }
        gate.ask("ws.allowed.example", "A");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "replies do not reveal whether the answer is cached");
    assert_eq!(upstream.queries().len(), 1);
    let blocked = gate.send(&Query::new("blocked.example", "A").flags(0));
    assert_eq!(blocked.rcode(), "NXDOMAIN", "policy verdicts are given");
}

#[test]
fn the_cache_can_be_off() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "cache.max_bytes = \"0B\"");
    for _ in 0..3 {
        assert_eq!(gate.ask("ws.allowed.example", "A").answers[0].ttl, 300);
    }
    assert_eq!(upstream.queries().len(), 3);
    assert_eq!(gate.settled_metrics().sum("namegate_cache_entries", &[]), 0.0);
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "cache.max_bytes = \"64KiB\"\nupstream.max_qps = 0");
    scope(|scope| {
        for client in 0..4 {
            let gate = &gate;
            scope.spawn(move || {
                let socket = gate.udp();
                for number in 0..250 {
                    socket.ask(&Query::new(&format!("n{number}.c{client}.allowed.example"), "A"));
                }
            });
        }
    });
    let metrics = gate.settled_metrics();
    let bytes = metrics.sum("namegate_cache_bytes", &[]);
    assert!(bytes > 0.0 && bytes <= 65_536.0, "{bytes} bytes");
    assert!(metrics.sum("namegate_cache_evictions_total", &[]) > 0.0);
    assert_eq!(upstream.queries().len(), 1000);
}

#[test]
fn blocked_names_take_no_room() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    for number in 0..200 {
        client.ask(&Query::new(&format!("n{number}.evil.example"), "A"));
    }
    let metrics = gate.settled_metrics();
    let counted = ["namegate_cache_entries", "namegate_cache_hits_total", "namegate_cache_misses_total"];
    assert_eq!(counted.map(|name| metrics.sum(name, &[])), [0.0; 3]);
    assert!(upstream.queries().is_empty());
}
