//! Tests who gets a TCP connection at default settings while attackers hold as many as they can.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::client::{TcpEvent, framed};
use crate::support::process::memory;
use crate::support::{Gate, PATIENCE, Query, ScriptedUpstream, TcpClient, beside};

/// Nodes of a cluster, and the connections that AKS LocalDNS opens from each.
const NODES: u8 = 20;
const EACH: usize = 150;

/// Connections allowed per client (`tcp_connections_per_client`), all used by attackers.
const MOST_EACH: usize = 500;

/// Ways to keep a connection open without an answerable query.
const TRICKS: [&str; 5] = ["zero length", "response", "malformed", "half a message", "slow bytes"];

fn query() -> Query {
    Query::new("evil.example", "A")
}

/// The bytes a trick sends each time.
fn trick(name: &str, turn: usize) -> Vec<u8> {
    let message = query().bytes();
    let whole = framed(&message);
    match name {
        "zero length" => vec![0, 0],
        "response" => framed(&[&message[..2], &[message[2] | 0x80], &message[3..]].concat()),
        // QDCOUNT 2 with one question.
        "malformed" => framed(&[&message[..5], &[2], &message[6..]].concat()),
        "half a message" => {
            if turn == 0 {
                whole[..9].to_vec()
            } else {
                Vec::new()
            }
        }
        "slow bytes" => vec![whole[turn % (whole.len() - 1)]],
        other => panic!("{other}"),
    }
}

/// Raises this process's descriptor limit; while the guard lives, no other test needs as many.
fn many_descriptors(needed: u64) -> MutexGuard<'static, ()> {
    static ONE_TEST: Mutex<()> = Mutex::new(());
    let guard = ONE_TEST.lock().unwrap_or_else(PoisonError::into_inner);
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("a soft limit can be raised");
    assert!(
        limit.maximum.is_none_or(|most| most >= needed),
        "this test needs {needed} descriptors: `ulimit -Hn`"
    );
    guard
}

/// A client's connections, and the longest time until a first query was answered.
fn connect_and_ask(from: [u8; 4], to: SocketAddr, count: usize) -> (Vec<TcpClient>, Duration) {
    let mut slowest = Duration::ZERO;
    let connect = |_| {
        let start = Instant::now();
        let mut client = TcpClient::connect_from(IpAddr::from(from), to);
        assert_eq!(client.ask(&query()).rcode(), "NXDOMAIN");
        slowest = slowest.max(start.elapsed());
        client
    };
    ((0..count).map(connect).collect(), slowest)
}

/// How many of these connections are open and answered.
fn answered(clients: &mut [TcpClient]) -> usize {
    let is_answered = |client: &mut TcpClient| {
        client.send_raw(&framed(&query().bytes())).is_ok()
            && matches!(client.event_within(PATIENCE), TcpEvent::Message(_))
    };
    clients.iter_mut().map(|client| usize::from(is_answered(client))).sum()
}

#[test]
fn twenty_nodes_with_150_connections_each_are_served() {
    let _descriptors = many_descriptors(4_000);
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // The first connections include one-time costs.
    drop(connect_and_ask([127, 0, 99, 1], gate.address(), EACH));
    gate.expect_metrics("no connection", |metrics| metrics.sum("namegate_tcp_connections", &[]) == 0.0);
    let before = memory(&gate);
    let mut slowest = Duration::ZERO;
    let mut nodes: Vec<Vec<TcpClient>> = (1..=NODES)
        .map(|node| {
            let (clients, slow) = connect_and_ask([127, 0, node, 1], gate.address(), EACH);
            slowest = slowest.max(slow);
            clients
        })
        .collect();
    let open = usize::from(NODES) * EACH;
    assert_eq!(gate.metrics().sum("namegate_tcp_connections", &[]) as usize, open);
    let each = memory(&gate).saturating_sub(before) / open;
    let again: usize = nodes.iter_mut().map(|clients| answered(clients)).sum();
    eprintln!(
        "{open} connections of {NODES} clients, slowest first answer {slowest:?}, {each} bytes resident each"
    );
    assert_eq!(again, open);
    assert!(each < 12 * 1024, "an idle connection takes {each} bytes");
    gate.expect_clean_log();
}

/// How often attackers send on each connection: often enough if any message kept it open.
const BUSY: Duration = Duration::from_secs(2);

