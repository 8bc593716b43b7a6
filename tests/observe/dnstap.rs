//! Tests dnstap: a reader on a Unix socket gets every query and every reply as on the wire.

mod reader;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::metrics::Metrics;
use crate::support::{Gate, Query, Record, Response, Script, ScriptedUpstream, eventually};
use reader::Reader;

/// Names that would break a line, a terminal or a YAML text.
const HOSTILE: [&str; 3] =
    [r"line\010feed.evil.example", r"\027[31mred.evil.example", r#"quote\"and\\backslash.evil.example"#];

fn socket() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("dnstap.sock");
    (directory, path)
}

fn start(upstream: &ScriptedUpstream, socket: &Path) -> Gate {
    let settings = format!(
        "dnstap.socket = \"{}\"\npolicy.deny = [\"*.denied.allowed.example\"]\nserver.identity = \"gate-1\"",
        socket.display()
    );
    Gate::start(upstream, &settings)
}

/// Sends over UDP or TCP; returns query and reply as on the wire.
fn exchange(gate: &Gate, query: &Query, tcp: bool) -> [Vec<u8>; 2] {
    let sent = query.bytes();
    let received = if tcp {
        let mut client = gate.tcp();
        client.send(&sent);
        client.receive()
    } else {
        let client = gate.udp();
        client.send(&sent);
        client.receive()
    };
    [sent, received]
}

/// An answer of about 60,000 octets.
fn long_answer(name: &str) -> Response {
    let text = format!("{name} 300 A 192.0.2.1");
    Response { answers: vec![Record::from_text(&text); 3700], ..Response::default() }
}

/// Waits until a reader is connected.
fn connected(gate: &Gate) {
    gate.expect_metrics("a dnstap reader", |metrics| sum(metrics, "namegate_dnstap_connected") == 1.0);
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.sum(name, &[])
}

#[test]
fn a_reader_gets_what_was_on_the_wire() {
    let (_directory, path) = socket();
    let reader = Reader::listen(&path);
    let upstream = ScriptedUpstream::start();
    upstream.on("long.allowed.example", Script::truncated_then_tcp(long_answer("long.allowed.example")));
    let gate = start(&upstream, &path);
    connected(&gate);
    let allowed = Query::new("ws.allowed.example", "A").edns();
    let mut wanted = Vec::new();
    for (query, tcp, rule) in [
        (allowed.clone(), false, None),
        (allowed, true, None),
        (Query::new("long.allowed.example", "A"), true, None),
        (Query::new("evil.example", "TXT").edns(), false, Some("not_listed")),
        (Query::new("x.denied.allowed.example", "A"), true, Some("*.denied.allowed.example")),
        (Query::new(HOSTILE[0], "A"), false, Some("not_listed")),
    ] {
        wanted.push((exchange(&gate, &query, tcp), if tcp { "TCP" } else { "UDP" }, rule));
        // Each thread has its own queue, so there is no order between threads.
        reader.expect(2 * wanted.len());
    }
    assert!(wanted[2].0[1].len() > 50_000, "a long reply: {}", wanted[2].0[1].len());
    let tapped = reader.expect(2 * wanted.len());
    for (([query, reply], protocol, rule), pair) in wanted.iter().zip(tapped.chunks(2)) {
        for (tapped, kind, message) in
            [(&pair[0], "CLIENT_QUERY", query), (&pair[1], "CLIENT_RESPONSE", reply)]
        {
            assert_eq!((tapped.kind, tapped.protocol), (kind, *protocol));
            assert_eq!(&tapped.message, message, "{kind} differs from what the client saw");
            assert_eq!(tapped.client, [127, 0, 0, 1]);
        }
        assert_eq!(pair[0].rule, None);
        let told = pair[1].rule.as_deref();
        assert!(
            told.is_some() == rule.is_some() && told.unwrap_or_default().contains(rule.unwrap_or_default())
        );
    }
    assert_eq!(tapped.len(), 2 * wanted.len());
    let metrics = gate.metrics();
    assert_eq!(sum(&metrics, "namegate_dnstap_frames_total"), 12.0);
    assert_eq!(sum(&metrics, "namegate_dnstap_lost_total"), 0.0);
    gate.expect_clean_log();
    assert!(gate.terminate().success());
}

