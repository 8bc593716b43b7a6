//! Tests forwarding: queries to the upstream, and answers relayed unchanged.

use std::collections::HashSet;

use crate::support::code::{AA, AD, CD, RA, TC, type_text};
use crate::support::message::texts;
use crate::support::script::Step;
use crate::support::upstream::{Transport, assert_own_query};
use crate::support::{Edns, Gate, Query, Record, Response, Script, ScriptedUpstream};

#[test]
fn a_chain_is_relayed_in_its_order() {
    let upstream = ScriptedUpstream::start();
    let chain = [
        "ws.allowed.example 60 CNAME ws.privatelink.allowed.example",
        "ws.privatelink.allowed.example 50 CNAME edge.elsewhere.example",
        "edge.elsewhere.example 40 A 10.1.2.3",
        "edge.elsewhere.example 40 A 10.1.2.4",
    ];
    upstream.on("ws.allowed.example", Script::reply(Response::answering(&chain)));
    let gate = Gate::start(&upstream, "");
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!(reply.answer_texts(), chain);
    assert_eq!(upstream.asked(), ["ws.allowed.example A"]);
}

#[test]
fn a_name_error_keeps_its_chain() {
    let upstream = ScriptedUpstream::start();
    let chain = ["ws.allowed.example 60 CNAME ws.privatelink.allowed.example"];
    let response = Response::answering(&chain).rcode("NXDOMAIN");
    let response = Response { authorities: vec![Record::soa("allowed.example", 60, 60)], ..response };
    upstream.on("ws.allowed.example", Script::reply(response.clone()));
    let gate = Gate::start(&upstream, "");
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!(reply.rcode(), "NXDOMAIN");
    assert_eq!(reply.answer_texts(), chain);
    assert_eq!(reply.authorities, response.authorities);
    assert!(reply.ede_codes().is_empty(), "NXDOMAIN from an upstream is not a blocked name");
}

#[test]
fn every_section_is_relayed() {
    let upstream = ScriptedUpstream::start();
    let authority = ["allowed.example 77 NS ns.elsewhere.example"];
    let additional = ["ns.elsewhere.example 88 A 192.0.2.53", "ns.elsewhere.example 88 AAAA 2001:db8::53"];
    let answer = ["ws.allowed.example 66 A 192.0.2.9"];
    let response = Response::answering(&answer).authority(&authority).additional(&additional);
    upstream.on("ws.allowed.example", Script::reply(response));
    let gate = Gate::start(&upstream, "");
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!(reply.answer_texts(), answer);
    assert_eq!(texts(&reply.authorities), authority);
    assert_eq!(texts(&reply.additionals), additional);
}

#[test]
fn records_of_any_type_are_relayed_byte_for_byte() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for number in [10, 16, 33, 43, 46, 48, 64, 65, 99, 257, 65_280, 65_534] {
        let (name, qtype) = (format!("t{number}.allowed.example"), type_text(number));
        let record = Record::new(&name, 60, &qtype, (0..=u8::MAX).rev().step_by(7).collect());
        let response = Response { answers: vec![record.clone()], ..Response::default() };
        upstream.on(&name, Script::reply(response));
        // Data of unknown types is decoded only by the test's decoder; hickory would try to parse it.
        let client = gate.udp();
        client.send(&Query::new(&name, &qtype).bytes());
        let reply = crate::support::Message::parse(&client.receive()).expect("a well-formed reply");
        assert_eq!(reply.answers, [record], "{qtype}");
    }
}

#[test]
fn compressed_names_stay_readable() {
    let upstream = ScriptedUpstream::start();
    // The question ends at offset 36. A CNAME to `pl` and a pointer into the question, its data at offset 48; then an
    // address owned by a pointer to that data.
    let records = [
        &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 5, 2, b'p', b'l', 0xc0, 15][..],
        &[0xc0, 48, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1],
    ]
    .concat();
    let step = Step::changed(Response::default(), move |bytes| {
        bytes[7] = 2;
        bytes.splice(36..36, records.iter().copied());
    });
    upstream.on("ws.allowed.example", Script::steps(vec![step]));
    let gate = Gate::start(&upstream, "");
    for query in [Query::new("ws.allowed.example", "A"), Query::new("WS.Allowed.EXAMPLE", "A").edns()] {
        let reply = gate.send(&query);
        let owners: Vec<String> = reply.answers.iter().map(|record| record.owner.to_lowercase()).collect();
        assert_eq!(owners, ["ws.allowed.example", "pl.allowed.example"]);
        assert_eq!(reply.answer_data()[0].to_lowercase(), "pl.allowed.example");
        assert_eq!(reply.answer_data()[1], "10.0.0.1");
    }
}

