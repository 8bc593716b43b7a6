//! Regression tests of floods, slow connections and shutdown. Each test is named after the required behaviour.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::client::{TcpEvent, framed};
use crate::support::{
    Gate, Message, PATIENCE, Query, Response, Script, ScriptedUpstream, TcpClient, UdpClient, eventually,
};

/// Time that scheduling may add to a bounded time.
const SLACK: Duration = Duration::from_millis(300);

const ZONE: &str = "\
$ORIGIN corp.example.
$TTL 300
@    IN SOA ns.corp.example. hostmaster.corp.example. 1 7200 900 1209600 60
@    IN NS  ns.corp.example.
ns   IN A   10.0.0.53
www  IN A   10.0.0.80
";

/// One client may use everything, as before per-client limits existed.
const ONE_CLIENT: &str = "server.in_flight_per_client = 1000000";

/// Settings with [`ZONE`] and this upstream deadline.
fn with_zone(deadline: &str) -> String {
    format!(
        "{ONE_CLIENT}\nupstream.deadline = \"{deadline}\"\n[[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\""
    )
}

/// Sends `count` queries for one name that stays silent, slowly enough for namegate's socket buffer.
fn flood(gate: &Gate, count: usize) -> UdpClient {
    let client = gate.udp();
    for number in 0..count {
        client.send(&Query::new("silent.allowed.example", "A").bytes());
        if number % 50 == 49 {
            sleep(Duration::from_millis(1));
        }
    }
    client
}

fn terminate_within(gate: Gate, limit: Duration) {
    let start = Instant::now();
    assert_eq!(gate.terminate().code(), Some(0));
    assert!(start.elapsed() < limit, "ended after {:?}", start.elapsed());
}

fn assert_others_are_answered_during_a_flood_of(count: usize) {
    let upstream = ScriptedUpstream::start();
    upstream.on("silent.allowed.example", Script::silent());
    let gate = Gate::with_files(&[upstream.address()], &with_zone("2s"), &[("corp.zone", ZONE)]);
    let _client = flood(&gate, count);
    for (name, address) in [("ws.allowed.example", "192.0.2.1"), ("www.corp.example", "10.0.0.80")] {
        let (client, query) = (gate.udp(), Query::new(name, "A"));
        let start = Instant::now();
        client.send(&query.bytes());
        let reply = client.receive_within(Duration::from_secs(1));
        let reply = reply.unwrap_or_else(|| panic!("{name} is not answered during a flood of {count}"));
        assert_eq!(Message::expect(&reply).answer_data(), [address], "after {:?}", start.elapsed());
    }
    assert!(upstream.count("silent.allowed.example") <= 3);
    let (queries, outcomes) = gate.settled_metrics().accounting();
    assert_eq!(queries, outcomes);
    assert!(queries >= count as f64 / 2.0, "only {queries} of {count} came through");
}

// Regression: each query waiting for the same answer took a slot that others then lacked.
#[test]
fn two_thousand_queries_for_a_silent_name_hold_nobody_up() {
    assert_others_are_answered_during_a_flood_of(2_000);
}

// As above, with more queries than slots.
#[test]
fn twenty_thousand_queries_for_a_silent_name_hold_nobody_up() {
    assert_others_are_answered_during_a_flood_of(20_000);
}

// Regression: the deadline began when a query's turn came, not when the query arrived.
#[test]
fn waiting_behind_a_flood_is_part_of_the_deadline() {
    let upstream = ScriptedUpstream::start();
    upstream.by_default(Script::silent());
    let gate = Gate::start(&upstream, &format!("{ONE_CLIENT}\nupstream.deadline = \"1s\""));
    let _client = flood(&gate, 12_000);
    let start = Instant::now();
    assert_eq!(gate.ask("other.allowed.example", "A").rcode(), "SERVFAIL");
    assert!(start.elapsed() <= Duration::from_secs(1) + SLACK, "{:?}", start.elapsed());
}

// Regression: shutdown waited for idle connections.
#[test]
fn idle_connections_do_not_delay_the_end() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let (_fresh, mut used) = (gate.tcp(), gate.tcp());
    assert_eq!(used.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    terminate_within(gate, Duration::from_secs(1));
}

// As above, with a message whose rest never comes.
#[test]
fn half_a_message_does_not_delay_the_end() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut client = gate.tcp();
    client.send_raw(&framed(&Query::new("evil.example", "A").bytes()).repeat(2)[..40]).expect("bytes");
    client.receive();
    terminate_within(gate, Duration::from_secs(1));
}

// On shutdown, a connection with a pending reply must be neither cut nor kept open.
#[test]
fn a_query_in_flight_is_answered_before_the_connection_ends() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["slow.allowed.example 60 A 192.0.2.9"]);
    upstream.on("slow.allowed.example", Script::late(Duration::from_millis(500), answer));
    let gate = Gate::start(&upstream, "");
    let mut client = TcpStream::connect(gate.address()).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    client.write_all(&framed(&Query::new("slow.allowed.example", "A").bytes())).expect("a query is sent");
    upstream.wait_for("slow.allowed.example", 1);
    gate.signal("TERM");
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("the connection ends with FIN, and is not reset");
    assert!(received.len() > 2, "the connection ended without the reply");
    assert_eq!(Message::expect(&received[2..]).answer_data(), ["192.0.2.9"]);
    terminate_within(gate, Duration::from_secs(1));
}