/// Holds as many connections from one address as possible, by a trick.
fn attack(name: &str, from: [u8; 4], to: SocketAddr, stop: &AtomicBool, opened: &AtomicUsize) {
    let mut held: Vec<(TcpClient, usize)> = Vec::new();
    let mut sent = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if sent.elapsed() > BUSY {
            sent = Instant::now();
            // Connections that were closed for any reason are opened again.
            held.retain_mut(|(client, turn)| {
                *turn += 1;
                !client.is_closed() && client.send_raw(&trick(name, *turn - 1)).is_ok()
            });
        }
        for _ in 0..(MOST_EACH - held.len()).min(50) {
            let mut client = TcpClient::connect_from(IpAddr::from(from), to);
            opened.fetch_add(1, Ordering::Relaxed);
            if client.send_raw(&trick(name, 0)).is_ok() {
                held.push((client, 1));
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn attackers_on_ten_addresses_lock_nobody_out() {
    nodes_are_served_beside(10);
}

#[test]
fn attackers_who_take_all_places_lock_nobody_out() {
    assert!(nodes_are_served_beside(20) > 0.0, "slots are taken from attackers");
}

/// Lets attackers on this many addresses take what they can, then connects nodes; returns how many slots the nodes took
/// from others.
fn nodes_are_served_beside(attackers: u8) -> f64 {
    let _descriptors = many_descriptors(14_000);
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let (stop, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (stop, opened, address) = (&stop, &opened, gate.address());
    scope(|scope| {
        for attacker in 0..attackers {
            let name = TRICKS[usize::from(attacker) % TRICKS.len()];
            scope.spawn(move || attack(name, [127, 9, attacker, 1], address, stop, opened));
        }
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let start = Instant::now();
            while opened.load(Ordering::Relaxed) < usize::from(attackers) * MOST_EACH {
                assert!(start.elapsed() < 6 * PATIENCE, "attackers open {opened:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let start = Instant::now();
            let nodes: Vec<_> = (1..=NODES)
                .map(|node| {
                    scope.spawn(move || {
                        let (mut clients, mut slowest, mut again) = (Vec::new(), Duration::ZERO, 0);
                        // All connections send a query now and then, or they would idle too long on a slow machine.
                        while clients.len() < EACH {
                            let (more, slow) = connect_and_ask([127, 0, node, 1], address, EACH / 6);
                            clients.extend(more);
                            slowest = slowest.max(slow);
                            again = answered(&mut clients);
                            assert_eq!(again, clients.len(), "node {node} lost connections");
                        }
                        (again, slowest, clients)
                    })
                })
                .collect();
            let mut served = Vec::new();
            for node in nodes {
                served.push(node.join().expect("a node is served"));
            }
            let nodes = served;
            let again: usize = nodes.iter().map(|(again, ..)| again).sum();
            let slowest = nodes.iter().map(|(_, slowest, _)| *slowest).max().unwrap_or_default();
            let took = start.elapsed();
            let metrics = gate.metrics();
            eprintln!(
                "{attackers} attackers opened {} connections; {} nodes: {again} of {} connections answer again within {took:?}, \
                 slowest first answer {slowest:?}; open {}, evicted {}, refused {}",
                opened.load(Ordering::Relaxed),
                NODES,
                usize::from(NODES) * EACH,
                metrics.sum("namegate_tcp_connections", &[]),
                metrics.sum("namegate_tcp_connections_evicted_total", &[]),
                metrics.sum("namegate_tcp_connections_refused_total", &[]),
            );
            assert_eq!(again, usize::from(NODES) * EACH);
        }));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    gate.expect_clean_log();
    gate.metrics().sum("namegate_tcp_connections_evicted_total", &[])
}

#[test]
fn new_client_gets_a_connection_at_the_limit() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.tcp_connections = 20");
    for name in TRICKS {
        let mut greedy: Vec<TcpClient> = Vec::new();
        for number in 0..20_u8 {
            let mut client =
                TcpClient::connect_from(IpAddr::from([127, 9, 0, number % 2 + 1]), gate.address());
            client.send_raw(&trick(name, 0)).expect("bytes can be sent");
            greedy.push(client);
        }
        let start = Instant::now();
        let (mut modest, _) = connect_and_ask([127, 0, 0, 7], gate.address(), 5);
        eprintln!("{name}: 5 of 5 answered in {:?}", start.elapsed());
        assert_eq!(answered(&mut modest), 5, "{name}");
        drop((greedy, modest));
        gate.expect_metrics("no connection", |metrics| metrics.sum("namegate_tcp_connections", &[]) == 0.0);
    }
    assert!(gate.metrics().sum("namegate_tcp_connections_evicted_total", &[]) > 0.0);
}

#[test]
fn half_sent_long_messages_are_few_and_others_are_served() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut begun: Vec<TcpClient> = (0..100).map(|_| gate.tcp()).collect();
    for client in &mut begun {
        client.send_raw(&[0xff, 0xff]).expect("a length can be sent");
    }
    let metrics = gate.expect_metrics("connections above 64 to be closed", |metrics| {
        metrics.sum("namegate_dropped_total", &[("reason", "long")]) == 36.0
    });
    assert_eq!(metrics.sum("namegate_tcp_connections", &[]), 64.0);
    assert_eq!(begun.iter().filter(|client| client.is_closed()).count(), 36);
    assert_eq!(gate.tcp().ask(&query()).rcode(), "NXDOMAIN");
}

#[test]
fn only_answered_queries_keep_a_connection() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.tcp_idle_timeout = \"1s\"");
    let open_for = Mutex::new(BTreeMap::new());
    beside(TRICKS.into_iter().chain(["answered"]), |name| {
        let mut client = gate.tcp();
        let start = Instant::now();
        for turn in 0.. {
            let bytes = if name == "answered" { framed(&query().bytes()) } else { trick(name, turn) };
            let sent = client.send_raw(&bytes).is_ok();
            let pause = Instant::now() + Duration::from_millis(200);
            let mut is_closed = !sent;
            while !is_closed && Instant::now() < pause {
                is_closed = client.event_within(Duration::from_millis(20)) == TcpEvent::Closed;
            }
            if is_closed || start.elapsed() > Duration::from_secs(5) {
                break;
            }
        }
        open_for.lock().unwrap().insert(name, start.elapsed());
    });
    let open_for = open_for.into_inner().unwrap();
    eprintln!("{open_for:?}");
    let second = Duration::from_secs(1);
    assert!(open_for["zero length"] < second / 2 && open_for["response"] < second / 2, "{open_for:?}");
    for name in ["malformed", "half a message", "slow bytes"] {
        assert!(open_for[name] > second * 8 / 10 && open_for[name] < second * 4, "{name}: {open_for:?}");
    }
    assert!(open_for["answered"] >= second * 5, "{open_for:?}");
}
