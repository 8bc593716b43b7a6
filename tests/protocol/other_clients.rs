//! Tests clients outside `allow_clients`: refused, or ignored with `other_clients = "drop"`.

use std::time::Duration;

use crate::support::client::{TcpEvent, framed};
use crate::support::{Gate, Query, ScriptedUpstream, TcpClient};

const NARROW: &str = "server.allow_clients = [\"127.0.0.1\"]";

/// Messages from a client outside `allow_clients`: queries without and with EDNS, and messages that are not queries.
fn messages() -> [Vec<u8>; 4] {
    let query = Query::new("ws.allowed.example", "A");
    let malformed = [&query.bytes()[..5], &[2], &query.bytes()[6..]].concat();
    let status = [&query.bytes()[..2], &[0x10], &query.bytes()[3..]].concat();
    [query.bytes(), query.edns().bytes(), malformed, status]
}

fn stranger(gate: &Gate) -> TcpClient {
    TcpClient::connect_from([127, 0, 0, 2].into(), gate.address())
}

#[test]
fn by_default_other_clients_are_refused() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, NARROW);
    for message in messages() {
        let client = gate.udp_from([127, 0, 0, 2]);
        client.send(&message);
        let reply = client.receive();
        assert_eq!(reply[3] & 0x0f, 5, "REFUSED: {reply:?}");
    }
    assert_eq!(stranger(&gate).ask(&Query::new("ws.allowed.example", "A")).rcode(), "REFUSED");
    assert!(upstream.queries().is_empty());
}

#[test]
fn with_drop_other_clients_get_no_reply() {
    let upstream = ScriptedUpstream::start();
    // A rate limit answers some queries above it, which such a client must not see either.
    let limited = "rate_limit = { responses_per_second = 1, slip = 1 }";
    let gate = Gate::start(&upstream, &format!("{NARROW}\nserver.other_clients = \"drop\"\n{limited}"));
    let client = gate.udp_from([127, 0, 0, 2]);
    for message in messages().iter().cycle().take(40) {
        client.send(message);
    }
    let metrics = gate.expect_metrics("all queries dropped", |metrics| {
        metrics.sum("namegate_dropped_total", &[("reason", "not_allowed")]) == 40.0
    });
    assert_eq!(client.receive_within(Duration::from_millis(50)), None);
    assert_eq!(metrics.sum("namegate_rate_limited_total", &[]), 0.0);
    assert!(upstream.queries().is_empty());
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    gate.settled_metrics();
}

#[test]
fn with_drop_a_strangers_connection_is_closed_at_once() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &format!("{NARROW}\nserver.other_clients = \"drop\""));
    let mut client = stranger(&gate);
    drop(client.send_raw(&framed(&Query::new("ws.allowed.example", "A").bytes())));
    assert_eq!(client.event_within(Duration::from_secs(2)), TcpEvent::Closed);
    let metrics = gate.metrics();
    let refused = metrics.sum("namegate_tcp_connections_refused_total", &[("reason", "not_allowed")]);
    assert_eq!((refused, metrics.sum("namegate_queries_total", &[])), (1.0, 0.0));
    assert_eq!(gate.tcp().ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    // It also applies after a reload.
    gate.write_settings(NARROW);
    gate.reload();
    assert_eq!(stranger(&gate).ask(&Query::new("ws.allowed.example", "A")).rcode(), "REFUSED");
}
