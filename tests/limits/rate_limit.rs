//! Tests the per-client rate limit of UDP replies: above it, some are truncated and the rest dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::code::TC;
use crate::support::{Edns, Gate, Message, Query, ScriptedUpstream, UdpClient};

/// Option code of cookies.
const COOKIE: u16 = 10;

/// Sends `count` queries at once and counts the replies by rcode, with `TC` for truncated ones.
fn flood(client: &UdpClient, query: &Query, count: usize) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    (0..count).for_each(|_| client.send(&query.bytes()));
    while let Some(reply) = client.receive_within(Duration::from_millis(300)) {
        let reply = Message::expect(&reply);
        let kind = if reply.has(TC) { "TC".to_owned() } else { reply.rcode() };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

fn query(name: &str) -> Query {
    Query::new(name, "A").edns()
}

fn with_cookie(name: &str, server: &[u8]) -> Query {
    let mut query = query(name);
    let data = [&[9; 8][..], server].concat();
    query.edns = query.edns.map(|edns| Edns { options: vec![(COOKIE, data)], ..edns });
    query
}

fn counted(gate: &Gate, action: &str) -> f64 {
    gate.settled_metrics().sum("namegate_rate_limited_total", &[("action", action)])
}

#[test]
fn beyond_the_rate_each_second_reply_is_truncated() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "rate_limit.responses_per_second = 20");
    let client = gate.udp();
    let kinds = flood(&client, &query("evil.example"), 121);
    let (whole, cut) = (kinds["NXDOMAIN"], kinds["TC"]);
    assert!((21..=30).contains(&whole), "one second's worth, plus what became due since: {kinds:?}");
    assert!(cut == (121 - whole) / 2 || cut == (122 - whole) / 2, "{kinds:?}");
    assert_eq!(counted(&gate, "truncated"), cut as f64);
    assert_eq!(counted(&gate, "dropped"), (121 - whole - cut) as f64);
    let dropped = gate.metrics().sum("namegate_dropped_total", &[("reason", "rate_limit")]);
    assert_eq!(dropped, (121 - whole - cut) as f64);
    let mut tcp = gate.tcp();
    (0..50).for_each(|_| assert_eq!(tcp.ask(&query("evil.example")).rcode(), "NXDOMAIN"));
}

#[test]
fn another_client_is_not_limited_with_it() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "rate_limit = { responses_per_second = 10, slip = 0 }");
    let kinds = flood(&gate.udp_from([127, 0, 0, 7]), &query("evil.example"), 100);
    assert!(!kinds.contains_key("TC") && kinds["NXDOMAIN"] < 30, "{kinds:?}");
    assert_eq!(gate.udp_from([127, 0, 0, 8]).ask(&query("evil.example")).rcode(), "NXDOMAIN");
}

#[test]
fn malformed_and_refused_queries_count_as_well() {
    let upstream = ScriptedUpstream::start();
    let settings =
        "server.allow_clients = [\"127.0.0.1\"]\nrate_limit = { responses_per_second = 10, slip = 0 }";
    let gate = Gate::start(&upstream, settings);
    let kinds = flood(&gate.udp_from([127, 0, 0, 9]), &query("evil.example"), 100);
    assert!(kinds["REFUSED"] < 30, "{kinds:?}");
    let mut malformed = query("evil.example");
    malformed.counts = Some([2, 0, 0, 1]);
    let kinds = flood(&gate.udp(), &malformed, 100);
    assert!(kinds["FORMERR"] < 30, "{kinds:?}");
}

#[test]
fn valid_cookie_is_not_rate_limited() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "rate_limit = { responses_per_second = 10, slip = 1 }");
    let client = gate.udp();
    let kinds = flood(&client, &with_cookie("evil.example", &[]), 100);
    assert!(kinds["NXDOMAIN"] < 30 && kinds["NXDOMAIN"] + kinds["RCODE23"] == 100, "{kinds:?}");
    // Every reply carries the cookie, truncated or not.
    let reply = client.ask(&with_cookie("evil.example", &[]));
    let options = reply.edns.expect("an OPT record").options;
    let server = &options.iter().find(|(code, _)| *code == COOKIE).expect("a cookie").1[8..];
    let kinds = flood(&client, &with_cookie("evil.example", server), 100);
    assert_eq!(kinds, BTreeMap::from([("NXDOMAIN".to_owned(), 100)]));
    // Another client's cookie is worth nothing.
    let kinds = flood(&gate.udp_from([127, 0, 0, 9]), &with_cookie("evil.example", server), 100);
    assert!(kinds["NXDOMAIN"] < 30, "{kinds:?}");
    assert!(counted(&gate, "badcookie") > 100.0);
}

#[test]
fn exempt_clients_and_gates_without_a_limit_answer_all() {
    let upstream = ScriptedUpstream::start();
    let exempt = "rate_limit = { responses_per_second = 10, exempt = [\"127.0.0.0/24\"] }";
    for settings in [exempt, ""] {
        let gate = Gate::start(&upstream, settings);
        assert_eq!(flood(&gate.udp(), &query("evil.example"), 200)["NXDOMAIN"], 200, "{settings}");
    }
}

#[test]
fn a_reload_keeps_the_count_where_the_limit_stays() {
    let upstream = ScriptedUpstream::start();
    let limit = "rate_limit = { responses_per_second = 1, slip = 0 }";
    let gate = Gate::start(&upstream, limit);
    let client = gate.udp();
    assert_eq!(flood(&client, &query("evil.example"), 10)["NXDOMAIN"], 2);
    gate.write_settings(&format!("{limit}\npolicy.allow = [\"evil.example\"]"));
    gate.reload();
    assert!(flood(&client, &query("evil.example"), 10).values().sum::<usize>() <= 1);
    gate.write_settings("");
    gate.reload();
    assert_eq!(flood(&client, &query("evil.example"), 10)["NXDOMAIN"], 10);
}
