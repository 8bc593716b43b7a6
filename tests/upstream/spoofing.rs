//! Tests spoofed replies: each is ignored and counted, and the true reply is still accepted.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use crate::support::code::{QR, TC};
use crate::support::script::Step;
use crate::support::upstream::Received;
use crate::support::{Gate, Message, Response, Script, ScriptedUpstream, UdpClient};

fn truth() -> Response {
    Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])
}

fn lie() -> Response {
    Response::answering(&["ws.allowed.example 60 A 198.51.100.66"])
}

/// Sends `lies` before the true reply; asserts that the true reply arrives and that `counted` lies are counted as
/// rejected.
fn assert_ignored(case: &str, lies: Vec<Step>, counted: usize) {
    let upstream = ScriptedUpstream::start();
    let truth = [Step::Wait(Duration::from_millis(30)), Step::reply(truth())];
    upstream.on("ws.allowed.example", Script::steps(lies.into_iter().chain(truth).collect()));
    let gate = Gate::start(&upstream, "");
    for _ in 0..2 {
        assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.9"], "{case}");
    }
    assert_eq!(upstream.queries().len(), 1, "{case}: queried once, then cached");
    let rejected = gate.settled_metrics().sum("namegate_upstream_replies_rejected_total", &[]);
    assert!(rejected >= counted as f64, "{case}: {rejected} of {counted} counted");
}

/// The lie with its bytes changed.
fn lie_with(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Step {
    Step::changed(lie(), change)
}

#[test]
fn another_id_is_ignored() {
    assert_ignored("id", vec![Step::wrong_id(lie())], 1);
}

#[test]
fn another_name_is_ignored() {
    assert_ignored("name", vec![Step::wrong_name(lie())], 1);
}

#[test]
fn another_type_or_class_is_ignored() {
    // The question's name has 20 bytes.
    assert_ignored("type", vec![lie_with(|bytes| bytes[33] = 28)], 1);
    assert_ignored("class", vec![lie_with(|bytes| bytes[35] = 3)], 1);
}

#[test]
fn another_port_or_address_is_ignored() {
    assert_ignored("port", vec![Step::from_other_port(lie())], 0);
    assert_ignored("address", vec![Step::from_other_address(lie())], 0);
}

#[test]
fn a_query_is_no_reply() {
    assert_ignored("QR=0", vec![lie_with(|bytes| bytes[2] &= 0x7f)], 1);
}

#[test]
fn another_opcode_is_ignored() {
    assert_ignored("opcode", vec![lie_with(|bytes| bytes[2] |= 0x28)], 1);
}

#[test]
fn no_question_and_two_are_ignored() {
    assert_ignored("QDCOUNT=0", vec![lie_with(|bytes| bytes[5] = 0)], 1);
    assert_ignored("QDCOUNT=2", vec![lie_with(|bytes| bytes[5] = 2)], 1);
}

#[test]
fn rubbish_is_ignored() {
    assert_ignored("empty", vec![Step::bytes(&[])], 1);
    assert_ignored("one byte", vec![Step::bytes(&[0])], 1);
    assert_ignored("text", vec![Step::bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")], 1);
    assert_ignored("a header alone", vec![lie_with(|bytes| bytes.truncate(12))], 1);
    assert_ignored("half a header", vec![lie_with(|bytes| bytes.truncate(7))], 1);
    assert_ignored("half a question", vec![lie_with(|bytes| bytes.truncate(20))], 1);
}

#[test]
fn a_failure_or_truncation_for_another_question_is_ignored() {
    let failing = |rcode| Step::wrong_id(Response::failing(rcode));
    assert_ignored("SERVFAIL", vec![failing("SERVFAIL"), failing("NXDOMAIN"), failing("FORMERR")], 3);
    assert_ignored("TC", vec![Step::wrong_id(Response::default().flags(TC))], 1);
}

#[test]
fn a_flood_of_lies_is_ignored() {
    let lies =
        (0..200).flat_map(|_| [Step::wrong_id(lie()), Step::wrong_name(lie()), Step::from_other_port(lie())]);
    assert_ignored("flood", lies.collect(), 100);
}

#[test]
fn a_question_in_another_case_is_ours() {
    let upstream = ScriptedUpstream::start();
    let shouted = Step::changed(truth(), |bytes| bytes[12..32].make_ascii_uppercase());
    upstream.on("ws.allowed.example", Script::steps(vec![shouted]));
    let gate = Gate::start(&upstream, "");
    let reply = gate.ask("ws.allowed.example", "A");
    assert_eq!((reply.answer_data(), reply.name()), (vec!["192.0.2.9".to_owned()], "ws.allowed.example"));
}

#[test]
fn an_attacker_without_a_view_of_the_query_gets_nowhere() {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", Script::late(Duration::from_millis(300), truth()));
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    client.send(&crate::support::Query::new("ws.allowed.example", "A").bytes());
    let query = upstream.wait_for("ws.allowed.example", 1).remove(0);
    // From the attacker's own port, with the correct id and question, to the waiting port.
    let attacker = UdpClient::of(query.source);
    attacker.send(&lie().render(&query.message));
    assert_eq!(Message::expect(&client.receive()).answer_data(), ["192.0.2.9"]);
    // An unsolicited reply, sent to namegate's listening port, is not treated as a query.
    let mut stray = query.message.bytes;
    stray[2] |= (QR >> 8) as u8;
    assert!(UdpClient::of(gate.address()).is_ignored(&stray));
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.9"]);
}

#[test]
fn queries_leave_through_changing_ports_under_changing_ids() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&[])));
    let gate = Gate::start(&upstream, "upstream.max_qps = 0");
    let ask = |round: u32| {
        for number in 0..40 {
            gate.ask(&format!("q{number}-{round}.allowed.example"), "A");
        }
        sleep(Duration::from_millis(1100));
        upstream.queries().split_off(40 * round as usize)
    };
    let (first, second) = (ask(0), ask(1));
    let ports =
        |queries: &[Received]| -> BTreeSet<u16> { queries.iter().map(|query| query.source.port()).collect() };
    assert!(ports(&first).len() >= 4, "one query at a time has several ports: {:?}", ports(&first));
    // The system may reuse a port number, once in some hundred runs.
    let again = ports(&first).intersection(&ports(&second)).count();
    assert!(again <= 1, "after a second no port is reused: {again}");
    let ids: BTreeSet<u16> = first.iter().chain(&second).map(|query| query.message.id).collect();
    assert!(ids.len() >= 78, "{} ids for 80 queries", ids.len());
}

#[test]
fn what_was_answered_is_not_answered_again() {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", Script::steps(vec![Step::reply(truth()), Step::reply(lie())]));
    let gate = Gate::start(&upstream, "");
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.9"]);
    let late = |metrics: &crate::support::metrics::Metrics| {
        metrics.sum("namegate_upstream_replies_rejected_total", &[("reason", "id")]) == 1.0
    };
    gate.expect_metrics("rejection of the second reply", late);
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.9"]);
}
