//! Tests TCP connections that idle, stall, flood or vanish: others are not affected.

use std::net::TcpStream;
use std::thread::scope;
use std::time::{Duration, Instant};

use crate::support::client::{TcpEvent, framed};
use crate::support::{Gate, Message, PATIENCE, Query, Script, ScriptedUpstream, TcpClient};

/// The shortest possible idle timeout.
const SHORT_IDLE: &str = "server.tcp_idle_timeout = \"1s\"";

fn assert_closed_after_a_second(client: &mut TcpClient, since: Instant) {
    assert_eq!(client.event(), TcpEvent::Closed);
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(800) && took <= Duration::from_secs(3), "closed after {took:?}");
}

#[test]
fn an_idle_connection_is_closed() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, SHORT_IDLE);
    scope(|scope| {
        scope.spawn(|| assert_closed_after_a_second(&mut gate.tcp(), Instant::now()));
        scope.spawn(|| {
            let mut client = gate.tcp();
            client.ask(&Query::new("evil.example", "A"));
            assert_closed_after_a_second(&mut client, Instant::now());
        });
        // Half a message does not keep it open either.
        scope.spawn(|| {
            let mut client = gate.tcp();
            let start = Instant::now();
            client.send_raw(&[0, 40, 1, 2, 3]).expect("bytes can be sent");
            assert_closed_after_a_second(&mut client, start);
        });
    });
    gate.expect_clean_log();
}

#[test]
fn a_trickle_of_bytes_does_not_keep_a_connection_for_ever() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, SHORT_IDLE);
    let mut client = gate.tcp();
    let start = Instant::now();
    let closed = framed(&vec![0x5a; 4000]).iter().any(|byte| {
        std::thread::sleep(Duration::from_millis(50));
        client.send_raw(&[*byte]).is_err() || start.elapsed() > Duration::from_secs(5)
    });
    assert!(closed && start.elapsed() < Duration::from_secs(4), "open after {:?}", start.elapsed());
}

#[test]
fn a_query_in_work_keeps_its_connection() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, &format!("{SHORT_IDLE}\nupstream.deadline = \"2s\""));
    let mut client = gate.tcp();
    client.send(&Query::new("ws.allowed.example", "A").bytes());
    assert_eq!(Message::expect(&client.receive()).rcode(), "SERVFAIL");
}

#[test]
fn connections_are_capped_and_free_again() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.tcp_connections = 3");
    let mut clients: Vec<TcpClient> = (0..3).map(|_| gate.tcp()).collect();
    for client in &mut clients {
        client.ask(&Query::new("evil.example", "A"));
    }
    // The excess connection is closed or waits unanswered; open ones continue, and UDP is not affected.
    let mut refused = gate.tcp();
    drop(refused.send_raw(&framed(&Query::new("evil.example", "A").bytes())));
    let event = refused.event_within(Duration::from_millis(300));
    assert!(matches!(event, TcpEvent::Closed | TcpEvent::Nothing), "{event:?}");
    for client in &mut clients {
        assert_eq!(client.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    }
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    clients.pop();
    crate::support::eventually("a free slot", || {
        let mut client = gate.tcp();
        client.send_raw(&framed(&Query::new("evil.example", "A").bytes())).ok()?;
        matches!(client.event_within(Duration::from_secs(1)), TcpEvent::Message(_)).then_some(())
    });
}

#[test]
fn queries_of_one_connection_are_capped() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, "server.tcp_queries_per_connection = 4\nupstream.deadline = \"1s\"");
    let mut client = gate.tcp();
    for number in 0..20 {
        client.send(&Query::new(&format!("n{number}.allowed.example"), "A").bytes());
    }
    upstream.wait_for("n3.allowed.example", 1);
    std::thread::sleep(Duration::from_millis(100));
    let names: std::collections::HashSet<String> = upstream.asked().into_iter().collect();
    assert!(names.len() <= 4, "{names:?}");
    // Other connections are not delayed.
    assert_eq!(gate.tcp().ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
}

#[test]
fn probes_that_connect_and_leave_write_no_log() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let lines = gate.stderr.all().len();
    for _ in 0..50 {
        drop(TcpStream::connect(gate.address()).expect("a connection"));
    }
    for _ in 0..20 {
        // Closed with unread bytes, which resets the connection.
        let mut client = gate.tcp();
        client.send(&Query::new("evil.example", "A").bytes());
        drop(client);
    }
    assert_eq!(gate.tcp().ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    gate.expect_clean_log();
    assert_eq!(gate.stderr.all().len(), lines, "{:?}", gate.stderr.all());
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, SHORT_IDLE);
    let mut deaf = gate.tcp();
    let query = framed(&Query::new("evil.example", "A").edns().bytes()).repeat(100);
    let writer = std::thread::spawn(move || {
        let start = Instant::now();
        // Ends when namegate stops reading or closes; a blocked write ends with the connection.
        while deaf.send_raw(&query).is_ok() && start.elapsed() < Duration::from_secs(2) {}
    });
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(gate.tcp().ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
        assert!(start.elapsed() < Duration::from_secs(2));
        assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
    }
    let start = Instant::now();
    while !writer.is_finished() {
        assert!(start.elapsed() < PATIENCE, "namegate neither reads nor closes");
        std::thread::sleep(Duration::from_millis(20));
    }
    writer.join().expect("the writer ends");
}
