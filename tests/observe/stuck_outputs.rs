//! Tests that outputs that nobody reads delay neither queries nor shutdown.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::support::command::binary;
use crate::support::metrics::get;
use crate::support::settings::write_settings;
use crate::support::{Query, Script, ScriptedUpstream, TcpClient, UdpClient, eventually, free_address};

/// A full output, and its other end, which must stay open.
fn full() -> (Stdio, UnixStream) {
    let (mut output, reader) = UnixStream::pair().unwrap();
    output.set_nonblocking(true).unwrap();
    let line = [b'x'; 1024];
    while output.write(&line).is_ok_and(|written| written > 0) {}
    assert_eq!(output.write(&line).unwrap_err().kind(), ErrorKind::WouldBlock);
    output.set_nonblocking(false).unwrap();
    (Stdio::from(OwnedFd::from(output)), reader)
}

/// A process on a port that was free a moment ago: its address cannot be read from a stuck standard error.
struct Gate(Child);

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn with_stuck_outputs_everything_is_answered_and_the_end_comes() {
    let upstream = ScriptedUpstream::start();
    let (listen, admin) = (free_address(), free_address());
    let directory = tempfile::tempdir().unwrap();
    let settings =
        format!("server.listen = [\"{listen}\"]\nadmin.listen = \"{admin}\"\nlog.level = \"trace\"");
    let path = write_settings(directory.path(), &[upstream.address()], &settings);
    let ((stdout, _out), (stderr, _err)) = (full(), full());
    let command = Command::new(binary()).arg("--config").arg(path).stdout(stdout).stderr(stderr).spawn();
    let mut gate = Gate(command.unwrap());
    eventually("namegate to answer", || std::net::TcpStream::connect(admin).ok());
    let client = UdpClient::of(listen);
    for number in 0..200 {
        assert_eq!(client.ask(&Query::new(&format!("n{number}.evil.example"), "A")).rcode(), "NXDOMAIN");
    }
    // The log on standard error reports that the upstream goes down and comes back.
    upstream.by_default(Script::silent());
    upstream.ignore_probes();
    client.send(&Query::new("silent.allowed.example", "A").bytes());
    let mut tcp = TcpClient::connect(listen);
    assert_eq!(tcp.ask(&Query::new("evil.example", "A")).rcode(), "NXDOMAIN");
    assert_eq!(get(admin, "/healthz").0, 200);
    assert!(Command::new("kill").args(["-TERM", &gate.0.id().to_string()]).status().unwrap().success());
    let status = eventually("the exit", || gate.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
