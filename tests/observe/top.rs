//! Tests `namegate top`: its snapshots of a running namegate, and its errors without one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Finished, namegate};
use crate::support::{Gate, Query, ScriptedUpstream, eventually, free_address};

fn top(admin: SocketAddr, arguments: &[&str]) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    top_in(directory.path(), admin, arguments)
}

fn top_in(directory: &Path, admin: SocketAddr, arguments: &[&str]) -> Finished {
    namegate(directory, &[&["top", "--admin", &admin.to_string()], arguments].concat())
}

/// The admin address from namegate's log.
fn admin(gate: &Gate) -> SocketAddr {
    let line = gate.stderr.expect("admin on http://");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.and_then(|address| address.parse().ok()).expect("an address")
}

/// A server that is not namegate and answers every request with `body`, on its own address.
fn impostor(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
        }
    });
    address
}

#[test]
fn a_pipe_gets_one_snapshot() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for _ in 0..3 {
        gate.ask("evil.example", "TXT");
    }
    gate.ask("www.allowed.example", "A");
    let text = eventually("the lookups on the page", || {
        let run = top(admin(&gate), &[]).expect_code(0);
        assert_eq!(run.stderr, "");
        Some(run.stdout).filter(|text| text.matches("evil.example").count() == 4)
    });
    assert!(text.starts_with("namegate "), "{text}");
    assert!(text.contains("mode enforce\n"), "{text}");
    assert!(text.contains("\n         3  evil.example\n"), "{text}");
    assert!(text.contains("\n         3  127.0.0.1\n"), "{text}");
    assert!(text.contains("  127.0.0.1        blocked   not_listed  TXT    evil.example"), "{text}");
    assert!(text.contains(&format!("upstream {} up:", upstream.address())), "{text}");
    let once = top(admin(&gate), &["--once"]).expect_code(0).stdout;
    assert_eq!(once.lines().nth(2), text.lines().nth(2));
}

#[test]
fn json_has_the_three_pages() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "policy.mode = \"observe\"");
    gate.ask("evil.example", "A");
    let value = eventually("the lookup on the page", || {
        let run = top(admin(&gate), &["--json"]).expect_code(0);
        let value: Value = serde_json::from_str(&run.stdout).expect("one JSON object");
        Some(value).filter(|value| value["recent"]["lookups"][0]["name"] == "evil.example")
    });
    assert_eq!(value["status"]["policy"]["mode"], "observe");
    assert_eq!(value["status"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["recent"]["lookups"][0]["decision"], "observed");
    assert!(value["top"]["names"].is_array());
    let text = top(admin(&gate), &[]).expect_code(0).stdout;
    assert!(text.contains("mode observe: not enforcing\n"), "{text}");
}

#[test]
fn hostile_names_arrive_escaped() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    gate.send(&Query::new(r"\027[2J\226\128\174.evil.example", "A"));
    let text = eventually("the lookup on the page", || {
        Some(top(admin(&gate), &[]).expect_code(0).stdout).filter(|text| text.contains(".evil.example"))
    });
    assert!(text.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{text:?}");
    assert!(text.contains(r"\027[2j\226\128\174.evil.example"), "{text}");
}

#[test]
fn without_a_gate_it_says_so() {
    let closed = free_address();
    for arguments in [&[][..], &["--once"], &["--json"]] {
        let run = top(closed, arguments).expect_code(2);
        assert_eq!(run.stdout, "");
        run.expect_stderr(&[&format!("no answer from http://{closed}"), "refused", "--admin"]);
    }
    let directory = TempDir::new().expect("a temporary directory");
    namegate(directory.path(), &["top", "--admin", "off"])
        .expect_code(1)
        .expect_stderr(&["admin listener is off"]);
}

#[test]
fn output_of_other_servers_is_not_printed_raw() {
    for body in ["\u{1b}[2J\u{7}hello", "{\"version\": \"\u{9b}31m\"}", "[]", "{\"version\":\"\\u001b[2J\"}"]
    {
        let run = top(impostor(body), &[]).expect_code(2).expect_stderr(&["is not a page of namegate"]);
        assert!(!run.stderr.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{:?}", run.stderr);
    }
}

#[test]
fn pages_of_an_impostor_are_not_printed_raw() {
    // One object that parses as any of the three pages.
    let body = r#"{
        "version": "1\u001b]0;x\u0007", "started": "", "uptime_seconds": -1e300,
        "policy": {"hash": "\u009b31m", "mode": "\u001b[5m", "rules": 18446744073709551615, "zones": [], "loaded": "",
                   "last_reload_succeeded": true},
        "totals": {"queries": 0, "allowed": 0, "blocked": 18446744073709551615, "noise": 18446744073709551615,
                   "observed": 0, "refused": 0, "errors": 0, "dropped": 0},
        "rates": {"allowed": [18446744073709551615, 18446744073709551615], "blocked": [], "errors": [], "other": [1]},
        "cache": {"entries": 0, "bytes": 0, "max_bytes": 0, "hits": 18446744073709551615, "misses": 1},
        "upstreams": [], "log_lost": 0, "ready": true,
        "problems": [{"kind": "servfail", "severity": "error\u001b", "message": "a\u001b[2Jb"}],
        "window_seconds": 18446744073709551615, "names": [{"key": "a\nb\r\u001b[2Jc", "count": 1}], "clients": [],
        "next": 0, "lookups": [{"sequence": 1, "time": "\u0000", "name": "\u202e\u001b[31m", "type": "A",
                                "decision": "blocked", "reason": "noise"}]
    }"#;
    let run = top(impostor(body), &[]).expect_code(0);
    assert!(run.stdout.bytes().all(|byte| byte == b'\n' || (0x20..0x7f).contains(&byte)), "{:?}", run.stdout);
    assert!(run.stdout.contains("a?b??[2Jc") && run.stdout.contains("??[31m"), "{}", run.stdout);
    let run = top(impostor(body), &["--json"]).expect_code(0);
    assert!(run.stdout.is_ascii() && !run.stdout.contains('\u{1b}'), "{:?}", run.stdout);
}
