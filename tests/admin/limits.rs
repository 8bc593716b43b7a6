//! Tests that the admin listener withstands slow and oversized requests, and serves no other site.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::admin::token::{TOKEN, gate_with_token};
use crate::support::http::Http;
use crate::support::{Gate, PATIENCE, ScriptedUpstream};

/// Connections of a slow loris attack: three times the number served at once.
const HALF_OPEN: usize = 200;

/// Sends `bytes` and reads until the connection ends.
fn exchange(server: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).expect("the admin listener accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    // The listener may close before reading everything.
    drop(stream.write_all(bytes));
    let mut reply = Vec::new();
    if let Err(error) = stream.read_to_end(&mut reply) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the connection must end");
    }
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn half_open_requests_give_way_to_whole_ones() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let mut half_open = Vec::new();
    for begun in ["GET / HTTP/1.1\r\nHost: localhost\r\n", "", "G"].into_iter().cycle().take(HALF_OPEN) {
        let mut stream = TcpStream::connect(gate.admin()).expect("the kernel accepts");
        stream.write_all(begun.as_bytes()).expect("half a request can be sent");
        half_open.push(stream);
    }
    for path in ["/healthz", "/metrics", "/api/v1/status"] {
        let asked = Instant::now();
        assert_eq!(gate.get(path).0, 200, "{path}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{path} took {:?}", asked.elapsed());
    }
    assert_eq!(half_open.len(), HALF_OPEN);
    // The first connection was closed to make room; the last is still open.
    let is_open = |stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        matches!((&mut &*stream).read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    assert!(!is_open(&half_open[0]) && is_open(&half_open[HALF_OPEN - 1]));
}

#[test]
fn bodies_that_do_not_come_give_way_to_whole_requests() {
    let gate = Gate::start(&ScriptedUpstream::start(), "requests.enabled = true");
    let heads =
        [("/api/v1/session", "Content-Length: 9"), ("/api/v1/requests", "Transfer-Encoding: chunked")];
    let mut waiting = Vec::new();
    for (path, length) in heads.into_iter().cycle().take(HALF_OPEN) {
        let mut stream = TcpStream::connect(gate.admin()).expect("the kernel accepts");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("a head can be sent");
        waiting.push(stream);
    }
    for path in ["/livez", "/metrics", "/api/v1/status"] {
        let asked = Instant::now();
        assert_eq!(gate.get(path).0, 200, "{path}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{path} took {:?}", asked.elapsed());
    }
    assert_eq!(waiting.len(), HALF_OPEN);
}

#[test]
fn heads_are_bounded() {
    let gate = Gate::start(&ScriptedUpstream::start(), "");
    let request = |headers: &str| {
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")
    };
    let lines = |count| (0..count).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
    for (case, headers, status) in [
        ("8 KiB", format!("X: {}\r\n", "x".repeat(8 * 1024)), "200"),
        ("17 KiB", format!("X: {}\r\n", "x".repeat(17 * 1024)), "431"),
        ("1 MiB", format!("X: {}\r\n", "x".repeat(1024 * 1024)), "431"),
        ("60 headers", lines(60), "200"),
        ("70 headers", lines(70), "431"),
    ] {
        let reply = exchange(gate.admin(), request(&headers).as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{case}: {reply:?}");
    }
    let endless = exchange(gate.admin(), "x".repeat(1024 * 1024).as_bytes());
    assert!(endless.is_empty() || endless.starts_with("HTTP/1.1 4"), "{endless:?}");
    assert_eq!(gate.get("/healthz").0, 200);
}

#[test]
fn another_site_reads_nothing() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "admin.hosts = [\"gate-1.corp.example\"]");
    let status = |host: &str, path: &str| {
        Http::to(gate.admin()).header(&format!("Host: {host}")).send("GET", path, "").status
    };
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/recent"] {
        for host in ["evil.example", "evil.example:9153", "gate-1.corp.example.evil.example", "corp.example"]
        {
            assert_eq!(status(host, path), 403, "{host} {path}");
        }
        for host in ["localhost:9153", "namegate", "127.0.0.1", "[::1]:9153", "Gate-1.Corp.Example:9153"] {
            assert_eq!(status(host, path), 200, "{host} {path}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        assert_ne!(status("probe.evil.example", path), 403, "{path} shows whether namegate is alive");
    }
}

/// Every route of the router, read from its source.
pub(super) fn routes() -> Vec<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/mod.rs");
    let source = std::fs::read_to_string(source).expect("the router's source");
    source.split(".route(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn get_requests_change_nothing() {
    let (_upstream, _directory, gate) = gate_with_token();
    let wish = r#"{"name": "wanted.example", "for": "1h", "reason": "a test"}"#;
    let http = || Http::to(gate.admin()).token(TOKEN);
    assert_eq!(http().json("POST", "/api/v1/allowed", wish).status, 201);
    let state = || {
        let metrics = gate.metrics();
        let allowed = http().send("GET", "/api/v1/allowed", "").body;
        (
            allowed,
            metrics.sum("namegate_policy_reloads_total", &[]),
            metrics.sum("namegate_queries_total", &[]),
        )
    };
    let before = state();
    let routes = routes();
    assert!(routes.len() >= 14 && routes.contains(&"/api/v1/allowed/{pattern}".to_owned()), "{routes:?}");
    for route in &routes {
        for query in ["", "?name=other.example&for=1h&reason=x&after=0"] {
            for method in ["GET", "HEAD"] {
                let path = route.replace("{pattern}", "wanted.example") + query;
                let reply = http().json(method, &path, wish);
                // 403: requests are off.
                assert!(
                    matches!(reply.status, 200 | 400 | 403 | 405 | 503),
                    "{method} {path}: {}",
                    reply.status
                );
            }
        }
    }
    assert_eq!(state(), before);
}
