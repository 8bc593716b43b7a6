//! Tests shutdown and takeover: pending queries are answered, and a second process takes over without losing a query.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::support::client::{TcpEvent, framed};
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, TcpClient, UdpClient};

fn late(millis: u64) -> Script {
    Script::late(Duration::from_millis(millis), Response::answering(&["ws.allowed.example 60 A 192.0.2.9"]))
}

#[test]
fn what_is_in_flight_is_answered_over_both_transports() {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", late(600));
    let gate = Gate::start(&upstream, "");
    let (udp, mut tcp) = (gate.udp(), gate.tcp());
    udp.send(&Query::new("ws.allowed.example", "A").bytes());
    tcp.send(&Query::new("ws.allowed.example", "A").bytes());
    upstream.wait_for("ws.allowed.example", 1);
    let ended = scope(|scope| {
        let ending = scope.spawn(|| gate.terminate());
        assert_eq!(Message::expect(&udp.receive()).answer_data(), ["192.0.2.9"]);
        assert_eq!(Message::expect(&tcp.receive()).answer_data(), ["192.0.2.9"]);
        assert_eq!(tcp.event(), TcpEvent::Closed);
        ending.join().expect("namegate exits")
    });
    assert!(ended.success());
}

#[test]
fn queries_sent_before_the_signal_are_answered() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    // A stopped process reads nothing: all of this waits in the kernel when the signal comes.
    let (udp, mut tcp) = (gate.udp(), gate.tcp());
    assert_eq!(tcp.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    gate.signal("STOP");
    for _ in 0..50 {
        udp.send(&Query::new("evil.example", "A").bytes());
        tcp.send(&Query::new("evil.example", "A").bytes());
    }
    let mut fresh: Vec<TcpClient> = (0..10).map(|_| gate.tcp()).collect();
    fresh.iter_mut().for_each(|client| client.send(&Query::new("evil.example", "A").bytes()));
    gate.signal("TERM");
    gate.signal("CONT");
    (0..50).for_each(|_| drop((udp.receive(), tcp.receive())));
    fresh.iter_mut().for_each(|client| drop(client.receive()));
    assert!(gate.wait().success());
}

#[test]
fn queries_during_shutdown_are_rejected_at_once() {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", late(1000));
    let gate = Gate::start(&upstream, "");
    let waiting = gate.udp();
    waiting.send(&Query::new("ws.allowed.example", "A").bytes());
    upstream.wait_for("ws.allowed.example", 1);
    let address = gate.address();
    scope(|scope| {
        scope.spawn(|| gate.terminate());
        sleep(Duration::from_millis(400));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(address).expect("an address");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        socket.send(&Query::new("evil.example", "A").bytes()).expect("the first datagram is sent");
        let error = socket.recv(&mut [0; 512]).expect_err("nobody answers");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Message::expect(&waiting.receive()).answer_data(), ["192.0.2.9"]);
    });
}

#[test]
fn background_query_does_not_delay_shutdown() {
    let upstream = ScriptedUpstream::start();
    let answer = Script::reply(Response::answering(&["ws.allowed.example 4 A 192.0.2.1"]));
    upstream.on_each("ws.allowed.example", vec![answer, Script::silent()]);
    let gate = Gate::start(&upstream, "upstream.deadline = \"30s\"");
    let started = Instant::now();
    while upstream.count("ws.allowed.example") < 2 {
        assert!(started.elapsed() < Duration::from_secs(10), "it is prefetched before it expires");
        gate.ask("ws.allowed.example", "A");
        sleep(Duration::from_millis(50));
    }
    let told = Instant::now();
    assert!(gate.terminate().success());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}

#[test]
fn signals_common_for_other_servers_end_nothing() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for signal in ["USR1", "USR2", "USR1", "PIPE"] {
        gate.signal(signal);
        assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), "NOERROR", "{signal}");
    }
    assert_eq!(gate.metrics().sum("namegate_policy_reloads_total", &[]), 0.0);
    assert!(gate.terminate().success());
}