#[test]
fn extended_errors_reach_clients_with_opt_alone() {
    let upstream = ScriptedUpstream::start();
    let response = Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])
        .extended_error(3, "stale")
        .extended_error(0, "and more");
    upstream.on("ws.allowed.example", Script::reply(response));
    let gate = Gate::start(&upstream, "");
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!(reply.extended_errors(), [(3, "stale".to_owned()), (0, "and more".to_owned())]);
    let reply = gate.send(&Query::new("ws.allowed.example", "A"));
    assert_eq!(reply.edns, None);
}

#[test]
fn other_options_of_the_upstream_stay_upstream() {
    let upstream = ScriptedUpstream::start();
    let mut response = Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]);
    response.options = vec![(10, vec![7; 16]), (8, vec![0, 1, 24, 24, 192, 0, 2])];
    upstream.on("ws.allowed.example", Script::reply(response));
    let gate = Gate::start(&upstream, "");
    let edns = gate.ask("ws.allowed.example", "A").edns.expect("an OPT record");
    assert_eq!(edns.options, []);
}

#[test]
fn authentic_data_reaches_clients_that_understand_it() {
    let upstream = ScriptedUpstream::start();
    let response = Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]).flags(AD);
    upstream.by_default(Script::reply(response));
    let gate = Gate::start(&upstream, "");
    let asks = |query: Query| gate.send(&query).has(AD);
    assert!(asks(Query::new("ws.allowed.example", "A").dnssec_ok()), "DO");
    assert!(
        asks(Query::new("ws.allowed.example", "A").flags(0x0120)),
        "AD in the query (RFC 6840 section 5.7)"
    );
    assert!(!asks(Query::new("ws.allowed.example", "A")), "neither");
}

#[test]
fn authority_of_the_upstream_is_not_ours() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]).flags(AA)));
    let reply = Gate::start(&upstream, "").ask("ws.allowed.example", "A");
    assert!(!reply.has(AA));
    assert!(reply.has(RA));
}

#[test]
fn do_and_cd_go_upstream_and_nothing_else() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let queries = [
        Query::new("a.allowed.example", "A"),
        Query::new("b.allowed.example", "A").edns(),
        Query::new("c.allowed.example", "A").dnssec_ok(),
        Query::new("d.allowed.example", "A").flags(0x0100 | CD),
        Query::new("e.allowed.example", "A").dnssec_ok().flags(0x0100 | CD | AD),
        Query::new("F.Allowed.Example", "A").payload(4096),
    ];
    for query in &queries {
        gate.send(query);
    }
    let received = upstream.queries();
    assert_eq!(received.len(), queries.len());
    for (received, query) in received.iter().zip(&queries) {
        assert_own_query(received, query);
    }
}

#[test]
fn ids_and_ports_are_random() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let mut matches = 0;
    for number in 0..64 {
        let query = Query { id: 4711, ..Query::new(&format!("n{number}.allowed.example"), "A") };
        assert_eq!(client.ask(&query).id, 4711);
    }
    let received = upstream.queries();
    matches += received.iter().filter(|query| query.message.id == 4711).count();
    assert!(matches <= 1, "upstream ids follow the client's");
    let ids: HashSet<u16> = received.iter().map(|query| query.message.id).collect();
    let ports: HashSet<u16> = received.iter().map(|query| query.source.port()).collect();
    assert!(ids.len() >= 60, "ids repeat: {ids:?}");
    assert!(ports.len() >= 8, "source ports repeat: {ports:?}");
}

#[test]
fn the_question_comes_back_in_the_clients_case() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // The second is answered from the cache, with the case of its own question.
    for name in ["wS.aLLowed.EXAmple", "Ws.AllOWED.example"] {
        let reply = gate.ask(name, "A");
        assert_eq!(reply.name(), name);
        assert_eq!(reply.answer_data(), ["192.0.2.1"]);
    }
    assert_eq!(upstream.asked(), ["ws.allowed.example A"]);
}

