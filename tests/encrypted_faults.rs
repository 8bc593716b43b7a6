//! Upstreams over TLS, HTTPS and QUIC that fail, or answer nonsense.

use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::authority::{Authority, Identity};
use crate::support::code::TC;
use crate::support::encrypted::{Act, Carrier, EncryptedUpstream};
use crate::support::metrics::Metrics;
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

/// Longest time for a query.
const DEADLINE: Duration = Duration::from_millis(2500);
/// What a busy machine may add to any time.
const SLACK: Duration = Duration::from_secs(4);

/// Response code and Extended DNS Errors.
type Told = (&'static str, &'static [u16]);

/// A fault of a server, and the name that meets it.
struct Fault {
    name: String,
    server: EncryptedUpstream,
    /// Asked next, where there is a second server.
    sound: Option<EncryptedUpstream>,
    /// What the client gets where there is none.
    alone: Told,
    /// How the exchange is counted.
    counted: &'static str,
}

/// Each fault over each carrier, met alone and beside a sound server.
fn faults(identity: &Identity) -> Vec<Fault> {
    let good = || Response::answering(&[]);
    let failing = |rcode| Act::Answer(Response::failing(rcode));
    let (timeout, unusable): (Told, Told) = (("SERVFAIL", &[22]), ("SERVFAIL", &[22]));
    let network: Told = ("SERVFAIL", &[23]);
    let acts: [(&str, Act, Told, &str); 8] = [
        ("slow", Act::Late(Duration::from_millis(300), good()), ("NOERROR", &[]), "answered"),
        ("silent", Act::Silence, timeout, "timeout"),
        ("servfail", failing("SERVFAIL"), ("SERVFAIL", &[]), "failed"),
        ("refused", failing("REFUSED"), ("SERVFAIL", &[22]), "failed"),
        ("other-question", Act::OtherQuestion(good()), unusable, "unusable"),
        ("truncated", Act::Answer(good().flags(TC)), unusable, "unusable"),
        ("closes", Act::Close, network, "network_error"),
        ("half", Act::Half(good()), network, "network_error"),
    ];
    let mut faults = Vec::new();
    for carrier in Carrier::ALL {
        for (fault, act, alone, counted) in &acts {
            for beside in [false, true] {
                let name = format!("{fault}-{carrier:?}-{beside}.allowed.example").to_lowercase();
                let server = EncryptedUpstream::start(carrier, identity);
                server.on(&name, [act.clone()]);
                let sound = beside.then(|| EncryptedUpstream::start(carrier, identity));
                faults.push(Fault { name, server, sound, alone: *alone, counted });
            }
        }
    }
    faults
}

impl Fault {
    fn address(&self) -> String {
        self.server.address("dns.example")
    }

    fn servers(&self) -> usize {
        1 + usize::from(self.sound.is_some())
    }

    fn route(&self) -> String {
        let servers = [Some(&self.server), self.sound.as_ref()];
        let servers: Vec<_> =
            servers.into_iter().flatten().map(|server| server.address("dns.example")).collect();
        format!("[[route]]\nnames = [\"{}\"]\nservers = {servers:?}\n", self.name)
    }

    fn counted(&self, metrics: &Metrics, result: &str) -> f64 {
        metrics.sum("namegate_upstream_queries_total", &[("upstream", &*self.address()), ("result", result)])
    }

    fn check(&self, gate: &Gate, before: &Metrics) {
        let (case, start) = (&self.name, Instant::now());
        let reply = gate.ask(case, "A");
        let took = start.elapsed();
        let got = (reply.rcode(), reply.ede_codes());
        if let Some(sound) = self.sound.as_ref().filter(|_| self.counted != "answered") {
            assert_eq!(got, ("NOERROR".to_owned(), vec![]), "{case}");
            assert!(took < Duration::from_secs(1) + SLACK, "{case}: {took:?}");
            assert_eq!(sound.queries().len(), 1, "{case}");
        } else {
            assert_eq!((got.0.as_str(), &*got.1), self.alone, "{case}");
            assert!(took < DEADLINE + SLACK, "{case}: {took:?}");
        }
        let asked = self.server.queries().len();
        assert!((1..=3).contains(&asked), "{case}: asked {asked} times");
        gate.expect_metrics(&format!("{case} to be counted as {}", self.counted), |after| {
            let rise = |result| self.counted(after, result) - self.counted(before, result);
            rise(self.counted) >= 1.0 || self.sound.is_some() && rise("overtaken") >= 1.0
        });
    }
}

#[test]
fn each_fault_has_its_reply_its_count_and_its_bound() {
    let authority = Authority::new();
    let identity = authority.issue(&["dns.example"]);
    let (faults, usual) = (faults(&identity), EncryptedUpstream::start(Carrier::Tls, &identity));
    let routes: String = faults.iter().map(Fault::route).collect();
    let settings = format!(
        "[upstream]\nservers = [\"{}\"]\nroots = \"ca.pem\"\ndeadline = \"{}ms\"\n{routes}",
        usual.address("dns.example"),
        DEADLINE.as_millis()
    );
    let gate = Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())]);
    let before = gate.expect_metrics("the first probes to end", |metrics| {
        let total = |name: &str| metrics.sum(name, &[("result", "answered")]);
        total("namegate_upstream_queries_total")
            >= (faults.iter().map(Fault::servers).sum::<usize>() + 1) as f64
    });
    for some in faults.chunks(8) {
        scope(|scope| some.iter().for_each(|fault| drop(scope.spawn(|| fault.check(&gate, &before)))));
    }
    assert!(usual.queries().is_empty(), "no server is asked that a route does not name");
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
}
