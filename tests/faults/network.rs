//! Tests networks that lose, delay, reorder, duplicate and corrupt packets, on either side of namegate.

use std::collections::BTreeSet;
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::link::{Impairment, Link};
use crate::support::load::{Asked, ask_all, count, expect_none_wrong};
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Message, Query, ScriptedUpstream, TcpClient, UdpClient};

/// The default deadline for one query.
const DEADLINE: Duration = Duration::from_secs(6);

/// A bad link to the next city: one datagram in twenty is lost, half of them each way.
const BAD: Impairment = Impairment {
    lost: 25,
    doubled: 20,
    damaged: 0,
    delay: Duration::from_millis(25),
    jitter: Duration::from_millis(20),
};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("n{number}.allowed.example")).collect()
}

fn upstream() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(truth::script());
    upstream
}

fn expect_all_answered(asked: &[Asked]) {
    expect_none_wrong(asked);
    let answered = count(asked, |outcome| *outcome == Outcome::Answered(0));
    assert_eq!(answered, asked.len(), "of {}", asked.len());
}

#[test]
fn a_bad_line_to_the_upstream_delays_and_loses_nothing() {
    const QUERIES: usize = 800;
    let upstream = upstream();
    let link = Link::to(upstream.address(), BAD, 7);
    let gate = Gate::with_upstreams(&[link.address()], "");
    let asked = ask_all(&gate.udp(), names(QUERIES), 250, |_| ());
    expect_all_answered(&asked);
    let mut took: Vec<Duration> = asked.iter().filter_map(Asked::took).collect();
    took.sort();
    assert!(took[QUERIES - 1] < DEADLINE, "{:?}", took[QUERIES - 1]);
    let sent = upstream.queries().len();
    assert!(link.lost() > 10, "{} datagrams were lost", link.lost());
    // One in twenty is retried and one in fifty arrives twice.
    assert!(sent <= QUERIES * 115 / 100, "{sent} packets for {QUERIES} queries");
    eprintln!(
        "{} lost, {sent} sent for {QUERIES}, median {:?}, slowest {:?}",
        link.lost(),
        took[QUERIES / 2],
        took[QUERIES - 1]
    );
}

#[test]
fn replies_out_of_order_and_twice_find_their_queries() {
    const QUERIES: usize = 600;
    let upstream = upstream();
    let unordered = Impairment { doubled: 300, jitter: Duration::from_millis(200), ..Impairment::default() };
    let link = Link::to(upstream.address(), unordered, 11);
    let gate = Gate::with_upstreams(&[link.address()], "");
    let asked = ask_all(&gate.udp(), names(QUERIES), 300, |_| ());
    expect_all_answered(&asked);
    let rejected = gate.settled_metrics().sum("namegate_upstream_replies_rejected_total", &[]);
    assert!(rejected > 50.0, "{rejected} replies came a second time");
    assert_eq!(
        upstream.queries().iter().map(|query| query.message.asked()).collect::<BTreeSet<_>>().len(),
        QUERIES
    );
}

#[test]
fn clients_on_a_bad_line_cost_the_upstream_nothing() {
    const QUERIES: usize = 300;
    let upstream = upstream();
    let gate = Gate::start(&upstream, "");
    let line = Impairment { lost: 100, ..BAD };
    let link = Link::to(gate.address(), line, 13);
    scope(|scope| {
        for client in 0..6 {
            let link = &link;
            scope.spawn(move || {
                for number in (client..QUERIES).step_by(6) {
                    ask_as_stubs_do(link, &format!("n{number}.allowed.example"));
                }
            });
        }
    });
    assert!(link.lost() > 20, "{} datagrams were lost", link.lost());
    // Retries are answered from the cache or coalesced. Only if a busy machine is silent for a second is the query sent
    // again.
    let mut sent: Vec<_> =
        upstream.queries().into_iter().map(|query| (query.message.asked(), query.at)).collect();
    sent.sort();
    for pair in sent.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let gap = pair[1].1 - pair[0].1;
        assert!(gap > Duration::from_millis(800), "{} is queried again after {gap:?}", pair[0].0);
    }
    assert!((QUERIES..QUERIES * 11 / 10).contains(&sent.len()), "{} packets for {QUERIES} names", sent.len());
}

/// Queries as a stub resolver does: retries after 300 ms, five times at most.
fn ask_as_stubs_do(link: &Link, name: &str) {
    let query = Query::new(name, "A").edns();
    let client = UdpClient::of(link.address());
    for _ in 0..5 {
        client.send(&query.bytes());
        if let Some(reply) = client.receive_within(Duration::from_millis(300)) {
            assert_eq!(truth::judge(name, Some(&Message::expect(&reply))), Outcome::Answered(0));
            return;
        }
    }
    panic!("{name} was lost five times, which this test's seeds do not cause");
}

#[test]
fn damaged_datagrams_harm_nobody() {
    let upstream = upstream();
    let damaging = Impairment { damaged: 500, ..Impairment::default() };
    let link = Link::to(upstream.address(), damaging, 17);
    let gate = Gate::with_upstreams(&[link.address()], "upstream.deadline = \"2s\"");
    let client = gate.udp();
    for (id, name) in names(200).iter().enumerate() {
        client.send(&Query { id: id as u16, ..Query::new(name, "A") }.bytes());
    }
    // A flipped bit in an address cannot be detected, so the addresses are not compared.
    let answered: BTreeSet<[u8; 2]> =
        (0..200).map(|_| *client.receive().first_chunk().expect("an id")).collect();
    assert_eq!(answered.len(), 200, "each is answered once");
    let allowed = || gate.settled_metrics().sum("namegate_allowed_total", &[]);
    let before = allowed();
    let near = Link::to(gate.address(), damaging, 19);
    let client = UdpClient::of(near.address());
    for number in 0..500 {
        client.send(&Query::new(&format!("n{number}.evil.example"), "A").edns().bytes());
        while client.receive_within(Duration::from_millis(2)).is_some() {}
    }
    assert_eq!(allowed(), before, "corruption never makes a blocked name allowed");
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
}

#[test]
fn streams_are_served_over_a_long_line() {
    let upstream = upstream();
    let far = Impairment { delay: Duration::from_millis(50), ..Impairment::default() };
    let (behind, before) = (Link::to(upstream.address(), far, 0), far);
    let gate = Gate::start(&upstream, &format!("upstream.servers = [\"tcp://{}\"]", behind.address()));
    let link = Link::to(gate.address(), before, 0);
    scope(|scope| {
        for client in 0..10 {
            let address = link.address();
            scope.spawn(move || {
                let mut stream = TcpClient::connect(address);
                for number in 0..3 {
                    let (name, start) = (format!("n{client}-{number}.allowed.example"), Instant::now());
                    let reply = stream.ask(&Query::new(&name, "A").edns());
                    assert_eq!(truth::judge(&name, Some(&reply)), Outcome::Answered(0));
                    assert!(start.elapsed() < DEADLINE);
                }
            });
        }
    });
    assert_eq!(upstream.queries().len(), 30);
}
