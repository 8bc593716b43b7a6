//! Tests a real upstream: Unbound over TLS and HTTPS.
//!
//! Needs Debian's unbound, so a plain `cargo test` skips it; `.ci/run` installs it and runs these with the release
//! binary.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::authority::Authority;
use crate::support::lines::Lines;
use crate::support::{Gate, PATIENCE, Query, free_address};

/// Unbound on loopback with its own zone, which queries no other server. Killed when dropped.
struct Unbound {
    child: Child,
    tls: u16,
    https: u16,
    _directory: TempDir,
}

impl Unbound {
    fn start(authority: &Authority) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let (certificate, key) = authority.issue(&["dns.example"]).pem();
        let [tls, https] = [(); 2].map(|()| free_address().port());
        let path = directory.path().to_str().expect("a path in UTF-8");
        let config = format!(
            r#"
server:
    interface: 127.0.0.1@{tls}
    interface: 127.0.0.1@{https}
    tls-port: {tls}
    https-port: {https}
    tls-service-pem: "{path}/server.pem"
    tls-service-key: "{path}/server.key"
    directory: "{path}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: ""
    verbosity: 1
    local-zone: "." static
    local-zone: "allowed.example." static
    local-data: "allowed.example. 60 IN SOA ns.allowed.example. hostmaster.allowed.example. 1 3600 900 86400 60"
    local-data: "ws.allowed.example. 60 IN A 192.0.2.7"
    local-data: "ws.allowed.example. 60 IN A 192.0.2.8"
"#
        );
        for (file, content) in [("server.pem", &certificate), ("server.key", &key), ("unbound.conf", &config)]
        {
            std::fs::write(directory.path().join(file), content).expect("a file can be written");
        }
        let mut child = Command::new("/usr/sbin/unbound")
            .args(["-d", "-p", "-c"])
            .arg(directory.path().join("unbound.conf"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("unbound is installed");
        let log = Lines::collect(child.stderr.take().expect("stderr is piped"));
        let unbound = Self { child, tls, https, _directory: directory };
        let started = log.wait(PATIENCE, |line| line.contains("start of service"));
        assert!(started.is_some(), "unbound does not start:\n{}", log.all().join("\n"));
        unbound
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs Unbound (Debian package unbound); .ci/run installs it"]
fn unbound_is_asked_over_tls_and_https() {
    let authority = Authority::new();
    let unbound = Unbound::start(&authority);
    for server in [
        format!("tls://127.0.0.1:{}#dns.example", unbound.tls),
        format!("https://127.0.0.1:{}/dns-query#dns.example", unbound.https),
    ] {
        let settings = format!("[upstream]\nservers = [\"{server}\"]\nroots = \"ca.pem\"");
        let gate = Gate::with_files(&[], &settings, &[("ca.pem", &authority.pem())]);
        let mut addresses = gate.send(&Query::new("ws.allowed.example", "A").dnssec_ok()).answer_data();
        addresses.sort();
        assert_eq!(addresses, ["192.0.2.7", "192.0.2.8"], "{server}");
        let none = gate.ask("none.allowed.example", "A");
        assert_eq!((none.rcode().as_str(), none.authorities.len()), ("NXDOMAIN", 1), "{server}");
        gate.expect_clean_log();
    }
}
