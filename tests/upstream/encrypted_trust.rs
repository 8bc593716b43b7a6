//! Tests that an upstream over TLS, HTTPS or QUIC with the wrong certificate receives no query, and nothing is sent in
//! clear text.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::authority::{Authority, Identity};
use crate::support::command::{Finished, binary, namegate};
use crate::support::encrypted::{Carrier, EncryptedUpstream};
use crate::support::{Gate, eventually};

#[test]
fn unverified_server_gets_no_query() {
    let (trusted, same_name) = (Authority::new(), Authority::new());
    let other = Authority::named("somebody else");
    let (name, roots) = ("certificate not valid for name \"dns.example\"", "set by `upstream.roots`");
    for (case, identity, shown, remedy) in [
        ("another name", trusted.issue(&["other.example"]), name, "after `#`"),
        ("an address for a name", trusted.issue(&["127.0.0.1"]), name, "after `#`"),
        ("another authority", other.issue(&["dns.example"]), "UnknownIssuer", roots),
        ("another authority of the same name", same_name.issue(&["dns.example"]), "BadSignature", roots),
        ("expired", trusted.issue_until(&["dns.example"], 2021), "certificate expired", "renew"),
    ] {
        for carrier in Carrier::ALL {
            let (upstream, eavesdropper) = eventually("a port that is free for both", || {
                let upstream = EncryptedUpstream::start(carrier, &identity);
                upstream.eavesdrop().map(|eavesdropper| (upstream, eavesdropper))
            });
            let address = upstream.address("dns.example");
            let settings =
                format!("[upstream]\nservers = [\"{address}\"]\nroots = \"ca.pem\"\ndeadline = \"1s\"");
            let gate = Gate::with_files(&[], &settings, &[("ca.pem", &trusted.pem())]);
            let reply = gate.ask("ws.allowed.example", "A");
            assert_eq!(
                (reply.rcode().as_str(), reply.ede_codes()),
                ("SERVFAIL", vec![23]),
                "{carrier:?}, {case}"
            );
            for number in 0..5 {
                let reply = gate.ask(&format!("n{number}.allowed.example"), "A");
                assert_eq!(reply.rcode(), "SERVFAIL", "{carrier:?}, {case}");
            }
            let told = gate.stderr.expect(shown);
            for part in [&*address, "as `dns.example`", remedy] {
                assert!(told.contains(part), "{carrier:?}, {case}: `{part}` is not in {told}");
            }
            let times = gate.stderr.all().iter().filter(|line| line.contains("no connection to")).count();
            // Once on its own line, and once more in the line that reports the server as down.
            assert!(times <= 2, "{carrier:?}, {case}: told {times} times:\n{}", gate.stderr.all().join("\n"));
            let labels = [("upstream", &*address), ("result", "network_error")];
            let failed = gate.settled_metrics().sum("namegate_upstream_queries_total", &labels);
            assert!(failed >= 6.0, "{carrier:?}, {case}: {failed}");
            assert!(upstream.queries().is_empty(), "{carrier:?}, {case}");
            eavesdropper.assert_nothing_came();
        }
    }
}