#[test]
fn an_answer_too_large_for_the_client_is_cut_and_whole_over_tcp() {
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> = (0..100).map(|n| format!("big.allowed.example 60 A 192.0.2.{n}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.on("big.allowed.example", Script::truncated_then_tcp(Response::answering(&records)));
    let gate = Gate::start(&upstream, "");
    for query in [
        Query::new("big.allowed.example", "A"),
        Query::new("big.allowed.example", "A").edns(),
        Query::new("big.allowed.example", "A").payload(4096),
    ] {
        let reply = gate.send(&query);
        assert!(reply.has(TC));
        assert_eq!(reply.rcode(), "NOERROR");
        assert!(reply.answers.is_empty() && reply.authorities.is_empty() && reply.additionals.is_empty());
        assert_eq!(reply.edns.is_some(), query.edns.is_some());
        let reply = gate.tcp().ask(&query);
        assert!(!reply.has(TC));
        assert_eq!(reply.answer_texts(), records);
    }
    let transports: Vec<Transport> = upstream.queries().iter().map(|query| query.transport).collect();
    assert_eq!(transports, [Transport::Udp, Transport::Tcp], "queried once, over UDP and then over TCP");
}

#[test]
fn an_answer_just_as_large_as_the_client_takes_is_not_cut() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // Header 12, question 29, fixed part of the record 12; OPT 11.
    for (data, payload, cut) in [
        (512 - 53, None, false),
        (513 - 53, None, true),
        (600 - 64, Some(600), false),
        (601 - 64, Some(600), true),
        (1232 - 64, Some(1232), false),
        (1232 - 64, Some(4096), false),
    ] {
        let name = format!("f{data:04}{:02}.allowed.example", payload.unwrap_or(0) % 97);
        let record = Record::new(&name, 60, "NULL", vec![7; data]);
        upstream.on(&name, Script::reply(Response { answers: vec![record], ..Response::default() }));
        let query = Query::new(&name, "NULL");
        let query = Query { edns: payload.map(Edns::of_size), ..query };
        let reply = gate.send(&query);
        let takes = query.edns.as_ref().map_or(512, |edns| usize::from(edns.size).min(1232));
        assert!(reply.bytes.len() <= takes, "{} bytes to a client that takes {takes}", reply.bytes.len());
        assert_eq!(
            reply.has(TC),
            cut,
            "data of {data} bytes, payload {payload:?}, reply {}",
            reply.bytes.len()
        );
    }
}

#[test]
fn additional_records_give_way_before_an_answer_is_cut() {
    let upstream = ScriptedUpstream::start();
    let targets: Vec<String> = (0..20).map(|n| format!("glue{n}.allowed.example 60 A 192.0.2.{n}")).collect();
    let additional: Vec<&str> = targets.iter().map(String::as_str).collect();
    let answer =
        ["mx.allowed.example 60 CNAME glue0.allowed.example", "glue0.allowed.example 60 A 192.0.2.1"];
    let authority = ["allowed.example 60 NS ns.allowed.example"];
    let whole = Response::answering(&answer).authority(&authority).additional(&additional);
    upstream.on("mx.allowed.example", Script::reply(whole));
    let bare = Response::default().authority(&authority).additional(&additional);
    upstream.on("bare.allowed.example", Script::reply(bare));
    upstream.on("only.allowed.example", Script::reply(Response::default().additional(&additional)));
    let gate = Gate::start(&upstream, "");
    for (name, answers, authorities) in
        [("mx.allowed.example", 2, 1), ("bare.allowed.example", 0, 1), ("only.allowed.example", 0, 0)]
    {
        for attempt in ["fetched", "cached"] {
            let reply = gate.send(&Query::new(name, "A"));
            let counts = [&reply.answers, &reply.authorities, &reply.additionals].map(Vec::len);
            assert_eq!((reply.has(TC), counts), (false, [answers, authorities, 0]), "{name}, {attempt}");
            assert!(reply.answers.iter().all(|record| (58..=60).contains(&record.ttl)), "{name}, {attempt}");
        }
        let reply = gate.ask(name, "A");
        assert_eq!((reply.has(TC), reply.additionals.len()), (false, 20), "{name}: the reply fits");
        assert_eq!(gate.tcp().ask(&Query::new(name, "A")).additionals.len(), 20, "{name} over TCP");
    }
}

#[test]
fn a_long_chain_costs_one_query() {
    let upstream = ScriptedUpstream::start();
    let mut chain: Vec<String> = (0..200)
        .map(|n| format!("c{n}.allowed.example 60 CNAME c{}.allowed.example", (n + 1) % 200))
        .collect();
    chain.rotate_left(50);
    let records: Vec<&str> = chain.iter().map(String::as_str).collect();
    upstream.on("loop.allowed.example", Script::truncated_then_tcp(Response::answering(&records)));
    let gate = Gate::start(&upstream, "");
    let reply = gate.tcp().ask(&Query::new("loop.allowed.example", "A"));
    assert_eq!(reply.answer_texts(), chain);
    assert_eq!(upstream.queries().len(), 2, "UDP, then TCP");
}

#[test]
fn ipv6_clients_are_served() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.listen = [\"[::1]:0\", \"127.0.0.1:0\"]");
    assert_eq!(gate.addresses().len(), 2);
    assert!(gate.address().is_ipv6());
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    assert_eq!(gate.tcp().ask(&Query::new("ws.allowed.example", "AAAA")).answer_data(), ["2001:db8::1"]);
    let other = crate::support::UdpClient::of(gate.addresses()[1]);
    assert_eq!(other.ask(&Query::new("ws.allowed.example", "A")).answer_data(), ["192.0.2.1"]);
}
