//! Tests upstreams over TLS, HTTPS and QUIC: queries, answers and connections.

use std::net::SocketAddr;
use std::thread::scope;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::authority::Authority;
use crate::support::code::{CD, RD};
use crate::support::encrypted::{Act, Carrier, EncryptedUpstream};
use crate::support::gate::Reload;
use crate::support::message::texts;
use crate::support::metrics::Metrics;
use crate::support::{Gate, Query, Record, Response, Script, ScriptedUpstream, eventually, free_address};

const NAME: &str = "ws.allowed.example";

/// A server named `dns.example`, and namegate, which trusts its certificate's issuer.
fn start(carrier: Carrier, settings: &str) -> (EncryptedUpstream, Gate) {
    let authority = Authority::new();
    let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["dns.example"]));
    let gate = gate(&authority, &[upstream.address("dns.example")], settings);
    (upstream, gate)
}

/// Namegate with the upstreams `servers`, trusting only `authority`.
fn gate(authority: &Authority, servers: &[String], settings: &str) -> Gate {
    let settings = format!("[upstream]\nservers = {servers:?}\nroots = \"ca.pem\"\n{settings}");
    Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())])
}

/// The count of `result` for a server, labelled as written in the settings.
fn count(gate: &Gate, upstream: &str, result: &str) -> f64 {
    let labels = [("upstream", upstream), ("result", result)];
    gate.settled_metrics().sum("namegate_upstream_queries_total", &labels)
}

#[test]
fn answers_come_whole() {
    let chain = [
        "ws.allowed.example 60 CNAME ws.privatelink.allowed.example",
        "ws.privatelink.allowed.example 50 CNAME edge.elsewhere.example",
        "edge.elsewhere.example 40 A 10.1.2.3",
    ];
    let authority = ["allowed.example 77 NS ns.elsewhere.example"];
    let additional = ["ns.elsewhere.example 88 A 192.0.2.53"];
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        let answer = Response::answering(&chain).authority(&authority).additional(&additional);
        upstream.on(NAME, [Act::Answer(answer.extended_error(3, "stale"))]);
        let reply = gate.ask(NAME, "A");
        assert_eq!(reply.answer_texts(), chain, "{carrier:?}");
        assert_eq!(texts(&reply.authorities), authority, "{carrier:?}");
        assert_eq!(texts(&reply.additionals), additional, "{carrier:?}");
        assert_eq!(reply.extended_errors(), [(3, "stale".to_owned())], "{carrier:?}");

        let negative = Response::negative("NXDOMAIN", Record::soa("allowed.example", 30, 30));
        upstream.on("none.allowed.example", [Act::Answer(negative.clone())]);
        let reply = gate.ask("none.allowed.example", "A");
        assert_eq!((reply.rcode().as_str(), &reply.authorities), ("NXDOMAIN", &negative.authorities));

        assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
        let asked: Vec<String> = upstream.queries().iter().map(|query| query.message.asked()).collect();
        assert_eq!(asked, ["ws.allowed.example A", "none.allowed.example A"], "{carrier:?}");
        assert_eq!(upstream.names_given(), [Some("dns.example".to_owned())].into(), "{carrier:?}");
        let answered = count(&gate, &upstream.address("dns.example"), "answered");
        assert!((2.0..=3.0).contains(&answered), "{carrier:?}: {answered}, one more for the health probe");
        gate.expect_clean_log();
    }
}

#[test]
fn queries_are_padded_and_say_nothing_of_the_client() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        let long = format!("{}.allowed.example", "x".repeat(60));
        gate.send(&Query::new(NAME, "A").dnssec_ok().flags(RD | CD));
        gate.send(&Query::new(&long, "AAAA"));
        let queries = upstream.queries();
        assert_eq!(queries.len(), 2);
        for (query, (name, dnssec_ok, flags)) in
            queries.iter().zip([(NAME, true, 0x0130), (long.as_str(), false, 0x0120)])
        {
            let message = &query.message;
            assert_eq!((message.name(), message.flags, message.bytes.len()), (name, flags, 128));
            let edns = message.edns.as_ref().expect("an OPT record");
            assert_eq!((edns.size, edns.dnssec_ok), (1232, dnssec_ok), "{carrier:?}");
            let [(12, padding)] = edns.options.as_slice() else { panic!("{:?}", edns.options) };
            assert!(padding.iter().all(|byte| *byte == 0), "{carrier:?}");
            assert!(message.id == 0 || carrier == Carrier::Tls, "{carrier:?}: {}", message.id);
        }
    }
}

