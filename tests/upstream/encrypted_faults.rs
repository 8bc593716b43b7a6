//! Tests faults of upstreams over TLS, HTTPS and QUIC: failures and malformed answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::authority::{Authority, Identity};
use crate::support::code::TC;
use crate::support::encrypted::{Act, Carrier, EncryptedUpstream};
use crate::support::metrics::Metrics;
use crate::support::script::changed;
use crate::support::{Gate, Message, Query, Response, beside};

const NAME: &str = "ws.allowed.example";

fn start(carrier: Carrier, settings: &str) -> (EncryptedUpstream, Gate) {
    let authority = Authority::new();
    let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["dns.example"]));
    let address = upstream.address("dns.example");
    let settings = format!("[upstream]\nservers = [\"{address}\"]\nroots = \"ca.pem\"\n{settings}");
    let gate = Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())]);
    (upstream, gate)
}

/// The bytes of a valid answer with id 0, after `change`.
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
            "500 Internal Server Error",
        ),
        ("garbage over HTTPS", Carrier::Https, Act::Bytes(vec![0xff; 40]), ""),
        ("nothing over HTTPS", Carrier::Https, Act::Bytes(Vec::new()), ""),
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
        assert_eq!(upstream.ended(), 0, "{case}");
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
fn a_server_that_only_closes_is_not_connected_to_each_time() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        for number in 0..30 {
            let name = format!("n{number}.allowed.example");
            upstream.on(&name, [Act::Close]);
            assert_eq!(gate.ask(&name, "A").rcode(), "SERVFAIL", "{carrier:?}");
        }
        // The health probe at the start was answered, and later ones may have been too.
        let connections = upstream.connections();
        assert!(connections <= 12, "{carrier:?}: {connections} connections for 30 queries");
    }
}

/// Longest time for a query.
const DEADLINE: Duration = Duration::from_millis(2500);
/// Extra time allowed for a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// Response code and Extended DNS Errors.
type Told = (&'static str, &'static [u16]);

/// A server's fault, and the name that triggers it.
struct Fault {
    name: String,
    server: EncryptedUpstream,
    /// The second server, if there is one.
    sound: Option<EncryptedUpstream>,
    /// The client's reply if there is no second server.
    alone: Told,
    /// The result counted for the exchange.
    counted: &'static str,
}

/// Each fault over each carrier, alone and with a sound second server.
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
        assert!((1..=3).contains(&asked), "{case}: queried {asked} times");
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
    assert!(usual.queries().is_empty(), "only servers of the route are queried");
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
}

/// A server resets the streams for one name, which is queried 20 times per second along with other names.
#[test]
#[allow(clippy::needless_collect, reason = "all queries are sent before the first reply is awaited")]
fn a_reset_stream_costs_no_other_stream() {
    for carrier in [Carrier::Https, Carrier::Quic] {
        let (upstream, gate) = start(carrier, "");
        assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR", "{carrier:?}");
        upstream.on(NAME, [Act::Reset]);
        let others: Vec<String> = (0..16).map(|number| format!("n{number}.allowed.example")).collect();
        for name in &others {
            let answer = Response::answering(&[&format!("{name} 60 A 192.0.2.9")]);
            upstream.on(name, [Act::Late(Duration::from_millis(400), answer)]);
        }
        let is_over = &AtomicBool::new(false);
        let answered = scope(|scope| {
            let gate = &gate;
            let resets = scope.spawn(move || {
                let client = gate.udp();
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let reply = client.ask(&Query::new(NAME, "A").edns());
                    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
                    count += 1;
                    sleep(Duration::from_millis(50));
                }
                count
            });
            let asked: Vec<_> = others
                .iter()
                .enumerate()
                .map(|(number, name)| {
                    sleep(Duration::from_millis(40 * u64::from(number > 0)));
                    scope.spawn(move || gate.ask(name, "A").rcode() == "NOERROR")
                })
                .collect();
            let answered =
                asked.into_iter().filter_map(|asked| asked.join().ok()).filter(|good| *good).count();
            is_over.store(true, Ordering::Relaxed);
            let resets: u32 = resets.join().expect("the other client ends");
            assert!(resets >= 5, "{carrier:?}: {resets} resets");
            answered
        });
        let connections = upstream.connections();
        eprintln!("{carrier:?}: {answered} of 16 answered beside resets, {connections} connections");
        assert_eq!(answered, 16, "{carrier:?}");
        let metrics = gate.settled_metrics();
        assert_eq!(metrics.sum("namegate_upstream_up", &[]), 1.0, "{carrier:?}");
        assert_eq!(
            metrics.sum("namegate_upstream_queries_total", &[("result", "network_error")]),
            0.0,
            "{carrier:?}"
        );
    }
}