/// Runs `namegate check` with these settings and files, and these certificates as the machine's trusted roots.
fn check(settings: &str, files: &[(&str, &str)], platform: Option<&Path>) -> Finished {
    let directory = TempDir::new().expect("a temporary directory");
    for (path, content) in files.iter().chain([&("namegate.toml", settings)]) {
        std::fs::write(directory.path().join(path), content).expect("a file can be written");
    }
    let Some(platform) = platform else {
        return namegate(directory.path(), &["check", "--config", "namegate.toml"]);
    };
    let output = Command::new(binary())
        .args(["check", "--config", "namegate.toml"])
        .current_dir(directory.path())
        .env("SSL_CERT_FILE", platform)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("the binary runs");
    Finished {
        code: output.status.code().expect("the binary exits"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn roots_that_cannot_be_used_are_refused_with_their_place() {
    let pem = Authority::new().pem();
    let broken = pem.replace("MII", "AAA");
    for (case, roots, reason) in [
        ("no such file", None, "No such file or directory"),
        ("an empty file", Some(""), "the file contains no certificate"),
        ("no PEM", Some("nothing\n"), "the file contains no certificate"),
        ("a broken certificate", Some(&*broken), "certificate 1: "),
        ("cut short", Some(&pem[..pem.len() / 2]), "not a PEM file"),
    ] {
        let settings = "[upstream]\nservers = [\"tls://10.0.0.4#dns.example\"]\nroots = \"ca.pem\"\n";
        let files: Vec<(&str, &str)> = roots.map(|roots| ("ca.pem", roots)).into_iter().collect();
        let refused = check(settings, &files, None).expect_code(1);
        refused.expect_stderr(&[
            "namegate.toml:3:9",
            "`upstream.roots`",
            "ca.pem",
            reason,
            "help: write `platform`",
        ]);
        eprintln!("{case}: refused");
    }
    let settings = "[upstream]\nservers = [\"tls://10.0.0.4#dns.example\"]\nroots = \"ca.pem\"\n";
    check(settings, &[("ca.pem", &pem)], None).expect_code(0);
}

#[test]
fn a_machine_that_trusts_nobody_is_told_what_to_do() {
    let directory = TempDir::new().expect("a temporary directory");
    let (none, some) = (directory.path().join("none.pem"), directory.path().join("some.pem"));
    std::fs::write(&none, "").expect("a file can be written");
    std::fs::write(&some, Authority::new().pem()).expect("a file can be written");
    let encrypted = "[upstream]\nservers = [\"quic://10.0.0.4#dns.example\"]\n";
    let told = ["the system's CA certificates", "help: install the package `ca-certificates`"];
    check(encrypted, &[], Some(&none)).expect_code(1).expect_stderr(&told);
    check(encrypted, &[], Some(&some)).expect_code(0);
    check("[upstream]\nservers = [\"10.0.0.4\"]\n", &[], Some(&none)).expect_code(0);
}

#[test]
fn a_host_name_without_a_bootstrap_resolver_is_refused() {
    let told = ["no bootstrap server to resolve `dns.example`", "help: set `upstream.bootstrap`"];
    let settings = "[upstream]\nservers = [\"10.0.0.4\", \"https://dns.example/dns-query\"]\n";
    check(settings, &[], None).expect_code(1).expect_stderr(&["namegate.toml:2:", told[0], told[1]]);
    let directory = TempDir::new().expect("a temporary directory");
    namegate(directory.path(), &["check", "--upstream", "tls://dns.example"])
        .expect_code(1)
        .expect_stderr(&told);
}

/// A self-signed certificate is its own root, unless it is marked as an authority's, as `openssl req -x509` does.
#[test]
fn self_signed_certificates_work_or_the_remedy_is_told() {
    for (is_authority, rcode) in [(false, "NOERROR"), (true, "SERVFAIL")] {
        let identity = Identity::self_signed(&["dns.example"], is_authority);
        let upstream = EncryptedUpstream::start(Carrier::Tls, &identity);
        let address = upstream.address("dns.example");
        let settings =
            format!("[upstream]\nservers = [\"{address}\"]\nroots = \"ca.pem\"\ndeadline = \"1s\"");
        let (pem, _) = identity.pem();
        let checked = check(&settings, &[("ca.pem", &pem)], None).expect_code(0);
        let gate = Gate::with_files(&[], &settings, &[("ca.pem", &pem)]);
        assert_eq!(gate.ask("ws.allowed.example", "A").rcode(), rcode, "authority: {is_authority}");
        if is_authority {
            let remedy = "-addext basicConstraints=critical,CA:FALSE";
            checked.expect_stderr(&["in `upstream.roots` cannot be used", &address, remedy]);
            gate.stderr.expect(remedy);
        } else {
            assert!(!checked.stderr.contains("in `upstream.roots` cannot be used"), "{}", checked.stderr);
        }
    }
}