#[test]
fn answers_larger_than_a_datagram_need_no_second_way() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        let records: Vec<String> = (0..200).map(|n| format!("{NAME} 60 A 192.0.2.{n}")).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        upstream.on(NAME, [Act::Answer(Response::answering(&records))]);
        assert_eq!(gate.tcp().ask(&Query::new(NAME, "A")).answers.len(), 200, "{carrier:?}");
        assert_eq!(upstream.queries().len(), 1, "{carrier:?}");
    }
}

#[test]
fn many_queries_share_few_connections() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "max_in_flight = 1000\nmax_qps = 0");
        let names: Vec<String> = (0..200).map(|n| format!("n{n}.allowed.example")).collect();
        for name in &names {
            let answer = Response::answering(&[&format!("{name} 60 A 192.0.2.9")]);
            upstream.on(name, [Act::Late(Duration::from_millis(300), answer)]);
        }
        scope(|scope| {
            for name in &names {
                let gate = &gate;
                scope.spawn(move || assert_eq!(gate.ask(name, "A").answer_data(), ["192.0.2.9"], "{name}"));
            }
        });
        assert_eq!(upstream.queries().len(), 200, "{carrier:?}");
        let connections = upstream.connections();
        // More than two open only while no earlier query is answered.
        assert!((1..=8).contains(&connections), "{carrier:?}: {connections} connections");
    }
}

#[test]
fn a_connection_that_the_server_closes_is_opened_again() {
    let answer = || Response::answering(&["ws.allowed.example 0 A 192.0.2.9"]);
    for carrier in Carrier::ALL {
        for (case, acts) in [
            ("before it answers", vec![Act::Close, Act::Answer(answer())]),
            ("after an answer", vec![Act::Last(answer()), Act::Answer(answer())]),
        ] {
            let (upstream, gate) = start(carrier, "");
            upstream.on(NAME, acts);
            for _ in 0..3 {
                assert_eq!(gate.ask(NAME, "A").answer_data(), ["192.0.2.9"], "{carrier:?}, {case}");
            }
            assert!(upstream.connections() >= 2, "{carrier:?}, {case}");
            // On a busy machine a late reply opens a second connection, and the surplus one ends as well.
            eventually("one or two open connections", || {
                let (opened, ended) = (upstream.connections(), upstream.ended());
                (ended >= 1 && (1..=2).contains(&(opened - ended))).then_some(())
            });
        }
    }
}

#[test]
fn a_server_that_was_restarted_is_asked_again() {
    for carrier in Carrier::ALL {
        let authority = Authority::new();
        let identity = authority.issue(&["dns.example"]);
        let upstream = EncryptedUpstream::start(carrier, &identity);
        let gate = gate(&authority, &[upstream.address("dns.example")], "deadline = \"2s\"");
        assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR", "{carrier:?}");
        let place = upstream.place();
        drop(upstream);
        assert_eq!(gate.ask("b.allowed.example", "A").rcode(), "SERVFAIL", "{carrier:?}");
        let again = EncryptedUpstream::start_at(place, carrier, &identity);
        // Failures are cached briefly, and servers that fail often are skipped briefly.
        let mut number = 0;
        eventually("an answer from the new server", || {
            number += 1;
            let reply = gate.ask(&format!("c{number}.allowed.example"), "A");
            (reply.rcode() == "NOERROR").then_some(())
        });
        assert!(!again.queries().is_empty(), "{carrier:?}");
    }
}

#[test]
fn a_silent_connection_is_not_waited_for() {
    for carrier in Carrier::ALL {
        let (upstream, gate) = start(carrier, "");
        assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR");
        // A late answer to the health probe would count as a sign of life.
        gate.expect_metrics("nothing in flight", |metrics| {
            metrics.sum("namegate_upstream_in_flight", &[]) == 0.0
        });
        upstream.on(
            NAME,
            [Act::Silence, Act::Answer(Response::answering(&["ws.allowed.example 0 A 192.0.2.9"]))],
        );
        assert_eq!(gate.ask(NAME, "A").answer_data(), ["192.0.2.9"], "{carrier:?}");
        let through: Vec<usize> = upstream.queries().iter().map(|query| query.connection).collect();
        let [_, silent, then] = through[..] else { panic!("{carrier:?}: asked through {through:?}") };
        assert_ne!(silent, then, "{carrier:?}: retried after a second, through a new connection");
    }
}