/// A server processes one query per connection at a time, as dnsdist does by default; once per second a name takes it
/// 1.5 s.
#[test]
#[allow(clippy::needless_collect, reason = "all queries are sent before the first reply is awaited")]
fn slow_names_do_not_hold_up_the_rest() {
    beside([Carrier::Tls, Carrier::Https], |carrier| {
        let (upstream, gate) = start(carrier, "");
        if carrier == Carrier::Tls {
            upstream.work_in_turn();
        }
        let (gate, is_over) = (&gate, &AtomicBool::new(false));
        for number in 0..12 {
            let name = format!("slow{number}.allowed.example");
            let answer = Response::answering(&[&format!("{name} 60 A 192.0.2.9")]);
            upstream.on(&name, [Act::Late(Duration::from_millis(1500), answer)]);
        }
        let mut took = scope(|scope| {
            scope.spawn(move || {
                let client = gate.udp();
                for number in 0..12 {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    client.send(&Query::new(&format!("slow{number}.allowed.example"), "A").bytes());
                    sleep(Duration::from_secs(1));
                }
            });
            let asked: Vec<_> = (0..160)
                .map(|number| {
                    sleep(Duration::from_millis(50));
                    scope.spawn(move || {
                        let asked = Instant::now();
                        let reply = gate.ask(&format!("n{number}.allowed.example"), "A");
                        assert_eq!(reply.rcode(), "NOERROR", "{number}");
                        asked.elapsed()
                    })
                })
                .collect();
            let took: Vec<Duration> =
                asked.into_iter().map(|asked| asked.join().expect("a query is answered")).collect();
            for (number, took) in took.iter().enumerate().filter(|(_, took)| took.as_millis() > 300) {
                eprintln!("n{number} took {took:?}");
            }
            is_over.store(true, Ordering::Relaxed);
            took
        });
        took.sort();
        let connections = upstream.connections();
        eprintln!("{carrier:?}: p50 {:?}, p99 {:?}, {connections} connections", took[80], took[158]);
        assert!(took[80] < Duration::from_millis(100), "{carrier:?}: p50 {:?}", took[80]);
        assert!(took[152] < Duration::from_millis(400), "{carrier:?}: p95 {:?}", took[152]);
        assert!(connections <= 40, "{carrier:?}: {connections} connections");
    });
}

/// HTTP errors are the server's fault: it is skipped and not up, and the next server is queried.
#[test]
fn a_server_that_answers_only_errors_of_http_is_left_alone() {
    let authority = Authority::new();
    let identity = authority.issue(&["dns.example"]);
    for (status, header, value, most) in
        [(429, "retry-after", "30", 3), (503, "retry-after", "30", 3), (500, "x-any", "1", 12)]
    {
        let bad = EncryptedUpstream::start(Carrier::Https, &identity);
        let good = EncryptedUpstream::start(Carrier::Https, &identity);
        bad.answer_all(Act::Status(status, header, value));
        let servers = [bad.address("dns.example"), good.address("dns.example")];
        let settings = format!("[upstream]\nservers = {servers:?}\nroots = \"ca.pem\"");
        let gate = Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())]);
        for number in 0..40 {
            let reply = gate.ask(&format!("n{number}.allowed.example"), "A");
            assert_eq!(reply.rcode(), "NOERROR", "{status}: {number}");
        }
        let up = |server: &str| gate.metrics().sum("namegate_upstream_up", &[("upstream", server)]);
        assert_eq!((up(&servers[0]), up(&servers[1])), (0.0, 1.0), "{status}");
        let asked = bad.authorities().len();
        eprintln!("{status}: asked {asked} times for 40 queries");
        assert!(asked <= most, "{status}: {asked} requests");
        gate.stderr.expect(&format!("the server answers {status}"));
    }
}

