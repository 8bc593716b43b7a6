//! Tests `namegate demo`: its upstream and client roles with a real namegate.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::command::{binary, namegate};
use crate::support::lines::Lines;
use crate::support::{Gate, eventually, free_address};

/// `namegate demo upstream`, killed when dropped.
pub(crate) struct DemoUpstream {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl DemoUpstream {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(binary())
            .args(["demo", "upstream", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let line = Lines::collect(child.stdout.take().expect("stdout is piped")).expect("serving ");
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("no address in `{line}`")) }
    }
}

impl Drop for DemoUpstream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The allowlists that the default settings load.
const ZONES: &str = r#"policy.zones = ["azure-ml", "azure-government", "sign-in", "python", "r"]"#;

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

#[test]
fn traffic_shows_every_kind_of_lookup() {
    let upstream = DemoUpstream::start();
    let gate = Gate::with_upstreams(&[upstream.address], ZONES);
    let server = gate.address().to_string();
    let arguments = ["demo", "traffic", "--server", &server, "--for", "2s", "--rate", "200"];
    let run = namegate(directory().path(), &arguments).expect_code(0);
    assert!(run.stdout.starts_with(&format!("queried {server}: ")), "{}", run.stdout);
    assert!(run.stdout.ends_with(" 0 other, 0 unanswered\n"), "{}", run.stdout);
    let asked: f64 = run.stdout.split(' ').nth(2).and_then(|count| count.parse().ok()).expect("a count");
    assert!((200.0..=410.0).contains(&asked), "{}", run.stdout);
    let metrics = gate.settled_metrics();
    let sum = |name, labels: &[_]| metrics.sum(name, labels);
    assert_eq!(sum("namegate_queries_total", &[]), asked);
    for proto in ["udp", "tcp"] {
        assert!(sum("namegate_queries_total", &[("proto", proto)]) > 5.0, "{proto}");
    }
    let of = |decision, rcode| {
        sum("namegate_responses_total", &[("decision", decision), ("rcode", rcode)]) / asked
    };
    assert!((0.5..0.75).contains(&of("allowed", "noerror")), "{}", metrics.text);
    assert!((0.0..0.05).contains(&of("allowed", "nxdomain")), "{}", metrics.text);
    assert!((0.25..0.45).contains(&of("blocked", "nxdomain")), "{}", metrics.text);
    let blocked = |reason| sum("namegate_blocked_total", &[("reason", reason)]) / asked;
    assert!((0.15..0.35).contains(&blocked("not_listed")), "{}", metrics.text);
    assert!((0.05..0.15).contains(&blocked("noise")), "{}", metrics.text);
    assert!(sum("namegate_cache_hits_total", &[]) > 0.0);
}

#[test]
fn both_roles_obey_sigterm() {
    let mut upstream = DemoUpstream::start();
    let traffic = Command::new(binary())
        .args(["demo", "traffic", "--server", &upstream.address.to_string(), "--rate", "50"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The upstream answers as any server does. SIGTERM works from the first query on.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let terminate = |child: &Child| {
        Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    };
    terminate(&traffic);
    let output = traffic.wait_with_output().expect("the clients exit");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("queried "), "{output:?}");
    terminate(&upstream.child);
    let status = eventually("the exit of the upstream", || {
        upstream.child.try_wait().expect("a child can be waited for")
    });
    assert!(status.success());
}

#[test]
fn what_the_roles_cannot_do_they_say() {
    let run = |arguments: &[&str]| namegate(directory().path(), &[&["demo"], arguments].concat());
    run(&["upstream", "--listen", "0.0.0.0:0"]).expect_code(1).expect_stderr(&["not a loopback address"]);
    run(&["traffic", "--server", "127.0.0.1:notaport"])
        .expect_code(1)
        .expect_stderr(&["cannot find", "--server"]);
    for rate in ["0", "1001", "many"] {
        run(&["traffic", "--rate", rate]).expect_code(2);
    }
    // Nothing answers there; that is reported and is not a failure.
    let closed = free_address();
    let silent = run(&["traffic", "--server", &closed.to_string(), "--for", "100ms"]).expect_code(0);
    assert!(silent.stdout.contains("0 NOERROR, 0 NXDOMAIN, 0 other"), "{}", silent.stdout);
}
