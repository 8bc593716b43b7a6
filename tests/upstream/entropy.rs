//! Tests what an off-path attacker must guess: ids, ports and, if enabled, letter case.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use crate::support::script::Step;
use crate::support::upstream::Received;
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream};

/// Queries in the measurement, and how many are in flight at once.
const QUERIES: usize = 10_000;
const AT_ONCE: usize = 50;

/// Chi-square limit for 256 equally likely values: mean 255, standard deviation 22.6. Exceeding six deviations by
/// chance has a probability of one in a hundred million.
const CHI_SQUARE_LIMIT: f64 = 255.0 + 6.0 * 22.6;

const RANDOM_CASE: &str = "upstream.randomize_case = true";

fn chi_square(values: impl Iterator<Item = u8>) -> f64 {
    let mut counts = [0_u32; 256];
    values.for_each(|value| counts[usize::from(value)] += 1);
    let expected = f64::from(counts.iter().sum::<u32>()) / 256.0;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

fn assert_even(what: &str, ids: &[u16]) {
    for (half, shift) in [("high", 8), ("low", 0)] {
        let found = chi_square(ids.iter().map(|id| (id >> shift) as u8));
        assert!(found < CHI_SQUARE_LIMIT, "{what}: the {half} byte is not evenly distributed: {found:.0}");
    }
}

#[test]
fn ids_are_even_and_tell_nothing_of_each_other_or_of_the_client() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::reply(Response::answering(&[])));
    let gate = Gate::start(&upstream, "upstream.max_qps = 0\n[tunnel_guard]\nmode = \"off\"");
    let client = gate.udp();
    let mut client_ids = BTreeMap::new();
    for first in (0..QUERIES).step_by(AT_ONCE) {
        for number in first..first + AT_ONCE {
            let query = Query::new(&format!("q{number}.allowed.example"), "A");
            client_ids.insert(format!("q{number}.allowed.example"), query.id);
            client.send(&query.bytes());
        }
        (0..AT_ONCE).for_each(|_| drop(client.receive()));
    }
    let sent = upstream.queries();
    assert_eq!(sent.len(), QUERIES);
    let ids: Vec<u16> = sent.iter().map(|query| query.message.id).collect();
    assert_even("ids", &ids);
    assert_even("steps", &ids.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<_>>());
    let against_client = sent.iter().map(|query| query.message.id ^ client_ids[query.message.name()]);
    assert_even("against the client's", &against_client.collect::<Vec<_>>());
    assert_ports_change(&sent);
}

/// A port serves 256 queries plus at most one batch, or one second; the system may reuse a port number.
fn assert_ports_change(sent: &[Received]) {
    let mut uses = BTreeMap::<u16, usize>::new();
    sent.iter().for_each(|query| *uses.entry(query.source.port()).or_default() += 1);
    let most = uses.values().max().expect("there were queries");
    assert!(
        uses.len() >= QUERIES / (256 + 64) - 3 && *most <= 2 * (256 + 64),
        "{} ports, {most} uses",
        uses.len()
    );
}

/// The upper-case letters of `name`, as a pattern.
fn pattern(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_uppercase() { 'U' } else { 'l' }).collect()
}

#[test]
fn case_is_drawn_for_each_query_and_its_repetition_taken() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, RANDOM_CASE);
    for number in 0..20 {
        let name = format!("workspace-{number:02}.allowed.example");
        let reply = gate.ask(&name, "A");
        assert_eq!((reply.name(), reply.answer_data()), (name.as_str(), vec!["192.0.2.1".to_owned()]));
    }
    let patterns: BTreeSet<String> =
        upstream.queries().iter().map(|query| pattern(query.message.name())).collect();
    assert_eq!(patterns.len(), 20, "{patterns:?}");
}

#[test]
fn case_that_does_not_match_is_ignored() {
    let upstream = ScriptedUpstream::start();
    let lie = Response::answering(&["workspace-number-1.allowed.example 60 A 198.51.100.66"]);
    let truth = Response::answering(&["workspace-number-1.allowed.example 60 A 192.0.2.9"]);
    let lies = [true, false].map(|upper| {
        Step::changed(lie.clone(), move |bytes| match upper {
            true => bytes[12..47].make_ascii_uppercase(),
            false => bytes[12..47].make_ascii_lowercase(),
        })
    });
    let late = [Step::Wait(Duration::from_millis(50)), Step::reply(truth)];
    upstream.by_default(Script::steps(lies.into_iter().chain(late).collect()));
    let gate = Gate::start(&upstream, RANDOM_CASE);
    let reply = gate.ask("workspace-number-1.allowed.example", "A");
    assert_eq!(reply.answer_data(), ["192.0.2.9"]);
    assert_eq!(upstream.queries().len(), 1);
    let rejected = gate.settled_metrics();
    assert_eq!(rejected.sum("namegate_upstream_replies_rejected_total", &[("reason", "case")]), 2.0);
    let told = |line: &String| line.contains("letter case");
    assert_eq!(gate.stderr.all().iter().filter(|line| told(line)).count(), 1, "logged once");
}

#[test]
fn case_is_left_alone_unless_it_is_asked_for_and_over_tcp() {
    let upstream = ScriptedUpstream::start();
    let lower = |query: &Received| query.message.name() == query.message.name().to_ascii_lowercase();
    let gate = Gate::start(&upstream, "");
    gate.send(&Query::new("WorkSpace-1.Allowed.Example", "A"));
    assert!(upstream.queries().iter().all(lower), "the client's own case does not leave");
    upstream.by_default(Script::truncated_then_tcp(Response::answering(&[])));
    let gate = Gate::start(&upstream, RANDOM_CASE);
    gate.ask("workspace-number-2.allowed.example", "A");
    let sent = upstream.queries().split_off(1);
    assert_eq!(sent.iter().map(lower).collect::<Vec<_>>(), [false, true], "UDP, then TCP");
}

#[test]
fn a_port_that_waits_for_a_reply_looks_closed_to_everyone_else() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::late(
        Duration::from_millis(500),
        Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]),
    ));
    let gate = Gate::start(&upstream, "");
    let client = gate.udp();
    client.send(&Query::new("ws.allowed.example", "A").bytes());
    let waiting = upstream.wait_for("ws.allowed.example", 1)[0].source;
    let attacker = UdpSocket::bind("127.0.0.1:0").expect("a port");
    attacker.connect(waiting).expect("a loopback address");
    attacker.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    attacker.send(b"open?").expect("the first datagram leaves");
    let told = attacker.recv(&mut [0; 16]).expect_err("nobody answers");
    assert_eq!(told.kind(), ErrorKind::ConnectionRefused, "{told}");
    assert_eq!(Message::expect(&client.receive()).answer_data(), ["192.0.2.9"]);
}
