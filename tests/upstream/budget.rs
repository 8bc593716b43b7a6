//! How much upstreams are asked: shared exchanges, places in flight, the rate.

use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, eventually};

fn answer(name: &str) -> Response {
    Response::answering(&[&format!("{name} 60 A 192.0.2.9")])
}

#[test]
fn two_hundred_clients_with_one_question_cost_one_query() {
    let upstream = ScriptedUpstream::start();
    let late = Script::late(Duration::from_millis(400), answer("ws.allowed.example"));
    upstream.on("ws.allowed.example", late);
    let gate = Gate::start(&upstream, "");
    let clients: Vec<_> = (0..200).map(|_| (gate.udp(), Query::new("ws.allowed.example", "A"))).collect();
    for (client, query) in &clients {
        client.send(&query.bytes());
    }
    for (client, query) in &clients {
        let reply = Message::expect(&client.receive());
        assert_eq!((reply.id, reply.answer_data()), (query.id, vec!["192.0.2.9".to_owned()]));
    }
    assert_eq!(upstream.asked(), ["ws.allowed.example A"]);
}

#[test]
fn options_of_clients_do_not_split_a_shared_query() {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", Script::late(Duration::from_millis(300), answer("ws.allowed.example")));
    let gate = Gate::start(&upstream, "");
    let clients: Vec<_> = (0..50_u8)
        .map(|number| {
            let mut query = Query::new("ws.allowed.example", "A").edns();
            let edns = query.edns.as_mut().expect("an OPT record");
            edns.options = vec![(8, vec![0, 1, 32, 0, 192, 0, 2, number])];
            edns.size = 600 + u16::from(number);
            let client = gate.udp();
            client.send(&query.bytes());
            client
        })
        .collect();
    for client in &clients {
        assert_eq!(Message::expect(&client.receive()).answer_data(), ["192.0.2.9"]);
    }
    assert_eq!(upstream.queries().len(), 1);
}

#[test]
fn a_silent_upstream_is_not_asked_beyond_its_places() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"\nupstream.max_in_flight = 5");
    let start = Instant::now();
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let client = gate.udp();
            client.send(&Query::new(&format!("n{number}.allowed.example"), "A").edns().bytes());
            client
        })
        .collect();
    eventually("all places to be taken", || (upstream.queries().len() >= 3).then_some(()));
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN", "blocked names do not wait");
    for client in &clients {
        let reply = Message::expect(&client.receive());
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // Three hold places to the end, as many as they leave to other clients and one more; a few others get one when their
    // own time is all but over.
    let received = upstream.queries();
    let early = received.iter().filter(|query| query.at < received[0].at + Duration::from_millis(900));
    assert_eq!(early.count(), 3);
    let metrics = gate.metrics();
    let shed = metrics.sum("namegate_upstream_shed_total", &[]);
    assert!(shed >= 40.0, "{}", metrics.text);
    let in_flight =
        |metrics: &crate::support::metrics::Metrics| metrics.sum("namegate_upstream_in_flight", &[]);
    gate.expect_metrics("places to be free again", |metrics| in_flight(metrics) == 0.0);
}

#[test]
fn a_shed_query_is_not_remembered_as_a_failure() {
    let upstream = ScriptedUpstream::start();
    // Some eleven of thirty have their turn within the deadline; the others are told at once.
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"\nupstream.max_qps = 10");
    let ask = |number: usize| gate.ask(&format!("n{number}.allowed.example"), "A").rcode();
    let rcodes: Vec<String> = scope(|scope| {
        let ask = &ask;
        let clients: [_; 30] = std::array::from_fn(|number| scope.spawn(move || ask(number)));
        clients.into_iter().map(|client| client.join().expect("a client ends")).collect()
    });
    // One whose turn came at the very deadline was not shed, but may be lost all the same.
    let was_sent = |number: usize| upstream.count(&format!("n{number}.allowed.example")) > 0;
    let shed = (0..30).filter(|number| rcodes[*number] == "SERVFAIL" && !was_sent(*number)).count();
    assert!((15..=25).contains(&shed), "{rcodes:?}");
    let counted = gate.metrics().sum("namegate_upstream_shed_total", &[("reason", "rate")]);
    assert!((shed - 1..=shed).contains(&(counted as usize)), "{counted} of {shed}");
    let failed = (0..30).filter(|number| rcodes[*number] == "SERVFAIL").take(5);
    let answered = failed.filter(|number| ask(*number) == "NOERROR").count();
    assert!(answered >= 4, "{answered} of 5 can be asked again at once");
}

#[test]
fn the_rate_is_held() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "upstream.max_qps = 50");
    let start = Instant::now();
    scope(|scope| {
        for number in 0..40 {
            let gate = &gate;
            scope.spawn(move || gate.ask(&format!("n{number}.allowed.example"), "A"));
        }
    });
    // A burst of a tenth of a second, five queries, then one each 20 ms.
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
    assert_eq!(upstream.queries().len(), 40, "late, but none is lost");
}

#[test]
fn a_query_that_waits_for_its_turn_takes_one_turn() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "upstream.max_qps = 10");
    scope(|scope| {
        for number in 0..30 {
            let gate = &gate;
            scope.spawn(move || gate.ask(&format!("n{number}.allowed.example"), "A"));
        }
    });
    // They took 2.9 s, most of them more than the second after which a silent server is asked again.
    let start = Instant::now();
    assert_eq!(gate.ask("next.allowed.example", "A").rcode(), "NOERROR");
    assert!(
        start.elapsed() < Duration::from_millis(800),
        "{:?}: the rate is spent on nothing",
        start.elapsed()
    );
    assert_eq!(upstream.queries().len(), 31);
}

#[test]
fn no_limit_of_rate_is_possible() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "upstream.max_qps = 0\nupstream.max_in_flight = 65535");
    let client = gate.udp();
    for number in 0..300 {
        assert_eq!(client.ask(&Query::new(&format!("n{number}.allowed.example"), "A")).rcode(), "NOERROR");
    }
    assert_eq!(upstream.queries().len(), 300);
}