// Regression: signals were ignored during a reload.
#[test]
fn a_reload_that_hangs_does_not_keep_the_gate_from_ending() {
    let upstream = ScriptedUpstream::start();
    let zone = "title = \"T\"\nsource = \"S\"\nrevised = 2026-01-01\n[[allow]]\nhost = \"a.example\"\npurpose = \"P\"\n";
    let settings = "policy.zones = [\"own\"]\npolicy.zones_directory = \"{dir}/zones\"";
    let gate = Gate::with_files(&[upstream.address()], settings, &[("zones/own.toml", zone)]);
    let path = gate.directory().join("zones/own.toml");
    fs::remove_file(&path).expect("a file can be removed");
    // Nobody ever writes to it, so reading it never ends.
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
    gate.signal("HUP");
    sleep(Duration::from_millis(200));
    terminate_within(gate, Duration::from_secs(1));
}

// Regression: replies left from the address of the return route, not from the queried one.
#[test]
fn the_address_that_was_asked_answers() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "server.listen = [\"0.0.0.0:0\"]");
    for last in [1, 2, 77] {
        let target = SocketAddr::from(([127, 0, 0, last], gate.address().port()));
        // A connected socket accepts replies only from the address it queried.
        let client = UdpClient::from(IpAddr::from([127, 0, 0, 1]), target);
        let forwarded = format!("n{last}.allowed.example");
        for (name, rcode) in
            [("evil.example", "NXDOMAIN"), (forwarded.as_str(), "NOERROR"), (forwarded.as_str(), "NOERROR")]
        {
            client.send(&Query::new(name, "A").bytes());
            let reply = client.receive_within(Duration::from_secs(1));
            let reply = reply.unwrap_or_else(|| panic!("{target} does not answer for {name}"));
            assert_eq!(Message::expect(&reply).rcode(), rcode);
        }
        assert_eq!(upstream.count(&forwarded), 1, "the second reply is from the cache");
    }
}

/// Resident memory of a process in bytes: `VmRSS` now, or `VmHWM`, the most it ever was.
fn memory(gate: &Gate, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).expect("a process has a status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("a memory line");
    let kibibytes: usize = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("kB");
    kibibytes * 1024
}

// Regression: replies to a client that did not read them were still made and queued.
#[test]
fn clients_that_never_read_take_little_memory() {
    const CONNECTIONS: usize = 20;
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> =
        (0..3_700).map(|n| format!("big.allowed.example 60 A 10.0.{}.{}", n / 250, n % 250)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.on("big.allowed.example", Script::truncated_then_tcp(Response::answering(&records)));
    let gate = Gate::start(&upstream, "");
    assert!(gate.tcp().ask(&Query::new("big.allowed.example", "A")).bytes.len() > 59_000);
    let before = memory(&gate, "VmRSS");
    let mut clients: Vec<TcpClient> = (0..CONNECTIONS).map(|_| gate.tcp()).collect();
    let pipelined = framed(&Query::new("big.allowed.example", "A").bytes()).repeat(400);
    for client in &mut clients {
        client.send_raw(&pipelined).expect("the kernel buffers unread data");
    }
    // Until namegate has stopped reading queries.
    let queries = || gate.metrics().sum("namegate_queries_total", &[]);
    eventually("the clients' queries read", || (queries() > CONNECTIONS as f64).then_some(()));
    eventually("reading to stop", || {
        let count = queries();
        sleep(Duration::from_millis(300));
        (queries() == count).then_some(())
    });
    let grown = memory(&gate, "VmHWM").saturating_sub(before);
    assert!(grown < 20_000_000, "{} MB more", grown / 1_000_000);
    assert_eq!(upstream.count("big.allowed.example"), 2, "queried once over UDP and TCP, then cached");
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN");
}

// Regression: a listener that only waited for a connection held the one slot, and the other listener never accepted.
#[test]
fn one_connection_at_a_time_serves_every_address() {
    let upstream = ScriptedUpstream::start();
    let settings = "server.tcp_connections = 1\nserver.listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]";
    let gate = Gate::start(&upstream, settings);
    let [first, second] = *gate.addresses() else { panic!("{:?}", gate.addresses()) };
    for address in [second, first, first, second, second] {
        // The slot of the previous connection is free a moment after its end.
        eventually(&format!("{address} to answer"), || {
            let mut client = TcpClient::connect(address);
            client.send_raw(&framed(&Query::new("evil.example", "A").bytes())).ok()?;
            matches!(client.event_within(Duration::from_secs(2)), TcpEvent::Message(_)).then_some(())
        });
    }
}
