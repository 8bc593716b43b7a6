//! Tests queries over TCP: framing, order, half-closed connections.

use std::time::Duration;

use crate::support::client::{TcpEvent, framed};
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

#[test]
fn messages_in_one_segment_are_judged_each_for_itself() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    let queries = [
        Query::new("a.allowed.example", "A"),
        Query::new("evil.example", "A"),
        Query::new("b.allowed.example", "A"),
        Query::new("worse.example", "A"),
    ];
    let segment: Vec<u8> = queries.iter().flat_map(|query| framed(&query.bytes())).collect();
    client.send_raw(&segment).expect("a segment can be sent");
    let mut replies: Vec<Message> = queries.iter().map(|_| Message::expect(&client.receive())).collect();
    replies.sort_by_key(|reply| queries.iter().position(|query| query.id == reply.id));
    let rcodes: Vec<String> = replies.iter().map(Message::rcode).collect();
    assert_eq!(rcodes, ["NOERROR", "NXDOMAIN", "NOERROR", "NXDOMAIN"]);
    assert_eq!(client.event_within(Duration::from_millis(50)), TcpEvent::Nothing, "each is answered once");
    let mut asked = upstream.asked();
    asked.sort();
    assert_eq!(asked, ["a.allowed.example A", "b.allowed.example A"]);
}

#[test]
fn a_slow_answer_holds_nobody_up() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on("slow.allowed.example", Script::late(Duration::from_millis(400), answer));
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    let queries =
        ["slow.allowed.example", "fast.allowed.example", "evil.example"].map(|name| Query::new(name, "A"));
    for query in &queries {
        client.send(&query.bytes());
    }
    let names: Vec<String> = (0..3).map(|_| Message::expect(&client.receive()).name().to_owned()).collect();
    assert_eq!(
        names[2], "slow.allowed.example",
        "RFC 7766 section 6.2.1.1: replies as they are ready: {names:?}"
    );
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    let query = Query::new("ws.allowed.example", "A").edns();
    for byte in framed(&query.bytes()) {
        client.send_raw(&[byte]).expect("a byte can be sent");
        std::thread::sleep(Duration::from_millis(1));
    }
    let reply = Message::expect(&client.receive());
    assert_eq!((reply.id, reply.answer_data()), (query.id, vec!["192.0.2.1".to_owned()]));
    assert_eq!(upstream.queries().len(), 1);
}

#[test]
fn a_length_may_be_apart_from_its_message() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    let both =
        [framed(&Query::new("evil.example", "A").bytes()), framed(&Query::new("worse.example", "A").bytes())];
    let bytes = both.concat();
    let first = both[0].len();
    for part in [&bytes[..1], &bytes[1..2], &bytes[2..first + 1], &bytes[first + 1..]] {
        client.send_raw(part).expect("a part can be sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..2 {
        assert_eq!(Message::expect(&client.receive()).rcode(), "NXDOMAIN");
    }
}

#[test]
fn a_half_closed_connection_is_still_answered() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on("slow.allowed.example", Script::late(Duration::from_millis(200), answer));
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    client.send(&Query::new("slow.allowed.example", "A").bytes());
    client.send(&Query::new("evil.example", "A").bytes());
    client.finish_sending();
    let mut names: Vec<String> =
        (0..2).map(|_| Message::expect(&client.receive()).name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["evil.example", "slow.allowed.example"]);
    assert_eq!(client.event(), TcpEvent::Closed);
}

#[test]
fn lengths_without_a_message_are_not_answered() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for length in [0, 1, 11] {
        assert!(gate.tcp().is_ignored(&vec![0x5a; length]), "length {length}");
    }
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    assert!(upstream.queries().is_empty());
}

#[test]
fn the_longest_message_is_read_whole() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    let rubbish = Query { tail: vec![0; 65_535 - 30], ..Query::new("evil.example", "A") };
    let rubbish = Query { tail: vec![0; rubbish.tail.len() + 65_535 - rubbish.bytes().len()], ..rubbish };
    assert_eq!(rubbish.bytes().len(), 65_535);
    assert_eq!(client.ask(&rubbish).rcode(), "FORMERR");
    assert_eq!(client.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN", "the connection goes on");
    assert!(upstream.queries().is_empty());
}

#[test]
fn replies_are_not_cut() {
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> =
        (0..1000).map(|n| format!("big.allowed.example 60 A 10.0.{}.{}", n / 250, n % 250)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.on("big.allowed.example", Script::truncated_then_tcp(Response::answering(&records)));
    let gate = Gate::start(&upstream, "");
    let reply = gate.tcp().ask(&Query::new("big.allowed.example", "A"));
    assert_eq!(reply.answers.len(), 1000);
}

#[test]
fn one_connection_serves_many_queries() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    for number in 0..300 {
        let query = Query::new(&format!("n{number}.evil.example"), "A");
        assert_eq!(client.ask(&query).id, query.id);
    }
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_queries_total", &[("proto", "tcp")]), 300.0);
}
