//! Tests the limits on upstream queries: coalescing, slots in flight, and the rate.

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
fn silent_upstream_gets_no_more_than_its_slots() {
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
    eventually("all slots in use", || (upstream.queries().len() >= 3).then_some(()));
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN", "blocked names are answered at once");
    for client in &clients {
        let reply = Message::expect(&client.receive());
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // Three queries hold slots to the end, one more than are left for other clients; a few others get one shortly
    // before their deadline.
    let received = upstream.queries();
    let early = received.iter().filter(|query| query.at < received[0].at + Duration::from_millis(900));
    assert_eq!(early.count(), 3);
    let metrics = gate.metrics();
    let shed = metrics.sum("namegate_upstream_shed_total", &[]);
    assert!(shed >= 40.0, "{}", metrics.text);
    let in_flight =
        |metrics: &crate::support::metrics::Metrics| metrics.sum("namegate_upstream_in_flight", &[]);
    gate.expect_metrics("free slots", |metrics| in_flight(metrics) == 0.0);
}

#[test]
fn a_shed_query_is_not_remembered_as_a_failure() {
    let upstream = ScriptedUpstream::start();
    // About eleven of thirty get their turn within the deadline; the others fail at once.
    let gate = Gate::start(&upstream, "upstream.deadline = \"1s\"\nupstream.max_qps = 10");
    let ask = |number: usize| gate.ask(&format!("n{number}.allowed.example"), "A").rcode();
    let rcodes: Vec<String> = scope(|scope| {
        let ask = &ask;
        let clients: [_; 30] = std::array::from_fn(|number| scope.spawn(move || ask(number)));
        clients.into_iter().map(|client| client.join().expect("a client ends")).collect()
    });
    // A query whose turn came exactly at the deadline was not shed, but may still be lost.
    let was_sent = |number: usize| upstream.count(&format!("n{number}.allowed.example")) > 0;
    let shed = (0..30).filter(|number| rcodes[*number] == "SERVFAIL" && !was_sent(*number)).count();
    assert!((15..=25).contains(&shed), "{rcodes:?}");
    let counted = gate.metrics().sum("namegate_upstream_shed_total", &[("reason", "rate")]);
    assert!((shed - 1..=shed).contains(&(counted as usize)), "{counted} of {shed}");
    let failed = (0..30).filter(|number| rcodes[*number] == "SERVFAIL").take(5);
    let answered = failed.filter(|number| ask(*number) == "NOERROR").count();
    assert!(answered >= 4, "{answered} of 5 can be queried again at once");
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
    // A burst of a tenth of a second (five queries), then one every 20 ms.
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
    assert_eq!(upstream.queries().len(), 40, "late, but no reply is lost");
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
    // Before the fix they took 2.9 s, most of them longer than the second after which a silent server is retried.
    let start = Instant::now();
    assert_eq!(gate.ask("next.allowed.example", "A").rcode(), "NOERROR");
    assert!(
        start.elapsed() < Duration::from_millis(800),
        "{:?}: the rate is used up for nothing",
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
