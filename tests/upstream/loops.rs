//! Tests upstreams that forward queries back to namegate.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::{Gate, Query, ScriptedUpstream, beside, eventually};

/// A resolver that forwards every datagram to one address and relays the replies. Stopped when dropped.
struct Forwarder {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    stopping: Arc<AtomicBool>,
}

impl Forwarder {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
        let address = socket.local_addr().expect("an address");
        let (target, stopping) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (towards, stop) = (Arc::clone(&target), Arc::clone(&stopping));
        thread::spawn(move || {
            let mut query = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                let Some(target) = *towards.lock().unwrap() else { continue };
                let (query, socket) = (query[..length].to_vec(), socket.try_clone().expect("a descriptor"));
                thread::spawn(move || relay(&query, client, target, &socket));
            }
        });
        Self { address, target, stopping }
    }

    fn forward_to(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = Some(target);
    }
}

fn relay(query: &[u8], client: SocketAddr, target: SocketAddr, socket: &UdpSocket) {
    let asking = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    asking.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
    asking.connect(target).expect("a UDP socket can be connected");
    let mut reply = [0; 4096];
    if asking.send(query).is_ok()
        && let Ok(length) = asking.recv(&mut reply)
    {
        drop(socket.send_to(&reply[..length], client));
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_loop_is_logged_and_not_ready_until_it_ends() {
    beside(["", "policy.dnssec_ancestors = false", "policy.mode = \"observe\""], |settings| {
        let (forwarder, upstream) = (Forwarder::start(), ScriptedUpstream::start());
        let gate = Gate::with_upstreams(&[forwarder.address], settings);
        forwarder.forward_to(gate.address());
        let name = forwarder.address.to_string();
        gate.stderr
            .expect(&format!("forwarding loop: upstream {name} forwards queries back to this resolver"));
        let (status, text) = gate.get("/readyz");
        assert_eq!(status, 503, "{settings}: {text}");
        assert_eq!(text, format!("not ready: forwarding loop through {name}\n"), "{settings}");
        assert_eq!(gate.metrics().sum("namegate_upstream_up", &[("upstream", &name)]), 0.0, "{settings}");

        forwarder.forward_to(upstream.address());
        eventually("the end of the loop", || (gate.get("/readyz").0 == 200).then_some(()));
        gate.stderr.expect(&format!("upstream {name} no longer forwards queries back to this resolver"));
        assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR", "{settings}");
    });
}

#[test]
fn another_namegate_behind_this_one_is_no_loop() {
    let upstream = ScriptedUpstream::start();
    let second = Gate::start(&upstream, "");
    let first = Gate::with_upstreams(&[second.address()], "");
    assert_eq!(first.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    eventually("readiness of the second process", || (first.get("/readyz").0 == 200).then_some(()));
    // The loop detection query was answered.
    second.stdout.expect(".namegate-loop.arpa type=HINFO");
    first.expect_clean_log();
    assert_eq!(first.get("/readyz").0, 200);
    assert_eq!(first.send(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
}
