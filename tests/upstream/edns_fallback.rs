//! Tests upstreams that do not support EDNS (RFC 6891 section 7), at default settings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::script::{Render, Step};
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

/// Length of an OPT record without options, in bytes.
const OPT: usize = 11;

fn good(query: &Message) -> Vec<u8> {
    Response::answering(&[&format!("{} 60 A 192.0.2.9", query.name())]).render(query)
}

/// Builds the refusal of a query with an OPT record.
type Refuse = fn(&Message) -> Vec<u8>;

/// Ways to refuse EDNS.
fn refusals() -> Vec<(&'static str, Refuse)> {
    fn header(query: &Message, rcode: &str) -> Vec<u8> {
        let mut reply = Response::failing(rcode).render(query);
        reply.truncate(12);
        reply[4..].fill(0);
        reply
    }
    fn without_opt(query: &Message, rcode: &str) -> Vec<u8> {
        let mut reply = Response::failing(rcode).render(query);
        reply.truncate(reply.len() - OPT);
        reply[11] = 0;
        reply
    }
    fn bad_version(query: &Message) -> Vec<u8> {
        let mut reply = Response::default().render(query);
        let upper_rcode = reply.len() - 6;
        reply[upper_rcode] = 1;
        reply
    }
    vec![
        ("FORMERR, header alone", |query| header(query, "FORMERR")),
        ("NOTIMP, header alone", |query| header(query, "NOTIMP")),
        ("FORMERR with the question", |query| without_opt(query, "FORMERR")),
        ("NOTIMP with the question", |query| without_opt(query, "NOTIMP")),
        ("FORMERR with the OPT echoed", |query| Response::failing("FORMERR").render(query)),
        ("BADVERS", bad_version),
    ]
}

/// Answers queries without EDNS, and uses `refuse` for others.
fn script(refuse: Refuse) -> Script {
    let render: Render = Arc::new(move |query| match query.edns {
        Some(_) => refuse(query),
        None => good(query),
    });
    Script::steps(vec![Step::Send(render)])
}

#[test]
fn a_server_without_edns_is_asked_without_and_remembered() {
    for scheme in ["", "tcp://"] {
        for (refusal, refuse) in refusals() {
            let upstream = ScriptedUpstream::start();
            upstream.by_default(script(refuse));
            // The script is for clients' queries; a probe with EDNS would be answered.
            upstream.ignore_probes();
            let settings = format!("upstream.servers = [\"{scheme}{}\"]", upstream.address());
            let gate = Gate::start(&upstream, &settings);
            let start = Instant::now();
            let reply = gate.send(&Query::new("one.allowed.example", "A").edns().dnssec_ok());
            assert_eq!(reply.answer_data(), ["192.0.2.9"], "{scheme} {refusal}: {reply:?}");
            assert!(start.elapsed() < Duration::from_millis(900), "{refusal}: {:?}", start.elapsed());
            assert_eq!(gate.ask("two.allowed.example", "A").answer_data(), ["192.0.2.9"]);
            let asked: Vec<(String, bool)> = upstream
                .queries()
                .iter()
                .map(|query| (query.message.name().to_owned(), query.message.edns.is_some()))
                .collect();
            let without: Vec<&str> =
                asked.iter().filter(|(_, edns)| !edns).map(|(name, _)| name.as_str()).collect();
            assert_eq!(
                without,
                ["one.allowed.example", "two.allowed.example"],
                "{scheme} {refusal}: {asked:?}"
            );
            assert_eq!(asked.len(), 3, "{scheme} {refusal}: {asked:?}");
            let status: serde_json::Value =
                serde_json::from_str(&gate.get("/api/v1/status").1).expect("JSON");
            assert_eq!(status["upstreams"][0]["edns"], false, "{refusal}");
            assert_eq!(status["upstreams"][0]["up"], true, "{refusal}");
        }
    }
}

#[test]
fn a_server_that_knows_edns_is_not_taken_for_one_without() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    assert_eq!(gate.ask("known.allowed.example", "A").rcode(), "NOERROR");
    upstream.on("odd.allowed.example", script(refusals()[0].1));
    assert_eq!(gate.ask("odd.allowed.example", "A").answer_data(), ["192.0.2.9"]);
    assert_eq!(gate.ask("next.allowed.example", "A").rcode(), "NOERROR");
    let next = upstream.queries().into_iter().find(|query| query.message.name() == "next.allowed.example");
    assert!(next.expect("it was asked").message.edns.is_some());
}

#[test]
fn a_refusal_goes_to_the_next_server() {
    for rcode in ["FORMERR", "NOTIMP", "REFUSED", "NOTAUTH"] {
        let (refusing, sound) = (ScriptedUpstream::start(), ScriptedUpstream::start());
        refusing.by_default(Script::reply(Response::failing(rcode)));
        sound.by_default(Script::steps(vec![Step::Send(Arc::new(good))]));
        let both = Gate::with_upstreams(&[refusing.address(), sound.address()], "");
        assert_eq!(both.ask("one.allowed.example", "A").answer_data(), ["192.0.2.9"], "{rcode}");
        let alone = Gate::start(&refusing, "");
        let reply = alone.ask("two.allowed.example", "A");
        assert_eq!(reply.extended_errors(), [(22, format!("the upstream answered {rcode}"))]);
        assert_eq!(reply.rcode(), "SERVFAIL");
    }
}
