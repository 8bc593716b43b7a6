//! Tests sockets passed by systemd's protocol (sd_listen_fds(3)), which outlive the process.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

use crate::support::command::binary;
use crate::support::gate::Reload;
use crate::support::metrics::get;
use crate::support::settings::write_settings;
use crate::support::{
    Gate, Message, Query, ScriptedUpstream, TcpClient, UdpClient, eventually, free_address,
};

/// A shell with sockets as its standard input and output, which execs namegate with them as descriptors from 3.
const SHELL: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// One loopback port for UDP and TCP.
fn pair() -> (UdpSocket, TcpListener) {
    let pair = || {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        Some((UdpSocket::bind(tcp.local_addr().ok()?).ok()?, tcp))
    };
    (0..16).find_map(|_| pair()).expect("a port that is free for both")
}

/// Changes `command` to pass `sockets`, at most two.
fn hand_over(command: &mut Command, names: &str, sockets: Vec<OwnedFd>) {
    let mut shell = Command::new("sh");
    shell.args(["-c", SHELL]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().expect("a directory is set"));
    shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mut sockets = sockets.into_iter();
    shell.stdin(sockets.next().map_or_else(Stdio::null, Stdio::from));
    shell.stdout(sockets.next().map_or_else(Stdio::null, Stdio::from)).stderr(Stdio::piped());
    *command = shell;
}

fn start(upstream: &ScriptedUpstream, settings: &str, udp: &UdpSocket, tcp: &TcpListener) -> Gate {
    let sockets = vec![
        udp.try_clone().expect("a socket can be shared").into(),
        tcp.try_clone().expect("a socket can be shared").into(),
    ];
    Gate::launched(&[upstream.address()], settings, &[], |command| hand_over(command, "dns:dns", sockets))
}

#[test]
fn what_is_sent_while_no_gate_runs_is_answered_by_the_next() {
    let upstream = ScriptedUpstream::start();
    let (udp, tcp) = pair();
    let address = udp.local_addr().expect("an address");
    let first = start(&upstream, "server.listen = [\"127.0.0.1:53\"]", &udp, &tcp);
    assert_eq!(first.addresses(), [address], "the settings' address is no longer used");
    assert_eq!(first.ask("ws.allowed.example", "A").rcode(), "NOERROR");
    assert_eq!(first.tcp().ask(&Query::new("blocked.example", "A")).rcode(), "NXDOMAIN");
    first.reload();
    assert!(first.terminate().success());

    let (by_udp, query) = (UdpClient::of(address), Query::new("between.allowed.example", "A"));
    by_udp.send(&query.bytes());
    let mut by_tcp = TcpClient::connect(address);
    by_tcp.send(&Query::new("blocked.example", "A").bytes());
    let second = start(&upstream, "", &udp, &tcp);
    assert_eq!(Message::expect(&by_udp.receive()).rcode(), "NOERROR");
    assert_eq!(Message::expect(&by_tcp.receive()).rcode(), "NXDOMAIN");
    assert_eq!(upstream.asked(), ["ws.allowed.example A", "between.allowed.example A"]);
    second.expect_clean_log();
}

#[test]
fn all_workers_share_a_socket() {
    let upstream = ScriptedUpstream::start();
    let (udp, tcp) = pair();
    let gate = start(&upstream, "server.workers = 3", &udp, &tcp);
    // A thread sets its own name.
    eventually("three workers", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gate.pid())).expect("threads");
        let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        (names.filter(|name| name.starts_with("udp-")).count() == 3).then_some(())
    });
    for number in 0..50 {
        let name = format!("n{number}.blocked.example");
        assert_eq!(gate.ask(&name, "A").rcode(), "NXDOMAIN");
    }
    assert_eq!(gate.reload(), Reload::Success);
    gate.expect_clean_log();
}

