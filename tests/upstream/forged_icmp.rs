//! Tests ICMP errors, true and forged: they are only hints and end no query.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::forge::{flood, port_unreachable};
use crate::support::load::ask_all;
use crate::support::truth::{Outcome, answer};
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream};

/// The upstream's latency: the time in which forged errors can hit.
const UPSTREAM: Duration = Duration::from_millis(200);

fn slow_upstream() -> ScriptedUpstream {
    let upstream = ScriptedUpstream::start();
    upstream.by_choice(|query| Script::late(UPSTREAM, answer(query, 0, 300)));
    upstream
}

/// Local ports of this host's UDP sockets connected to `remote`.
fn ports_connected_to(remote: SocketAddrV4) -> Vec<u16> {
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(remote.ip().octets()), remote.port());
    let table = std::fs::read_to_string("/proc/net/udp").expect("the kernel reports it");
    let local = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        (remote == wanted).then(|| u16::from_str_radix(local.split(':').nth(1)?, 16).ok()).flatten()
    };
    table.lines().filter_map(local).collect()
}

fn all_are_answered_in_a_storm(rate: u32, servers: usize, settings: &str) {
    let upstreams: Vec<ScriptedUpstream> = (0..servers).map(|_| slow_upstream()).collect();
    let addresses: Vec<SocketAddr> = upstreams.iter().map(ScriptedUpstream::address).collect();
    let gate = Gate::with_upstreams(&addresses, settings);
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let targets: Vec<SocketAddrV4> = addresses
        .iter()
        .map(|address| match address {
            SocketAddr::V4(address) => *address,
            SocketAddr::V6(_) => panic!("an IPv4 address"),
        })
        .collect();
    let asked = scope(|scope| {
        scope.spawn(|| {
            // An attacker would have to guess the ports; this one knows them.
            let (mut ports, mut read) = (Vec::new(), None::<Instant>);
            flood(Ipv4Addr::LOCALHOST, rate, &stop, &sent, |number| {
                if read.is_none_or(|read| read.elapsed() > Duration::from_millis(20)) {
                    ports = targets
                        .iter()
                        .flat_map(|target| {
                            ports_connected_to(*target).into_iter().map(move |port| (port, *target))
                        })
                        .collect();
                    read = Some(Instant::now());
                }
                let (port, target) = *ports.get(number % ports.len().max(1))?;
                let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
                Some(port_unreachable(Ipv4Addr::new(127, 9, 9, 9), from, target))
            });
        });
        let names = (0..60).map(|number| format!("n{number}.allowed.example")).collect();
        let asked = ask_all(&gate.udp(), names, 30, |_| ());
        stop.store(true, Ordering::Relaxed);
        asked
    });
    let right = asked.iter().filter(|one| one.outcome() == Outcome::Answered(0)).count();
    eprintln!(
        "{rate}/s forged ICMP errors ({} sent), {servers} upstreams, {settings:?}: {right} of 60 answered",
        sent.load(Ordering::Relaxed)
    );
    assert_eq!(right, 60);
    let down = gate.metrics().sum("namegate_upstream_up", &[]);
    assert_eq!(down as usize, servers, "no server counts as down");
}

#[test]
#[ignore = "forges ICMP messages, which takes root; .ci/run runs it"]
fn forged_icmp_errors_end_no_query() {
    for rate in [20_000, 180_000] {
        for servers in [1, 2] {
            for settings in ["", "upstream.randomize_case = true"] {
                all_are_answered_in_a_storm(rate, servers, settings);
            }
        }
    }
}

#[test]
fn a_true_icmp_error_ends_no_query_while_the_server_restarts() {
    let address = ScriptedUpstream::unused_address();
    let gate = Gate::with_upstreams(&[address], "");
    let client = gate.udp();
    client.send(&Query::new("ws.allowed.example", "A").edns().bytes());
    sleep(Duration::from_millis(300));
    let upstream = ScriptedUpstream::start_at(address);
    upstream
        .on("ws.allowed.example", Script::reply(Response::answering(&["ws.allowed.example 60 A 192.0.2.9"])));
    let reply = crate::support::Message::expect(&client.receive());
    assert_eq!(reply.answer_data(), ["192.0.2.9"], "{reply:?}");
    assert_eq!(upstream.count("ws.allowed.example"), 1);
}

#[test]
fn with_two_servers_an_icmp_error_has_the_next_asked_at_once() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::with_upstreams(&[ScriptedUpstream::unused_address(), upstream.address()], "");
    let start = Instant::now();
    assert_eq!(gate.ask("n1.allowed.example", "A").rcode(), "NOERROR");
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
}