#[test]
fn the_next_server_is_asked_where_one_is_down() {
    for carrier in Carrier::ALL {
        let authority = Authority::new();
        let second = EncryptedUpstream::start(Carrier::Tls, &authority.issue(&["dns.example"]));
        let servers = [carrier.address(free_address(), "dns.example"), second.address("dns.example")];
        let gate = gate(&authority, &servers, "");
        assert_eq!(gate.ask(NAME, "A").answer_data(), ["192.0.2.1"], "{carrier:?}");
        gate.expect_metrics("the first server to be down", |metrics| {
            metrics.sum("namegate_upstream_up", &[("upstream", &servers[0])]) == 0.0
                && metrics.sum("namegate_upstream_up", &[("upstream", &servers[1])]) == 1.0
                || {
                    gate.ask(&format!("n{}.allowed.example", rand::random::<u32>()), "A");
                    false
                }
        });
    }
}

#[test]
fn reloads_keep_connections_while_the_same_servers_are_trusted() {
    let authority = Authority::new();
    let upstream = EncryptedUpstream::start(Carrier::Tls, &authority.issue(&["dns.example"]));
    let servers = [upstream.address("dns.example")];
    let gate = gate(&authority, &servers, "");
    let is_idle = |metrics: &Metrics| metrics.sum("namegate_upstream_in_flight", &[]) == 0.0;
    assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "NOERROR");
    gate.expect_metrics("nothing in flight", is_idle);
    let before = upstream.connections();
    assert_eq!(gate.reload(), Reload::Success);
    gate.expect_metrics("nothing in flight", is_idle);
    assert_eq!(gate.ask("b.allowed.example", "A").rcode(), "NOERROR");
    let through = upstream.queries()[1].connection;
    assert!(through < before, "through connection {through} of {before}");

    gate.write_file("ca.pem", &Authority::new().pem());
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("c.allowed.example", "A").rcode(), "SERVFAIL");
    assert_eq!(upstream.queries().len(), 2);

    gate.write_file("ca.pem", "nothing\n");
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("the file contains no certificate");
}

#[test]
fn host_names_are_looked_up_through_the_bootstrap_resolvers() {
    let authority = Authority::new();
    for carrier in Carrier::ALL {
        let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["dns.example"]));
        let (deaf, bootstrap) = (ScriptedUpstream::start(), ScriptedUpstream::start());
        deaf.by_default(Script::reply(Response::failing("SERVFAIL")));
        bootstrap
            .on("dns.example", Script::reply(Response::negative("NOERROR", Record::soa("example", 60, 60))));
        bootstrap.on("dns.example", address("127.0.0.1"));
        let place = format!("dns.example:{}", upstream.place().port());
        let settings = format!("bootstrap = [\"{}\", \"{}\"]", deaf.address(), bootstrap.address());
        let gate = gate(&authority, &[carrier.address(&place, "")], &settings);
        assert_eq!(gate.ask(NAME, "A").answer_data(), ["192.0.2.1"], "{carrier:?}");
        assert_eq!(upstream.names_given(), [Some("dns.example".to_owned())].into(), "{carrier:?}");
        for resolver in [&deaf, &bootstrap] {
            let asked: Vec<String> =
                resolver.queries().iter().map(|q| q.message.name().to_lowercase()).collect();
            assert!(!asked.is_empty() && asked.iter().all(|name| name == "dns.example"), "{asked:?}");
        }
    }
}

#[test]
fn a_server_that_has_moved_is_looked_up_again() {
    let authority = Authority::new();
    let upstream = EncryptedUpstream::start(Carrier::Tls, &authority.issue(&["dns.example"]));
    let bootstrap = ScriptedUpstream::start();
    bootstrap.on("dns.example", address("127.0.0.9"));
    let place = format!("dns.example:{}", upstream.place().port());
    let settings = format!("bootstrap = [\"{}\"]\ndeadline = \"1s\"", bootstrap.address());
    let gate = gate(&authority, &[Carrier::Tls.address(&place, "")], &settings);
    assert_eq!(gate.ask("a.allowed.example", "A").rcode(), "SERVFAIL");
    bootstrap.on("dns.example", address("127.0.0.1"));
    let mut number = 0;
    eventually("an answer from the server's new address", || {
        number += 1;
        let reply = gate.ask(&format!("b{number}.allowed.example"), "A");
        (reply.rcode() == "NOERROR").then_some(())
    });
    assert_eq!(upstream.ended(), 0);
}

/// A listener whose backlog is full: connections to it are neither made nor refused.
struct Deaf {
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl Deaf {
    fn at(place: SocketAddr) -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.bind(&place.into()).expect("a port");
        listener.listen(0).expect("a listener");
        let connect = || {
            let waiting = socket();
            waiting.set_nonblocking(true).expect("a socket that does not block");
            drop(waiting.connect(&place.into()));
            waiting
        };
        Self { _listener: listener, _waiting: (0..8).map(|_| connect()).collect() }
    }
}

