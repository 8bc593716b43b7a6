//! Tests what keeps namegate from starting: `check` finds it too, with the same words.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::{Finished, binary, namegate};
use crate::support::namespaces::{Namespaces, Place};
use crate::support::settings::write_settings;
use crate::support::{Gate, ScriptedUpstream};

/// The errors in a run's standard error, without warnings and notes.
fn errors(run: &Finished) -> Vec<String> {
    let mut errors: Vec<String> = Vec::new();
    let mut is_error = false;
    for line in run.stderr.lines() {
        if !line.starts_with(' ') {
            is_error = line.starts_with("error: ");
        }
        match errors.last_mut() {
            _ if !is_error => {}
            Some(last) if line.starts_with(' ') => *last += line,
            _ => errors.push(line.to_owned()),
        }
    }
    errors
}

/// A fault: settings, and a part of its message.
type Fault = (&'static str, &'static str);

const FAULTS: &[Fault] = &[
    (
        "server.state_directory = \"{dir}/open\"",
        "open (`server.state_directory`): other users can write to it",
    ),
    ("admin.token_file = \"{dir}/nowhere\"", "the token file {dir}/nowhere: No such file"),
    ("cookies = { enabled = true, secret_file = \"{dir}/short\" }", "cookie secrets file {dir}/short"),
    ("log.file = \"{dir}/nowhere/log\"", "cannot write the query log {dir}/nowhere/log: No such file"),
    ("log.file = \"{dir}/open\"", "cannot write the query log {dir}/open: it is a directory"),
    ("dnstap.socket = \"{dir}/short\"", "cannot use the dnstap socket {dir}/short: not a socket"),
    (
        "route = [{ names = [\".corp.example\"], servers = [\"127.0.0.1:1\"] }]\nserver.listen = [\"127.0.0.1:1\"]",
        "this resolver itself",
    ),
    (
        "upstream.roots = \"{dir}/short\"\nupstream.servers = [\"tls://127.0.0.1#a.example\"]",
        "contains no certificate",
    ),
    (
        "server.listen = [\"192.0.2.1:5353\"]",
        "cannot listen on 192.0.2.1:5353 (tcp): Cannot assign requested address",
    ),
    (
        "admin.listen = \"192.0.2.1:5353\"",
        "cannot listen on 192.0.2.1:5353 (http): Cannot assign requested address",
    ),
];

#[test]
fn check_finds_what_keeps_serve_from_starting() {
    for (settings, message) in FAULTS {
        let directory = TempDir::new().expect("a temporary directory");
        let open = directory.path().join("open");
        fs::create_dir(&open).expect("a directory");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its mode");
        fs::write(directory.path().join("short"), "0123\n").expect("a file");
        write_settings(directory.path(), &["127.0.0.1:9".parse().expect("an address")], settings);
        let message = message.replace("{dir}", directory.path().to_str().expect("UTF-8"));
        let run =
            |command| namegate(directory.path(), &[command, "--config", "namegate.toml"]).expect_code(1);
        let (checked, served) = (run("check"), run("serve"));
        checked.clone().expect_stderr(&[&message, "help: "]);
        assert_eq!(errors(&checked), errors(&served), "{settings}");
    }
}

#[test]
fn check_of_files_only_leaves_the_host_out() {
    let directory = TempDir::new().expect("a temporary directory");
    let settings = "server.listen = [\"192.0.2.1:53\"]\nadmin.token_file = \"nowhere\"";
    write_settings(directory.path(), &["127.0.0.1:9".parse().expect("an address")], settings);
    namegate(directory.path(), &["check", "--files-only", "--config", "namegate.toml"]).expect_code(0);
}

#[test]
fn who_uses_the_port_is_named() {
    let upstream = ScriptedUpstream::start();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("its address");
    let directory = TempDir::new().expect("a temporary directory");
    write_settings(directory.path(), &[upstream.address()], &format!("server.listen = [\"{address}\"]"));
    // A process that another test starts has the socket too, until it runs its program.
    let used = format!(") uses {address}");
    for command in ["check", "serve"] {
        namegate(directory.path(), &[command, "--config", "namegate.toml"]).expect_code(1).expect_stderr(&[
            &format!("cannot listen on {address} (tcp)"),
            &used,
            "help: stop ",
        ]);
    }
}

#[test]
fn check_beside_a_running_namegate_succeeds() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let (server, admin) = (gate.address(), gate.admin());
    gate.write_settings(&format!("server.listen = [\"{server}\"]\nadmin.listen = \"{admin}\""));
    let run = namegate(gate.directory(), &["check", "--config", "namegate.toml"]).expect_code(0);
    let used = |purpose, address: SocketAddr| {
        format!(
            "note: cannot listen on {address} ({purpose}): Address already in use (os error 98): namegate (pid {}) uses {address}",
            gate.pid()
        )
    };
    run.expect_stderr(&[&used("tcp", server), &used("http", admin)]);
    assert_eq!(gate.ask("evil.example", "A").rcode(), "NXDOMAIN", "the check took no query");
}

/// As on Ubuntu and Debian, where systemd-resolved listens on 127.0.0.53.
#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn azure_settings_work_beside_systemd_resolved() {
    let namespaces = Namespaces::new("stub");
    let directory = TempDir::new().expect("a temporary directory");
    let stub = directory.path().join("systemd-resolve");
    fs::copy(binary(), &stub).expect("a copy");
    let azure = concat!(env!("CARGO_MANIFEST_DIR"), "/config/azure.toml");
    namespaces.within(Place::Gate, || {
        let mut stub = Command::new(&stub)
            .args(["serve", "--listen", "127.0.0.53:53", "--admin", "off", "--upstream", "127.0.0.1:9"])
            .args(["--config", concat!(env!("CARGO_MANIFEST_DIR"), "/config/namegate.toml")])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the stub starts");
        crate::support::eventually("the stub", || {
            std::net::TcpStream::connect("127.0.0.53:53").is_ok().then_some(())
        });
        let check = |listen| namegate(directory.path(), &["check", "--config", azure, "--listen", listen]);
        let own = SocketAddr::from((Namespaces::GATE, 53)).to_string();
        let (beside, everywhere) = (check(&own), check("0.0.0.0:53"));
        drop(stub.kill());
        drop(stub.wait());
        beside.expect_code(0);
        let used = "systemd-resolved (pid ";
        everywhere.expect_code(1).expect_stderr(&[used, "uses 127.0.0.53:53", "DNSStubListener=no"]);
    });
}
