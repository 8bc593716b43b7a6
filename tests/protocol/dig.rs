//! Tests the binary with real dig, over UDP and TCP.
//!
//! Needs Debian's bind9-dnsutils, so a plain `cargo test` skips it; `.ci/run` installs it and runs these with the
//! release binary.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::{Gate, Response, Script, ScriptedUpstream};

const CHAIN: [&str; 3] = [
    "ws.allowed.example 60 CNAME ws.privatelink.allowed.example",
    "ws.privatelink.allowed.example 50 CNAME edge.elsewhere.example",
    "edge.elsewhere.example 40 A 10.1.2.3",
];

/// Runs dig against `gate` and returns its output.
fn dig(gate: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("dig")
        .arg(format!("@{}", gate.ip()))
        .args(["-p", &gate.port().to_string(), "+time=5", "+tries=1"])
        .args(arguments)
        .output()
        .expect("dig is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("$ dig {}\n{text}", arguments.join(" "));
    text
}

fn assert_says(text: &str, parts: &[&str]) {
    let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(spaced.contains(part), "`{part}` is missing in:\n{text}");
    }
}

fn start(listen: &str) -> (ScriptedUpstream, Gate) {
    let upstream = ScriptedUpstream::start();
    upstream.on("ws.allowed.example", Script::reply(Response::answering(&CHAIN)));
    let settings = format!("[server]\nlisten = [\"{listen}\"]\nidentity = \"gate-1\"");
    let gate = Gate::start(&upstream, &settings);
    (upstream, gate)
}

#[test]
#[ignore = "needs dig (Debian package bind9-dnsutils); .ci/run installs it"]
fn an_allowed_name_is_answered_whole() {
    let (upstream, gate) = start("127.0.0.1:0");
    let chain = [
        "status: NOERROR",
        "flags: qr rd ra;",
        "ANSWER: 3",
        "ws.allowed.example. 60 IN CNAME ws.privatelink.allowed.example.",
        "edge.elsewhere.example. 40 IN A 10.1.2.3",
    ];
    assert_says(&dig(gate.address(), &["ws.allowed.example"]), &chain);
    let cached = ["status: NOERROR", "flags: qr rd ra;", "ANSWER: 3", "edge.elsewhere.example."];
    assert_says(&dig(gate.address(), &["+tcp", "ws.allowed.example"]), &cached);
    assert_says(
        &dig(gate.address(), &["+noedns", "ws.allowed.example"]),
        &["status: NOERROR", "ADDITIONAL: 0"],
    );
    assert_says(
        &dig(gate.address(), &["+dnssec", "ws.allowed.example"]),
        &["status: NOERROR", "flags: do; udp: 1232"],
    );
    // A question with DO is a different one; the rest came from the cache.
    assert_eq!(upstream.asked(), ["ws.allowed.example A", "ws.allowed.example A"]);
}

#[test]
#[ignore = "needs dig (Debian package bind9-dnsutils); .ci/run installs it"]
fn a_blocked_name_says_why() {
    let (upstream, gate) = start("127.0.0.1:0");
    let blocked = [
        "status: NXDOMAIN",
        "flags: qr rd ra;",
        "SOA namegate.invalid. hostmaster.invalid.",
        "EDE: 15 (Blocked): (not on the allowlist)",
    ];
    for transport in ["+notcp", "+tcp"] {
        assert_says(&dig(gate.address(), &[transport, "exfiltrate.example.com", "TXT"]), &blocked);
    }
    let bare = dig(gate.address(), &["+noedns", "exfiltrate.example.com"]);
    assert_says(&bare, &["status: NXDOMAIN", "ADDITIONAL: 0"]);
    assert!(upstream.asked().is_empty());
}

#[test]
#[ignore = "needs dig (Debian package bind9-dnsutils); .ci/run installs it"]
fn what_is_not_forwarded_is_refused() {
    let (upstream, gate) = start("127.0.0.1:0");
    assert_says(&dig(gate.address(), &["CH", "TXT", "id.server"]), &["status: NOERROR", "\"gate-1\""]);
    assert_says(&dig(gate.address(), &["CH", "TXT", "version.bind"]), &["status: REFUSED"]);
    assert_says(&dig(gate.address(), &["AXFR", "allowed.example"]), &["Transfer failed."]);
    assert_says(&dig(gate.address(), &["+notcp", "ANY", "allowed.example"]), &["HINFO \"RFC8482\" \"\""]);
    let notify = dig(gate.address(), &["+opcode=notify", "allowed.example"]);
    assert_says(
        &notify,
        &["status: NOTIMP", "flags: qr rd; QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0"],
    );
    let future = dig(gate.address(), &["+edns=1", "+noednsnegotiation", "allowed.example"]);
    assert_says(&future, &["status: BADVERS"]);
    assert_says(&dig(gate.address(), &["+norecurse", "cold.allowed.example"]), &["status: REFUSED"]);
    assert!(upstream.asked().is_empty());
}

#[test]
#[ignore = "needs dig (Debian package bind9-dnsutils); .ci/run installs it"]
fn it_answers_over_ipv6() {
    let (upstream, gate) = start("[::1]:0");
    assert_says(&dig(gate.address(), &["-6", "ws.allowed.example"]), &["status: NOERROR", "ANSWER: 3"]);
    assert_says(&dig(gate.address(), &["-6", "+tcp", "ws.blocked.example"]), &["status: NXDOMAIN"]);
    assert_eq!(upstream.asked(), ["ws.allowed.example A"]);
}