#[test]
fn without_a_reader_queries_are_answered_and_frames_counted() {
    let (_directory, path) = socket();
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, &path);
    gate.stderr.expect("dnstap: cannot connect to ");
    for _ in 0..10 {
        gate.ask("evil.example", "A");
    }
    gate.expect_metrics("lost frames", |metrics| sum(metrics, "namegate_dnstap_lost_total") == 20.0);
    let reader = Reader::listen(&path);
    connected(&gate);
    gate.stderr.expect("dnstap: reader connected");
    gate.ask("evil.example", "A");
    assert_eq!(reader.expect(2).len(), 2);
    let told = gate.stderr.all().iter().filter(|line| line.contains("dnstap: cannot connect to ")).count();
    assert_eq!(told, 1, "{:#?}", gate.stderr.all());
}

/// fstrm_capture on `socket`, writing to `file`; killed when dropped.
struct Capture(Child);

impl Capture {
    fn start(socket: &Path, file: &Path) -> Self {
        let child = Command::new("fstrm_capture")
            .args(["-t", "protobuf:dnstap.Dnstap"])
            .arg("-u")
            .arg(socket)
            .arg("-w")
            .arg(file)
            .stderr(Stdio::null())
            .spawn()
            .expect("fstrm_capture is installed");
        eventually("fstrm_capture's socket", || socket.exists().then_some(()));
        Self(child)
    }

    /// Stops it after it has written the rest.
    fn end(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(pid).status().expect("kill runs").success());
        self.0.wait().expect("a child can be waited for");
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The output of dnstap-read for `file`, one document per message.
fn dnstap_read(file: &Path) -> Vec<String> {
    let output = Command::new("dnstap-read").arg("-y").arg(file).output().expect("dnstap-read is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("YAML is UTF-8");
    text.split("---\n").filter(|document| !document.trim().is_empty()).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs fstrm_capture and dnstap-read (Debian packages fstrm-bin and bind9-dnsutils); .ci/run installs them"]
fn common_tools_read_it() {
    let (directory, path) = socket();
    let file = directory.path().join("lookups.fstrm");
    let capture = Capture::start(&path, &file);
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, &path);
    connected(&gate);
    let names = ["ws.allowed.example", "evil.example", HOSTILE[0], HOSTILE[1], HOSTILE[2]];
    // Each thread has its own queue, so there is no order between threads.
    let sent = |count: f64| {
        gate.expect_metrics("frames", |metrics| sum(metrics, "namegate_dnstap_frames_total") == count);
    };
    for (number, name) in (1_u8..).zip(names) {
        gate.ask(name, "A");
        sent(f64::from(2 * number));
    }
    gate.tcp().ask(&Query::new("last.allowed.example", "AAAA"));
    sent(12.0);
    assert!(gate.terminate().success());
    capture.end();
    let documents = dnstap_read(&file);
    assert_eq!(documents.len(), 12, "{}", documents.join("---\n"));
    let asked = names.iter().map(|name| (*name, "A", "UDP")).chain([("last.allowed.example", "AAAA", "TCP")]);
    for ((name, qtype, protocol), pair) in asked.zip(documents.chunks(2)) {
        let rcode = if name.ends_with("allowed.example") { "NOERROR" } else { "NXDOMAIN" };
        for (document, kind, rcode) in [(&pair[0], "QUERY", "NOERROR"), (&pair[1], "RESPONSE", rcode)] {
            for line in [
                "identity: gate-1".to_owned(),
                format!("  type: CLIENT_{kind}"),
                "  socket_family: INET".to_owned(),
                format!("  socket_protocol: {protocol}"),
                "  query_address: \"127.0.0.1\"".to_owned(),
                format!("    status: {rcode}"),
                format!("      - '{name}. IN {qtype}'"),
            ] {
                assert!(
                    document.lines().any(|printed| printed == line),
                    "`{line}` is missing in:\n{document}"
                );
            }
        }
        if rcode == "NOERROR" && qtype == "A" {
            assert!(pair[1].contains("192.0.2.1"), "{}", pair[1]);
        }
    }
}
