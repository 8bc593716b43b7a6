//! Tests UDP: bursts, datagrams that are too long, and full buffers.

use crate::support::{Edns, Gate, Message, Query, Response, Script, ScriptedUpstream};

#[test]
fn a_burst_is_answered_whole() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&[])));
    let same = Response::answering(&["same.allowed.example 60 A 192.0.2.1"]);
    upstream.on("same.allowed.example", Script::reply(same));
    let gate = Gate::start(&upstream, "server.workers = 2");
    let clients: Vec<_> = (0..8).map(|_| gate.udp()).collect();
    let name = |client: usize, number: usize| match number % 3 {
        0 => format!("q{client}-{number}.blocked.example"),
        1 => format!("q{client}-{number}.allowed.example"),
        _ => "same.allowed.example".to_owned(),
    };
    // Fewer at once than fit the smallest receive buffer.
    for (client, socket) in clients.iter().enumerate() {
        for number in 0..20 {
            socket.send(&Query { id: number as u16, ..Query::new(&name(client, number), "A") }.bytes());
        }
    }
    for (client, socket) in clients.iter().enumerate() {
        let mut replies: Vec<Message> = (0..20).map(|_| Message::expect(&socket.receive())).collect();
        replies.sort_by_key(|reply| reply.id);
        for (number, reply) in replies.iter().enumerate() {
            assert_eq!((usize::from(reply.id), reply.name()), (number, &*name(client, number)));
            assert_eq!(reply.rcode(), if number % 3 == 0 { "NXDOMAIN" } else { "NOERROR" }, "{number}");
        }
    }
    assert_eq!(
        upstream.count("same.allowed.example"),
        1,
        "one question, one upstream query, coalesced or cached"
    );
}

#[test]
fn what_no_client_sends_is_dropped_and_counted() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // An EDNS option of zeros (RFC 7830) fills the message.
    let padded = |length: usize| {
        let of = |padding| {
            let edns = Edns { options: vec![(12, vec![0; padding])], ..Edns::of_size(1232) };
            Query { edns: Some(edns), ..Query::new("x.blocked.example", "A") }.bytes()
        };
        of(length - of(0).len())
    };
    let client = gate.udp();
    client.send(&padded(4096));
    assert_eq!(Message::expect(&client.receive()).rcode(), "NXDOMAIN");
    assert!(client.is_ignored(&padded(4097)));
    assert!(client.is_ignored(&padded(60_000)));
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_dropped_total", &[("reason", "long")]), 2.0);
}

#[test]
fn what_the_kernel_drops_is_told() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.workers = 1");
    assert_eq!(gate.metrics().sum("namegate_udp_receive_drops_total", &[]), 0.0);
    gate.signal("STOP");
    let client = gate.udp();
    let query = Query::new("x.blocked.example", "A").bytes();
    // More than the requested 4 MiB buffer can hold, at more than 500 bytes of memory each.
    for _ in 0..20_000 {
        client.send(&query);
    }
    gate.signal("CONT");
    gate.expect_metrics("the dropped datagrams counted", |metrics| {
        let answered = metrics.sum("namegate_responses_total", &[]);
        let dropped = metrics.sum("namegate_udp_receive_drops_total", &[]);
        dropped > 0.0 && answered + dropped == 20_000.0
    });
}
