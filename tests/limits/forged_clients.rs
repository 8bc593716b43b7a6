//! Tests floods with forged addresses on the local link, where ARP goes unanswered and replies block send buffers for
//! seconds.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::forge::{datagram, flood};
use crate::support::namespaces::{Namespaces, Place, ip};
use crate::support::{Gate, Query, ScriptedUpstream, UdpClient, eventually};

/// The resolver's and a real client's address on a link with 65,534 addresses.
const RESOLVER: [u8; 4] = [10, 78, 0, 1];
const CLIENT: [u8; 4] = [10, 78, 0, 2];

/// Sets a kernel limit shared by all network namespaces, and restores it when dropped.
struct Sysctl(&'static str, String);

impl Sysctl {
    fn set(path: &'static str, value: &str) -> Self {
        let before = std::fs::read_to_string(path).expect("the kernel reports it");
        std::fs::write(path, value).expect("root is required");
        Self(path, before)
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        drop(std::fs::write(self.0, &self.1));
    }
}

/// How many of `count` queries are answered within a second each; one query every third of a second, every second one
/// for an allowed name.
fn answered(client: &UdpClient, count: usize) -> usize {
    let ask = |number: usize| {
        let (name, wanted) =
            if number.is_multiple_of(2) { ("evil.example", 3) } else { ("true.allowed.example", 0) };
        let start = Instant::now();
        let query = Query { id: number as u16, ..Query::new(name, "A") };
        client.send(&query.bytes());
        let is_right = loop {
            match client.receive_within(Duration::from_secs(1).saturating_sub(start.elapsed())) {
                Some(reply) if reply[..2] == query.id.to_be_bytes() => break reply[3] & 0x0f == wanted,
                Some(_) => {}
                None => break false,
            }
        };
        sleep(Duration::from_millis(333).saturating_sub(start.elapsed()));
        is_right
    };
    (1..=count).filter(|number| ask(*number)).count()
}

fn true_clients_are_answered(name: &str, rate: u32, senders: usize, wmem_max: Option<&str>) {
    let _limit = wmem_max.map(|value| Sysctl::set("/proc/sys/net/core/wmem_max", value));
    let namespaces = Namespaces::new(name);
    namespaces.add_address(Place::Gate, "c", "10.78.0.1/16");
    namespaces.add_address(Place::Client, "c", "10.78.0.2/16");
    let upstream =
        namespaces.within(Place::Upstream, || ScriptedUpstream::start_on(ip(Namespaces::UPSTREAM)));
    let [a, b, c, d] = RESOLVER;
    let settings = format!("server.listen = [\"{a}.{b}.{c}.{d}:0\"]");
    let gate = namespaces.within(Place::Gate, || Gate::with_upstreams(&[upstream.address()], &settings));
    let SocketAddr::V4(address) = gate.address() else { panic!("an IPv4 address") };
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let forge = |number: usize| {
        let host = 256 + (number * 40_503) % senders;
        let source = Ipv4Addr::new(10, 78, (host >> 8) as u8, host as u8);
        let name = if number.is_multiple_of(2) { "evil.example" } else { "n1.allowed.example" };
        let from = SocketAddrV4::new(source, 1024 + (number % 60_000) as u16);
        Some(datagram(from, address, &Query::new(name, "A").bytes()))
    };
    let (during, after) = namespaces.within(Place::Client, || {
        let client = UdpClient::from(ip(CLIENT), gate.address());
        assert_eq!(answered(&client, 2), 2, "before");
        scope(|scope| {
            let flooding = scope.spawn(|| {
                // A thread inherits the namespace of its parent.
                flood(*address.ip(), rate, &stop, &sent, forge);
            });
            let during = answered(&client, 30);
            stop.store(true, Ordering::Relaxed);
            flooding.join().expect("the flood ends");
            (during, answered(&client, 30))
        })
    });
    let metrics = namespaces.within(Place::Gate, || gate.metrics());
    let drops = |reason| metrics.sum("namegate_udp_send_drops_total", &[("reason", reason)]);
    eprintln!(
        "{rate}/s from {senders} forged addresses, {} sent: {during} of 30 answered during, {after} of 30 after; \
         dropped: {} buffer full, {} refused, {} not received",
        sent.load(Ordering::Relaxed),
        drops("buffer_full"),
        drops("refused"),
        metrics.sum("namegate_udp_receive_drops_total", &[]),
    );
    assert!(during >= 29 && after == 30, "{during} during, {after} after");
    // It shuts down at once, even while replies wait for addresses that do not exist.
    stop.store(false, Ordering::Relaxed);
    let took = namespaces.within(Place::Client, || {
        scope(|scope| {
            scope.spawn(|| flood(*address.ip(), rate, &stop, &sent, forge));
            sleep(Duration::from_secs(1));
            let start = Instant::now();
            gate.signal("TERM");
            gate.wait();
            stop.store(true, Ordering::Relaxed);
            start.elapsed()
        })
    });
    eprintln!("it ended within {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
#[ignore = "makes network namespaces and forges packets, which takes root and iproute2; .ci/run runs it"]
fn forged_neighbours_at_2000_a_second_stop_nobody() {
    true_clients_are_answered("arp2", 2_000, 65_000, None);
}

#[test]
#[ignore = "makes network namespaces and forges packets, which takes root and iproute2; .ci/run runs it"]
fn forged_neighbours_at_20000_a_second_stop_nobody() {
    true_clients_are_answered("arp20", 20_000, 65_000, None);
}

/// The limit of kernels before 6.18: a send buffer of 208 KiB.
#[test]
#[ignore = "makes network namespaces and forges packets, which takes root and iproute2; .ci/run runs it"]
fn forged_neighbours_fill_no_small_send_buffers() {
    true_clients_are_answered("arpsmall", 20_000, 65_000, Some("212992"));
}

/// The watchdog detects a worker that cannot send any reply, and `/readyz` reports it.
#[test]
#[ignore = "makes network namespaces and forges packets, which takes root and iproute2; .ci/run runs it"]
fn a_worker_that_cannot_send_is_not_ready() {
    // The smallest possible buffer, so that a few forged addresses fill all of a worker's.
    let _limit = Sysctl::set("/proc/sys/net/core/wmem_max", "4608");
    let namespaces = Namespaces::new("arpfull");
    namespaces.add_address(Place::Gate, "c", "10.78.0.1/16");
    namespaces.add_address(Place::Client, "c", "10.78.0.2/16");
    let upstream =
        namespaces.within(Place::Upstream, || ScriptedUpstream::start_on(ip(Namespaces::UPSTREAM)));
    let settings = "server = { listen = [\"10.78.0.1:0\"], workers = 1 }";
    let gate = namespaces.within(Place::Gate, || Gate::with_upstreams(&[upstream.address()], settings));
    let SocketAddr::V4(address) = gate.address() else { panic!("an IPv4 address") };
    let ready = || namespaces.within(Place::Gate, || gate.get("/readyz"));
    eventually("the first probe to be answered", || (ready().0 == 200).then_some(()));
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    namespaces.within(Place::Client, || {
        scope(|scope| {
            scope.spawn(|| {
                flood(*address.ip(), 20_000, &stop, &sent, |number| {
                    let source = Ipv4Addr::new(10, 78, 1 + (number % 200) as u8, number as u8);
                    Some(datagram(
                        SocketAddrV4::new(source, 5000),
                        address,
                        &Query::new("evil.example", "A").bytes(),
                    ))
                });
            });
            let reason = eventually("a reason", || Some(ready()).filter(|(status, _)| *status == 503));
            stop.store(true, Ordering::Relaxed);
            assert!(reason.1.contains("cannot send"), "{reason:?}");
        });
    });
    eventually("readiness after recovery", || (ready().0 == 200).then_some(()));
}
