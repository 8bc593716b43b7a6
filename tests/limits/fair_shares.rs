//! Tests fair shares of upstream slots, rate and queue at default settings: one greedy client does not delay others.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, UdpClient};

/// The upstream's latency: more than a busy machine adds.
const UPSTREAM: Duration = Duration::from_millis(100);

/// Latency added by this process on a busy machine, as it also plays the attacker and the upstream. Without fair
/// shares, others waited a second or got SERVFAIL.
const BUSY: Duration = Duration::from_millis(150);

/// An upstream that ignores names below `silent.allowed.example`, and answers others slowly.
fn upstream() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start();
    upstream.by_choice(|query| match query.name().ends_with("silent.allowed.example") {
        true => Script::silent(),
        false => Script::late(UPSTREAM, Response::answering(&[&format!("{} 60 A 192.0.2.9", query.name())])),
    });
    upstream
}

/// Twenty clients query one name each, one after the other; returns how long each waits.
fn others(gate: &Gate, round: &str) -> Vec<Duration> {
    let ask = |client: u8| {
        let name = format!("{round}{client}.allowed.example");
        let (client, start) = (gate.udp_from([127, 0, 1, client]), Instant::now());
        let reply = client.ask(&Query::new(&name, "A").edns());
        assert_eq!(
            (reply.rcode().as_str(), reply.answer_data()),
            ("NOERROR", vec!["192.0.2.9".to_owned()]),
            "{reply:?}"
        );
        sleep(Duration::from_millis(20));
        start.elapsed().saturating_sub(Duration::from_millis(20))
    };
    let mut took: Vec<Duration> = (1..=20).map(ask).collect();
    took.sort();
    took
}

/// Asserts that during `attack` the slowest of twenty other clients takes at most twice as long as without it.
fn others_notice_nothing(what: &str, attack: impl Fn(&Gate, &AtomicBool) + Sync) {
    let upstream = upstream();
    let gate = Gate::start(&upstream, "");
    let before = others(&gate, "before");
    let stop = AtomicBool::new(false);
    let during = scope(|scope| {
        scope.spawn(|| attack(&gate, &stop));
        sleep(Duration::from_secs(2));
        let during = others(&gate, "during");
        stop.store(true, Ordering::Relaxed);
        during
    });
    eprintln!("{what}: 20 of 20 others answered; slowest {:?} before, {:?} during", before[19], during[19]);
    assert!(during[19] <= before[19] * 2 + BUSY, "{before:?}\n{during:?}");
}

/// Sends queries for names made by `name`, `rate` per second, until `stop` or for a minute, and reads replies.
fn keep_asking(client: &UdpClient, rate: u32, stop: &AtomicBool, name: impl Fn(usize) -> String) {
    let start = Instant::now();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(60) {
        while count < (start.elapsed().as_secs_f64() * f64::from(rate)) as usize {
            client.send(&Query::new(&name(count), "A").edns().bytes());
            count += 1;
        }
        while client.receive_within(Duration::from_micros(100)).is_some() {}
    }
}

#[test]
fn names_nobody_answers_take_no_slot_from_others() {
    others_notice_nothing("1,000 silent names at once, then 200 a second", |gate, stop| {
        let client = gate.udp_from([127, 0, 0, 66]);
        for number in 0..1000 {
            client.send(&Query::new(&format!("n{number}.silent.allowed.example"), "A").edns().bytes());
        }
        keep_asking(&client, 200, stop, |count| format!("m{count}.silent.allowed.example"));
    });
}

#[test]
fn three_thousand_misses_a_second_take_no_rate_from_others() {
    others_notice_nothing("3,000 answered names a second", |gate, stop| {
        let client = gate.udp_from([127, 0, 0, 66]);
        keep_asking(&client, 3000, stop, |count| format!("m{count}.allowed.example"));
    });
}

#[test]
fn duplicates_of_one_client_leave_a_slow_name_to_others() {
    let upstream = ScriptedUpstream::start();
    let slow = Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on("slow.allowed.example", Script::late(Duration::from_millis(900), slow));
    let gate = Gate::start(&upstream, "");
    let greedy = gate.udp_from([127, 0, 0, 66]);
    let mut outcomes = HashSet::new();
    let read = |outcomes: &mut HashSet<String>, patience: Duration| {
        while let Some(reply) = greedy.receive_within(patience) {
            outcomes.insert(Message::expect(&reply).rcode());
        }
    };
    for number in 0..1200 {
        greedy.send(&Query::new("slow.allowed.example", "A").edns().bytes());
        if number % 50 == 49 {
            read(&mut outcomes, Duration::from_millis(1));
        }
    }
    let clients: Vec<UdpClient> = (1..=20).map(|last| gate.udp_from([127, 0, 1, last])).collect();
    for client in &clients {
        client.send(&Query::new("slow.allowed.example", "A").edns().bytes());
    }
    for client in &clients {
        let reply = Message::expect(&client.receive());
        assert_eq!(reply.answer_data(), ["192.0.2.9"], "{reply:?}");
    }
    assert_eq!(upstream.count("slow.allowed.example"), 1);
    read(&mut outcomes, Duration::from_secs(1));
    assert_eq!(
        outcomes,
        HashSet::from(["NOERROR".to_owned(), "SERVFAIL".to_owned()]),
        "its own excess queries fail"
    );
}

#[test]
fn second_attempts_take_no_slot_from_others() {
    let upstream = upstream();
    let gate = Gate::start(&upstream, "");
    let client = UdpClient::from(IpAddr::from([127, 0, 0, 66]), gate.address());
    for number in 0..200 {
        client.send(&Query::new(&format!("n{number}.silent.allowed.example"), "A").edns().bytes());
    }
    // After a second of silence each would be retried.
    sleep(Duration::from_millis(1500));
    let in_flight = gate.metrics().sum("namegate_upstream_in_flight", &[]);
    assert!((80.0..=95.0).contains(&in_flight), "half of 180 slots: {in_flight}");
    others(&gate, "then");
}
