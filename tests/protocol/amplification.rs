//! Tests amplification: the limit on reply size relative to the query, since the source address may be forged.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::script::Step;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, UdpClient};

/// Bytes by which an error reply may exceed its query: an SOA record for negative caching (RFC 2308 section 3), an OPT
/// record and the reason (RFC 8914).
const MOST_MORE: usize = 130;

/// Limit on reply size as a multiple of a usual query with EDNS.
const MOST_TIMES: f64 = 3.0;

/// Usual queries: an OPT record, and names of at least 25 bytes.
const USUAL: [&str; 3] = [
    "telemetry.vendor.example.com",
    "h0001.telemetry.example.net",
    "some-long-host-name.region.cloud.example",
];

/// Sends a query over UDP; returns its length and that of its reply.
fn lengths(gate: &Gate, source: [u8; 4], query: &Query) -> (usize, usize) {
    let (client, bytes) = (gate.udp_from(source), query.bytes());
    client.send(&bytes);
    (bytes.len(), client.receive().len())
}

#[test]
fn a_denial_is_at_most_three_times_its_query() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for name in USUAL {
        for qtype in ["A", "ANY", "TXT", "DNSKEY"] {
            let (sent, received) = lengths(&gate, [127, 0, 0, 1], &Query::new(name, qtype).edns());
            assert!(received as f64 <= sent as f64 * MOST_TIMES, "{name} {qtype}: {sent} → {received} bytes");
        }
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn error_replies_are_barely_longer_than_queries() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.allow_clients = [\"127.0.0.1\"]");
    let mut broken = Query::new("ws.allowed.example", "A").edns();
    broken.counts = Some([2, 0, 0, 1]);
    let mut notify = Query::new("ws.allowed.example", "A").edns();
    notify.opcode = 4;
    let cases = [
        ("the root, ANY", [127, 0, 0, 1], Query::new(".", "ANY"), MOST_MORE),
        ("a short name", [127, 0, 0, 1], Query::new("a.example", "TXT").edns(), MOST_MORE),
        ("a stranger", [127, 0, 0, 2], Query::new("ws.allowed.example", "ANY").edns(), 64),
        ("two questions", [127, 0, 0, 1], broken, 64),
        ("another opcode", [127, 0, 0, 1], notify, 64),
    ];
    for (case, source, query, most) in cases {
        let (sent, received) = lengths(&gate, source, &query);
        assert!(received <= sent + most, "{case}: {sent} → {received} bytes");
    }
    assert!(upstream.queries().is_empty());
}

/// What a client receives until nothing comes for as long as its upstream holds answers back: number of complete
/// replies, and all bytes.
fn pulse(client: &UdpClient, names: impl Iterator<Item = String>) -> (usize, usize) {
    for name in names {
        client.send(&Query::new(&name, "A").edns().bytes());
    }
    let (mut whole, mut bytes) = (0, 0);
    while let Some(reply) = client.receive_within(HELD_BACK + Duration::from_secs(2)) {
        whole += usize::from(!Message::expect(&reply).answers.is_empty());
        bytes += reply.len();
    }
    (whole, bytes)
}

/// How long the upstream holds answers back before it sends them.
const HELD_BACK: Duration = Duration::from_secs(2);

/// Large answers collected for a forged address and sent at once (DNSBomb, CVE-2024-33655) are limited to the pending
/// queries of one client, whether the names differ or not.
#[test]
fn answers_released_at_once_are_limited_per_client() {
    let upstream = ScriptedUpstream::start();
    upstream.by_choice(|query| {
        let records: Vec<String> =
            (1..=60).map(|last| format!("{} 0 A 192.0.2.{last}", query.name())).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        Script::steps(vec![Step::Wait(HELD_BACK), Step::reply(Response::answering(&records))])
    });
    let settings = "server.in_flight_per_client = 30\nupstream = { deadline = \"8s\", max_qps = 0 }";
    let gate = Gate::start(&upstream, settings);
    let victim = gate.udp_from([127, 0, 0, 9]);
    let (whole, bytes) = pulse(&victim, (0..400).map(|number| format!("n{number}.allowed.example")));
    assert_eq!(whole, 30);
    assert!((30 * 960..=30 * 1232).contains(&bytes), "{bytes} bytes");
    // After such a long silence it was queried again.
    let asked: BTreeSet<String> = upstream.asked().into_iter().collect();
    assert_eq!(asked.len(), 30);
    let (whole, _) = pulse(&victim, std::iter::repeat_n("one.allowed.example".to_owned(), 400));
    assert_eq!(whole, 30);
    assert!(upstream.count("one.allowed.example") <= 3);
}

/// With a rate limit, a pulse stays within the rate.
#[test]
fn answers_released_at_once_respect_the_rate_limit() {
    let upstream = ScriptedUpstream::start();
    upstream.by_choice(|query| {
        let answer = Response::answering(&[&format!("{} 0 A 192.0.2.1", query.name())]);
        Script::steps(vec![Step::Wait(HELD_BACK), Step::reply(answer)])
    });
    let settings =
        "rate_limit = { responses_per_second = 10, slip = 0 }\nupstream = { deadline = \"8s\", max_qps = 0 }";
    let gate = Gate::start(&upstream, settings);
    let victim = gate.udp_from([127, 0, 0, 9]);
    let (whole, _) = pulse(&victim, (0..200).map(|number| format!("n{number}.allowed.example")));
    assert!((10..=20).contains(&whole), "{whole} replies");
}