#[test]
#[allow(clippy::needless_collect, reason = "all queries are sent before the first reply is awaited")]
fn a_server_of_one_query_a_connection_answers_all() {
    let (upstream, gate) = start(Carrier::Tls, "");
    let names: Vec<String> = (0..200).map(|number| format!("n{number}.allowed.example")).collect();
    for name in &names {
        upstream.on(name, [Act::Last(Response::answering(&[&format!("{name} 60 A 192.0.2.9")]))]);
    }
    let before = upstream.connections();
    let failed = scope(|scope| {
        let gate = &gate;
        let asked: Vec<_> = names
            .iter()
            .map(|name| {
                sleep(Duration::from_millis(5));
                scope.spawn(move || (gate.ask(name, "A").rcode() != "NOERROR").then_some(name))
            })
            .collect();
        asked.into_iter().filter_map(|asked| asked.join().ok()?).collect::<Vec<_>>()
    });
    let connections = upstream.connections() - before;
    eprintln!("{} of 200 failed, {connections} connections", failed.len());
    assert!(failed.is_empty(), "{failed:?}");
    assert!(connections <= 240, "{connections} connections for 200 queries");
    assert!(upstream.ended() >= 100, "{} connections ended", upstream.ended());
}

#[test]
fn what_http_says_of_a_reply_is_heeded() {
    let (upstream, gate) = start(Carrier::Https, "");
    for (name, kind, header, value, ttl) in [
        ("aged", "application/dns-message", "age", "25", 35),
        ("old", "application/dns-message", "age", "90", 0),
        ("letters", "Application/DNS-Message; charset=utf-8", "age", "no number", 60),
    ] {
        let name = format!("{name}.allowed.example");
        let record = format!("{name} 60 A 192.0.2.9");
        upstream.on(&name, [Act::Headers(kind, header, value, Response::answering(&[&record]))]);
        let reply = gate.ask(&name, "A");
        assert_eq!((reply.rcode().as_str(), reply.answers.len()), ("NOERROR", 1), "{name}");
        assert_eq!(reply.answers[0].ttl, ttl, "{name}");
    }
    let port = upstream.place().port();
    assert!(upstream.authorities().iter().all(|authority| *authority == format!("dns.example:{port}")));
    let asked = Instant::now();
    upstream.on(NAME, [Act::Bytes(vec![0; 100_000])]);
    let reply = gate.ask(NAME, "A");
    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// A record that hickory cannot decode, as its parameters are out of order, is relayed as over UDP. QUIC uses hickory.
#[test]
fn a_reply_that_a_library_cannot_read_is_relayed() {
    for carrier in [Carrier::Tls, Carrier::Https] {
        let (upstream, gate) = start(carrier, "");
        // SvcPriority 1, target ".", and the key alpn (1) behind port (3).
        let record = "ws.allowed.example 60 HTTPS \\# 16 000100000300021f9000010003026832";
        upstream.on(NAME, [Act::Answer(Response::answering(&[record]))]);
        let client = gate.udp();
        client.send(&Query::new(NAME, "HTTPS").edns().bytes());
        let reply = client.receive();
        // NOERROR, one answer, with the record's data unchanged.
        assert_eq!((reply[3] & 0xf, reply[7]), (0, 1), "{carrier:?}: {reply:?}");
        let data = [0, 1, 0, 0, 3, 0, 2, 0x1f, 0x90, 0, 1, 0, 3, 2, b'h', b'2'];
        assert!(reply.windows(data.len()).any(|window| window == data), "{carrier:?}: {reply:?}");
        assert_eq!(upstream.queries().len(), 1, "{carrier:?}");
    }
}