/// One or two of a name's addresses are dead and come first.
#[test]
fn dead_addresses_of_a_server_are_passed_over() {
    for dead in [1, 2] {
        let authority = Authority::new();
        let upstream = EncryptedUpstream::start(Carrier::Tls, &authority.issue(&["dns.example"]));
        let port = upstream.place().port();
        let ips = ["127.0.0.21", "127.0.0.22"];
        let places = ips[..dead].iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), port));
        let _deaf: Vec<Deaf> = places.map(Deaf::at).collect();
        let bootstrap = ScriptedUpstream::start();
        bootstrap.on("dns.example", addresses(&[&ips[..dead], &["127.0.0.1"]].concat()));
        let settings = format!("bootstrap = [\"{}\"]", bootstrap.address());
        let gate = gate(&authority, &[Carrier::Tls.address(format!("dns.example:{port}"), "")], &settings);
        let mut took = Vec::new();
        for number in 0..40 {
            let name = format!("n{number}.allowed.example");
            // After the server closes, namegate must connect again.
            upstream.on(&name, [Act::Last(Response::answering(&[&format!("{name} 60 A 192.0.2.9")]))]);
            let asked = Instant::now();
            assert_eq!(gate.ask(&name, "A").rcode(), "NOERROR", "{dead} dead: {number}");
            took.push(asked.elapsed());
        }
        let first = took[0];
        took.sort();
        eprintln!("{dead} dead in front: first {first:?}, p50 {:?}, slowest {:?}", took[20], took[39]);
        assert!(took[20] < Duration::from_millis(300), "{dead} dead: {:?}", took[20]);
        for ip in &ips[..dead] {
            let told = gate.stderr.expect("no connection to ");
            assert!(told.contains(&format!("{ip}:{port} (no reply within")), "{told}");
        }
    }
}

/// An A record with one of our addresses, NODATA for other types.
fn address(ip: &str) -> Script {
    addresses(&[ip])
}

fn addresses(ips: &[&str]) -> Script {
    let records: Vec<String> = ips.iter().map(|ip| format!("dns.example 60 A {ip}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let response = Response::answering(&records);
    Script::steps(vec![crate::support::script::Step::Send(std::sync::Arc::new(move |query| {
        match query.questions[0].qtype {
            1 => response.render(query),
            _ => Response::negative("NOERROR", Record::soa("example", 60, 60)).render(query),
        }
    }))])
}

#[test]
fn an_address_without_a_name_is_proved_by_itself() {
    let authority = Authority::new();
    for carrier in Carrier::ALL {
        let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["127.0.0.1"]));
        let place: SocketAddr = upstream.place();
        let gate = gate(&authority, &[carrier.address(place, "")], "");
        assert_eq!(gate.ask(NAME, "A").answer_data(), ["192.0.2.1"], "{carrier:?}");
        assert_eq!(upstream.names_given(), [None].into(), "{carrier:?}: an address in the handshake");
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --test black_box what_a_query_costs -- --ignored --nocapture"]
fn what_a_query_costs_over_each_transport() {
    const QUERIES: usize = 20_000;
    let authority = Authority::new();
    let plain = ScriptedUpstream::start();
    plain.by_default(crate::support::truth::script());
    let mut servers = vec![("udp".to_owned(), plain.address().to_string(), None)];
    for carrier in Carrier::ALL {
        let upstream = EncryptedUpstream::start(carrier, &authority.issue(&["dns.example"]));
        servers.push((format!("{carrier:?}"), upstream.address("dns.example"), Some(upstream)));
    }
    let mut first = 0.0;
    for (name, server, _upstream) in &servers {
        let gate = gate(
            &authority,
            std::slice::from_ref(server),
            "max_qps = 0\nmax_in_flight = 1000\n[cache]\nmax_bytes = \"0B\"",
        );
        gate.ask("warm.allowed.example", "A");
        let before = crate::support::process::processor_time(&gate);
        let start = Instant::now();
        scope(|scope| {
            for client in 0..16 {
                let gate = &gate;
                scope.spawn(move || {
                    let udp = gate.udp();
                    for number in 0..QUERIES / 16 {
                        udp.ask(&Query::new(&format!("n{client}-{number}.allowed.example"), "A"));
                    }
                });
            }
        });
        let cpu =
            (crate::support::process::processor_time(&gate) - before).as_secs_f64() / QUERIES as f64 * 1e6;
        let each = start.elapsed() * 16 / QUERIES as u32;
        first = if first == 0.0 { cpu } else { first };
        eprintln!(
            "{name}: {cpu:.1} µs of CPU for a query, {:.2} of UDP's; answered after {each:?}",
            cpu / first
        );
    }
}