#[test]
fn a_socket_called_admin_is_the_admin_listeners() {
    let upstream = ScriptedUpstream::start();
    let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = admin.local_addr().expect("an address");
    let gate = Gate::launched(&[upstream.address()], "admin.listen = \"\"", &[], |command| {
        hand_over(command, "admin", vec![admin.into()]);
    });
    assert_eq!(gate.admin(), address);
    assert_eq!(gate.get("/healthz").0, 200);
    assert_ne!(gate.address(), address, "queries are answered on the address in the settings");
    assert_eq!(gate.ask("blocked.example", "A").rcode(), "NXDOMAIN");
}

/// The error of a process that gets `sockets` and exits with 1.
fn refusal(names: &str, sockets: Vec<OwnedFd>, upstream: std::net::SocketAddr) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let settings = write_settings(directory.path(), &[upstream], "");
    let mut command = Command::new(binary());
    command.args(["serve", "--config"]).arg(settings).current_dir(directory.path());
    hand_over(&mut command, names, sockets);
    let run = command.output().expect("the binary runs");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{told}");
    told
}

#[test]
fn what_cannot_be_used_is_refused_with_a_remedy() {
    let nowhere = "127.0.0.1:53535".parse().expect("an address");
    let (udp, tcp) = pair();
    let idle = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let (both, _) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let cases: [(&str, &str, OwnedFd, &[&str]); 6] = [
        (
            "UDP alone",
            "",
            udp.into(),
            &["sockets for 127.0.0.1:", "the TCP socket is missing", "help: list each address twice"],
        ),
        (
            "TCP alone",
            "dns",
            tcp.into(),
            &["the UDP socket is missing", "`ListenDatagram=` and with `ListenStream=`"],
        ),
        (
            "not listening",
            "x",
            idle.into(),
            &["descriptor 0 (`x`)", "does not listen", "help: set `ListenDatagram=`"],
        ),
        ("a file", "", File::open("/dev/null").expect("a file").into(), &["descriptor 0", "not a socket"]),
        ("another family", "", both.into(), &["not a valid tcp socket", "help: "]),
        (
            "HTTP over UDP",
            "admin",
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket").into(),
            &["(`admin`)", "HTTP is not served over UDP", "help: "],
        ),
    ];
    for (case, names, socket, texts) in cases {
        let told = refusal(names, vec![socket], nowhere);
        for text in texts {
            assert!(told.contains(text), "{case}: `{text}` is not in {told}");
        }
    }
}

#[test]
fn an_upstream_that_is_an_inherited_socket_is_refused() {
    let (udp, tcp) = pair();
    let own = udp.local_addr().expect("an address");
    let told = refusal("dns:dns", vec![udp.into(), tcp.into()], own);
    assert!(told.contains(&own.to_string()) && told.contains("this resolver"), "{told}");
}

#[test]
fn what_is_meant_for_another_process_is_left_alone() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::launched(&[upstream.address()], "", &[], |command| {
        command.env("LISTEN_PID", "1").env("LISTEN_FDS", "2");
    });
    assert_eq!(gate.ask("blocked.example", "A").rcode(), "NXDOMAIN");
}

#[test]
#[ignore = "needs systemd-socket-activate; .ci/run runs it"]
fn systemd_itself_hands_over_the_admin_listeners_socket() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let nowhere = "127.0.0.1:53535".parse().expect("an address");
    let settings = write_settings(directory.path(), &[nowhere], "admin.listen = \"\"");
    let free = free_address();
    let mut systemd = Command::new("systemd-socket-activate")
        .args(["--listen", &free.to_string(), "--fdname=admin"])
        .arg(binary())
        .args(["serve", "--config"])
        .arg(settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate runs");
    // It execs namegate at the first connection, which waits meanwhile.
    let is_there = eventually("a socket that listens", || std::net::TcpStream::connect(free).ok());
    let (status, body) = get(free, "/healthz");
    drop((is_there, systemd.kill(), systemd.wait()));
    assert_eq!((status, body.as_str()), (200, "ok\n"));
}
