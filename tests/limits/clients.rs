//! Tests the limits of one client: at its limit its new work is refused, and others are not affected.

use std::net::IpAddr;
use std::time::Duration;

use crate::support::client::TcpEvent;
use crate::support::{Gate, Query, Script, ScriptedUpstream, TcpClient, UdpClient, eventually};

#[test]
fn a_client_that_waits_for_silence_leaves_room_for_others() {
    let upstream = ScriptedUpstream::start();
    let settings = "server.in_flight_per_client = 20\nupstream = { deadline = \"3s\", max_qps = 0 }";
    let gate = Gate::start(&upstream, settings);
    assert_eq!(gate.ask("kept.allowed.example", "A").rcode(), "NOERROR");
    upstream.by_default(Script::silent());
    let greedy = gate.udp_from([127, 0, 0, 9]);
    for number in 0..100 {
        greedy.send(&Query::new(&format!("n{number}.allowed.example"), "A").edns().bytes());
    }
    let refused =
        |gate: &Gate| gate.metrics().sum("namegate_dropped_total", &[("reason", "client_overload")]);
    eventually("eighty refused queries", || (refused(&gate) == 80.0).then_some(()));
    assert_eq!(upstream.queries().len() - 1, 20);
    // Its blocked and cached names are still answered, and so are others' cache misses.
    assert_eq!(greedy.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    assert_eq!(greedy.ask(&Query::new("kept.allowed.example", "A")).rcode(), "NOERROR");
    // Forged UDP queries from its address do not use up its share once it has proven its address.
    upstream.on("proven.allowed.example", Script::reply(crate::support::Response::answering(&[])));
    let mut proven = TcpClient::connect_from(IpAddr::from([127, 0, 0, 9]), gate.address());
    assert_eq!(proven.ask(&Query::new("proven.allowed.example", "A")).rcode(), "NOERROR");
    upstream.by_default(Script::default());
    upstream.on("other.allowed.example", Script::reply(crate::support::Response::answering(&[])));
    assert_eq!(gate.ask("other.allowed.example", "A").rcode(), "NOERROR");
    for _ in 0..20 {
        let reply = crate::support::Message::expect(&greedy.receive());
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("SERVFAIL", vec![22]));
    }
    upstream.on("later.allowed.example", Script::reply(crate::support::Response::answering(&[])));
    assert_eq!(
        greedy.ask(&Query::new("later.allowed.example", "A")).rcode(),
        "NOERROR",
        "its slots are free"
    );
    gate.settled_metrics();
}

#[test]
fn tcp_queries_above_the_limit_fail_at_once() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "server.in_flight_per_client = 2\nupstream.deadline = \"2s\"");
    let mut client = gate.tcp();
    for number in 0..5 {
        client.send(&Query::new(&format!("n{number}.allowed.example"), "A").edns().bytes());
    }
    let start = std::time::Instant::now();
    let codes: Vec<Vec<u16>> =
        (0..5).map(|_| crate::support::Message::expect(&client.receive()).ede_codes()).collect();
    assert_eq!(codes, [vec![14], vec![14], vec![14], vec![22], vec![22]]);
    assert!(start.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn total_of_pending_queries_is_limited() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let settings =
        "server.in_flight = 100\nupstream = { deadline = \"3s\", max_qps = 0, max_in_flight = 1000 }";
    let gate = Gate::start(&upstream, settings);
    let clients: Vec<UdpClient> =
        (1..=5).map(|last| UdpClient::from(IpAddr::from([127, 0, 0, last]), gate.address())).collect();
    for (number, client) in (0..150).zip(clients.iter().cycle()) {
        client.send(&Query::new(&format!("n{number}.allowed.example"), "A").bytes());
    }
    // Each of five clients may use as many slots as are still free: a sixth of all if they query in turn.
    let dropped =
        |gate: &Gate| gate.metrics().sum("namegate_dropped_total", &[("reason", "client_overload")]);
    let waiting = |gate: &Gate| gate.metrics().sum("namegate_queries_in_flight", &[]);
    eventually("queries above the limit to be refused", || {
        (dropped(&gate) + waiting(&gate) == 150.0).then_some(())
    });
    assert!((80.0..=98.0).contains(&waiting(&gate)), "{}", waiting(&gate));
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    gate.settled_metrics();
}

/// True if namegate answers on this connection.
fn is_served(client: &mut TcpClient) -> bool {
    let query = crate::support::client::framed(&Query::new("evil.example", "A").bytes());
    client.send_raw(&query).is_ok() && matches!(client.event(), TcpEvent::Message(_))
}

#[test]
fn connections_of_one_client_are_capped_and_others_find_a_place() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.tcp_connections_per_client = 3");
    let from = |last: u8| TcpClient::connect_from(IpAddr::from([127, 0, 0, last]), gate.address());
    let mut held: Vec<TcpClient> = (0..3).map(|_| from(9)).collect();
    assert!(held.iter_mut().all(is_served));
    assert!(!is_served(&mut from(9)), "the excess connection is closed");
    assert!(is_served(&mut from(8)));
    assert!(held.iter_mut().all(is_served), "open connections continue");
    let refused =
        |gate: &Gate| gate.metrics().sum("namegate_tcp_connections_refused_total", &[("reason", "client")]);
    assert_eq!(refused(&gate), 1.0);
    assert_eq!(gate.metrics().sum("namegate_tcp_connections", &[]), 3.0);
    held.pop();
    eventually("a free slot", || is_served(&mut from(9)).then_some(()));
}

#[test]
fn idle_connections_close_sooner_near_the_limit() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server = { tcp_connections = 8, tcp_idle_timeout = \"10s\" }");
    let held: Vec<TcpClient> = (0..8).map(|_| gate.tcp()).collect();
    let start = std::time::Instant::now();
    // With fewer connections, the rest are within the limit again.
    eventually("one closed connection", || held.iter().any(TcpClient::is_closed).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // Below the limit they stay open.
    drop(held);
    eventually("their slots to be free", || {
        (gate.metrics().sum("namegate_tcp_connections", &[]) == 0.0).then_some(())
    });
    let mut few: Vec<TcpClient> = (0..4).map(|_| gate.tcp()).collect();
    assert_eq!(few[3].event_within(Duration::from_millis(1500)), TcpEvent::Nothing);
}