#[test]
fn half_a_message_does_not_hold_the_end_up() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut stuck = gate.tcp();
    stuck.send_raw(&[0, 40, 1, 2, 3]).expect("bytes can be sent");
    let chatty = gate.tcp();
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        scope.spawn(|| {
            let mut chatty = chatty;
            let query = framed(&Query::new("evil.example", "A").bytes());
            while !is_over.load(Ordering::Relaxed) && chatty.send_raw(&query).is_ok() {
                chatty.event_within(Duration::from_millis(5));
            }
        });
        sleep(Duration::from_millis(50));
        let start = Instant::now();
        assert!(gate.terminate().success());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        is_over.store(true, Ordering::Relaxed);
    });
}

/// What a client that queries all the time saw.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    asked_again: usize,
    lost: usize,
}

/// Queries over UDP, one after the other, each from a new port, so that it may reach either process.
fn ask_over_udp(address: std::net::SocketAddr, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let client = UdpClient::of(address);
        let name = if seen.asked.is_multiple_of(2) { "evil.example" } else { "ws.allowed.example" };
        client.send(&Query::new(name, "A").bytes());
        seen.asked += 1;
        seen.lost += usize::from(client.receive_within(Duration::from_secs(3)).is_none());
        sleep(Duration::from_micros(200));
    }
    seen
}

/// Opens a connection for each query, and retries once if it ends without a reply, as every client does (RFC 7766
/// section 6.2.4): between connecting and sending, the process may have ended.
fn ask_over_tcp(address: std::net::SocketAddr, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !is_over.load(Ordering::Relaxed) {
        let is_answered = || {
            let mut client = TcpClient::connect(address);
            let sent = client.send_raw(&framed(&Query::new("evil.example", "A").bytes()));
            sent.is_ok() && matches!(client.event(), TcpEvent::Message(_))
        };
        seen.asked += 1;
        if !is_answered() {
            seen.asked_again += 1;
            seen.lost += usize::from(!is_answered());
        }
    }
    seen
}

#[test]
fn second_process_takes_over_without_loss() {
    let upstream = ScriptedUpstream::start();
    let first = Gate::start(&upstream, "server.reuse_port = true");
    let address = first.address();
    let settings = format!("server = {{ reuse_port = true, listen = [\"{address}\"] }}");
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        let udp: Vec<_> = (0..3).map(|_| scope.spawn(|| ask_over_udp(address, &is_over))).collect();
        let tcp = scope.spawn(|| ask_over_tcp(address, &is_over));
        let mut running = first;
        for _ in 0..3 {
            sleep(Duration::from_millis(300));
            let next = Gate::start(&upstream, &settings);
            sleep(Duration::from_millis(200));
            assert!(running.terminate().success());
            running = next;
        }
        sleep(Duration::from_millis(300));
        is_over.store(true, Ordering::Relaxed);
        let seen = udp.into_iter().map(|client| client.join().expect("a client ends"));
        let (asked, lost) = seen.fold((0, 0), |(asked, lost), seen| (asked + seen.asked, lost + seen.lost));
        let tcp = tcp.join().expect("a client ends");
        assert!(asked > 1000 && tcp.asked > 100, "{asked} {tcp:?}");
        assert_eq!((lost, tcp.lost), (0, 0), "of {asked} over UDP and {} over TCP", tcp.asked);
        assert!(tcp.asked_again * 100 <= tcp.asked, "{tcp:?}");
    });
}

#[test]
fn without_it_a_second_gate_is_refused_with_a_remedy() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let directory = tempfile::TempDir::new().expect("a directory");
    let settings = format!("server.listen = [\"{}\"]", gate.address());
    let path = crate::support::settings::write_settings(directory.path(), &[upstream.address()], &settings);
    let output = std::process::Command::new(crate::support::command::binary())
        .args(["serve", "--config"])
        .arg(path)
        .output()
        .expect("the binary starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success()
            && told.contains("): Address already in use (os error 98): namegate (pid ")
            && told.contains("reuse_port"),
        "{told}"
    );
}
