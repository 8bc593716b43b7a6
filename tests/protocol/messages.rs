//! Tests messages that the tables cannot express: random bytes, floods of garbage, and UDP payload sizes.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::code::QR;
use crate::support::{Gate, Message, Query, ScriptedUpstream};

/// Random messages sent to one namegate.
const CASES: u32 = 2000;

/// Broken variants of a query: bytes changed, cut off, inserted or appended.
fn broken_query() -> impl Strategy<Value = Vec<u8>> {
    let query = Query::new("fuzz.evil.example", "A").edns().bytes();
    let length = query.len();
    let change = (0..length, any::<u8>()).prop_map(|(at, byte)| (at, Some(byte)));
    let cut = (0..length).prop_map(|at| (at, None));
    (
        prop::collection::vec(prop_oneof![4 => change, 1 => cut], 1..6),
        prop::collection::vec(any::<u8>(), 0..8),
    )
        .prop_map(move |(edits, tail)| {
            let mut bytes = query.clone();
            for (at, edit) in edits {
                match edit {
                    Some(byte) if at < bytes.len() => bytes[at] = byte,
                    Some(_) => {}
                    None => bytes.truncate(at.max(2)),
                }
            }
            [bytes, tail].concat()
        })
}

#[test]
fn rubbish_gets_a_well_formed_reply_or_none() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let strategy = prop_oneof![3 => broken_query(), 1 => prop::collection::vec(any::<u8>(), 0..600)];
    let result = runner.run(&strategy, |bytes| {
        // An id that differs from the message's.
        let id = bytes.first_chunk().map_or(0, |id| !u16::from_be_bytes(*id));
        let later = Query { id, ..Query::new("later.invalid", "A") };
        client.send(&bytes);
        client.send(&later.bytes());
        let first = client.receive();
        if !first.starts_with(&id.to_be_bytes()) {
            let reply = Message::parse(&first).map_err(TestCaseError::fail)?;
            prop_assert!(reply.has(QR));
            prop_assert!(bytes.starts_with(&first[..2]), "{first:02x?} is not a reply to {bytes:02x?}");
            let last = client.receive();
            prop_assert!(last.starts_with(&id.to_be_bytes()));
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        upstream.queries().is_empty(),
        "no variant of a blocked query is allowed: {:?}",
        upstream.asked()
    );
    gate.expect_clean_log();
}

#[test]
fn claimed_counts_cost_no_memory() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    let resident = || {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).expect("a process status");
        let line =
            status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory").to_owned();
        line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("kilobytes")
    };
    let flood = |count: u16| {
        for id in 0..count {
            let query =
                Query { id, questions: Vec::new(), counts: Some([u16::MAX; 4]), ..Query::new(".", "A") };
            client.send(&query.bytes());
            assert_eq!(Message::expect(&client.receive()).rcode(), "FORMERR");
        }
    };
    flood(1000);
    let before = resident();
    flood(5000);
    let after = resident();
    assert!(after <= before + before / 10 + 512, "{before} kB grew to {after} kB");
}

#[test]
fn our_own_payload_size_is_told_and_held() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.udp_payload = 800");
    assert_eq!(gate.ask("evil.example", "A").edns.expect("an OPT record").size, 800);
    let gate = Gate::start(&upstream, "");
    let edns = gate.send(&Query::new("ws.allowed.example", "A").dnssec_ok()).edns.expect("an OPT record");
    assert_eq!((edns.size, edns.version, edns.dnssec_ok), (1232, 0, true));
}

#[test]
fn what_is_not_answered_is_counted() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    assert!(client.is_ignored(&[1, 2, 3]));
    assert!(client.is_ignored(&[]));
    assert!(client.is_ignored(&Query::new("ws.allowed.example", "A").flags(QR).bytes()));
    let dropped = gate.settled_metrics();
    assert_eq!(dropped.sum("namegate_dropped_total", &[]), 3.0);
    let reasons =
        dropped.samples.iter().filter(|sample| sample.name == "namegate_dropped_total" && sample.value > 0.0);
    assert_eq!(reasons.count(), 2, "{}", dropped.text);
    assert_eq!(dropped.accounting(), (6.0, 6.0), "three ignored, three that prove the silence");
}

#[test]
fn the_identity_is_told_in_class_ch() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.identity = \"gate-7\"");
    for name in ["id.server", "hostname.bind", "ID.Server"] {
        let reply = gate.send(&Query::of_class(name, "TXT", "CH").edns());
        assert_eq!(reply.answer_data(), ["gate-7"], "{name}");
        assert_eq!((reply.answers[0].class, reply.answers[0].ttl), (3, 0), "{name}");
    }
    assert!(upstream.queries().is_empty());
}
