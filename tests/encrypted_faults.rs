//! Upstreams over TLS, HTTPS and QUIC that answer nonsense.

use crate::support::authority::Authority;
use crate::support::encrypted::{Act, Carrier, EncryptedUpstream};
use crate::support::script::changed;
use crate::support::{Gate, Message, Query, Response};

const NAME: &str = "ws.allowed.example";

fn start(carrier: Carrier, settings: &str) -> (EncryptedUpstream, Gate) {
    let authority = Authority::new();
    let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["dns.example"]));
    let address = upstream.address("dns.example");
    let settings = format!("[upstream]\nservers = [\"{address}\"]\nroots = \"ca.pem\"\n{settings}");
    let gate = Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())]);
    (upstream, gate)
}

/// The bytes of a good answer with id 0, after `change`.
fn answer(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Vec<u8> {
    let query = Query { id: 0, ..Query::new(NAME, "A").edns() };
    let query = Message::expect(&query.bytes());
    changed(Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]), change)(&query)
}

#[test]
fn nonsense_is_no_answer_and_costs_no_connection() {
    const DNS: &str = "application/dns-message";
    let cases: [(&str, Carrier, Act, &str); 11] = [
        ("an HTTP error", Carrier::Https, Act::Http(500, DNS, b"no".to_vec()), "500 Internal Server Error"),
        (
            "an answer under an HTTP error",
            Carrier::Https,
            Act::Http(404, DNS, answer(|_| ())),
            "404 Not Found",
        ),
        ("a redirect", Carrier::Https, Act::Http(302, DNS, answer(|_| ())), "302 Found"),
        ("a web page", Carrier::Https, Act::Http(200, "text/html", b"<h1>Welcome".to_vec()), "'text/html'"),
        (
            "control characters",
            Carrier::Https,
            Act::Http(500, DNS, b"\x1b[31mred\n".to_vec()),
            "message: \u{fffd}[31mred\u{fffd}",
        ),
        ("garbage over HTTPS", Carrier::Https, Act::Bytes(vec![0xff; 40]), "protocol error"),
        ("nothing over HTTPS", Carrier::Https, Act::Bytes(Vec::new()), "protocol error"),
        ("another id over HTTPS", Carrier::Https, Act::Bytes(answer(|bytes| bytes[1] = 7)), ""),
        ("another question over HTTPS", Carrier::Https, Act::Bytes(answer(|bytes| bytes[13] ^= 1)), ""),
        ("garbage over QUIC", Carrier::Quic, Act::Bytes(vec![0xff; 40]), "protocol error"),
        (
            "another id over QUIC",
            Carrier::Quic,
            Act::Bytes(answer(|bytes| bytes[1] = 7)),
            "should always be 0, got: 7",
        ),
    ];
    for (case, carrier, act, told) in cases {
        let (upstream, gate) = start(carrier, "");
        assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR", "{case}");
        upstream.on(NAME, [act]);
        let reply = gate.ask(NAME, "A");
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]), "{case}");
        assert_eq!(gate.ask("b.allowed.example", "A").rcode(), "NOERROR", "{case}");
        assert_eq!(upstream.connections().len(), 1, "{case}");
        let metrics = gate.settled_metrics();
        let unusable = metrics.sum("namegate_upstream_queries_total", &[("result", "unusable")]);
        assert_eq!(unusable, 1.0, "{case}");
        match told {
            "" => assert_eq!(metrics.sum("namegate_upstream_replies_rejected_total", &[]), 1.0, "{case}"),
            told => assert!(gate.stderr.expect(told).contains("upstream "), "{case}"),
        }
    }
}

#[test]
fn a_body_larger_than_a_message_is_not_read_to_its_end() {
    let (upstream, gate) = start(Carrier::Https, "deadline = \"1s\"");
    upstream.on(NAME, [Act::Bytes(vec![0; 10_000_000])]);
    assert_eq!(gate.ask(NAME, "A").rcode(), "SERVFAIL");
    assert_eq!(gate.ask("b.allowed.example", "A").rcode(), "NOERROR");
}

#[test]
fn a_reply_over_tls_that_cannot_be_read_is_none() {
    let (upstream, gate) = start(Carrier::Tls, "deadline = \"1s\"");
    assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR");
    upstream.on(NAME, [Act::Bytes(vec![0xff; 40])]);
    let reply = gate.ask(NAME, "A");
    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    assert_eq!(gate.ask("b.allowed.example", "A").rcode(), "NOERROR");
}

#[test]
fn an_answer_to_another_question_over_tls_is_rejected() {
    let (upstream, gate) = start(Carrier::Tls, "");
    let other = Response::answering(&["other.allowed.example 60 A 192.0.2.9"]);
    upstream.on(NAME, [Act::OtherQuestion(other)]);
    let reply = gate.ask(NAME, "A");
    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    let rejected = [("reason", "question")];
    assert_eq!(gate.settled_metrics().sum("namegate_upstream_replies_rejected_total", &rejected), 1.0);
    assert_eq!(upstream.queries().len(), 1);
}

#[test]
fn a_server_that_only_closes_is_not_connected_to_for_every_query() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        for number in 0..30 {
            let name = format!("n{number}.allowed.example");
            upstream.on(&name, [Act::Close]);
            assert_eq!(gate.ask(&name, "A").rcode(), "SERVFAIL", "{carrier:?}");
        }
        // The health probe at the start had an answer, and so may those that came since.
        let connections = upstream.connections().len();
        assert!(connections <= 12, "{carrier:?}: {connections} connections for 30 queries");
    }
}
