//! Tests that closed, broken or full outputs do not stop answers.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::command::binary;
use crate::support::metrics::{Metrics, get};
use crate::support::settings::write_settings;
use crate::support::truth::{self, Outcome};
use crate::support::{Query, ScriptedUpstream, UdpClient, eventually, free_address};

/// Namegate with unreadable outputs, so its address is chosen by the test.
struct Mute {
    child: Child,
    listen: std::net::SocketAddr,
    admin: std::net::SocketAddr,
}

impl Mute {
    fn start(
        upstream: &ScriptedUpstream,
        directory: &Path,
        launcher: &[&str],
        outputs: fn() -> Stdio,
    ) -> Self {
        let (listen, admin) = (free_address(), free_address());
        let settings = format!(
            "server.listen = [\"{listen}\"]\nadmin.listen = \"{admin}\"\nlog.level = \"trace\"\nlog.queries = \"all\""
        );
        let path = write_settings(directory, &[upstream.address()], &settings);
        let binary = binary();
        let mut command: Vec<&std::ffi::OsStr> = launcher.iter().map(std::ffi::OsStr::new).collect();
        command.push(binary.as_os_str());
        let mut gate = Command::new(command[0]);
        gate.args(&command[1..]).arg("--config").arg(path).stdout(outputs()).stderr(outputs());
        let child = gate.spawn().unwrap();
        let mute = Self { child, listen, admin };
        eventually("namegate to answer", || std::net::TcpStream::connect(admin).ok());
        mute
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An output whose reader has closed.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full_disk() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn outputs_that_take_nothing_cost_no_query() {
    let closing: [&str; 4] = ["sh", "-c", "exec \"$@\" >&- 2>&-", "sh"];
    #[allow(clippy::type_complexity, reason = "a table, read once")]
    let cases: [(&str, &[&str], fn() -> Stdio, bool); 3] = [
        ("closed", &closing, Stdio::null, false),
        ("without a reader", &[], unread, true),
        ("on a full disk", &[], full_disk, true),
    ];
    for (case, launcher, outputs, counted) in cases {
        let upstream = ScriptedUpstream::start();
        upstream.by_default(truth::script());
        let directory = tempfile::tempdir().unwrap();
        let mut gate = Mute::start(&upstream, directory.path(), launcher, outputs);
        let client = UdpClient::of(gate.listen);
        for number in 0..100 {
            for (zone, outcome) in [("evil", Outcome::Denied), ("allowed", Outcome::Answered(0))] {
                let name = format!("n{number}.{zone}.example");
                let reply = client.ask(&Query::new(&name, "A").edns());
                assert_eq!(truth::judge(&name, Some(&reply)), outcome, "{case}");
            }
        }
        // Log lines written to a socket by mistake would arrive here.
        assert!(client.receive_within(Duration::from_millis(50)).is_none(), "{case}");
        assert_eq!(get(gate.admin, "/healthz").0, 200, "{case}");
        if counted {
            eventually(&format!("{case}: lost lines counted"), || {
                let metrics = Metrics::fetch(gate.admin);
                let lost = ["errors", "lost"]
                    .map(|what| metrics.sum(&format!("namegate_query_log_{what}_total"), &[]));
                (lost[0] + lost[1] > 0.0).then_some(())
            });
        }
        assert!(
            Command::new("kill").args(["-TERM", &gate.child.id().to_string()]).status().unwrap().success()
        );
        let status = eventually("the exit", || gate.child.try_wait().unwrap());
        assert!(status.success(), "{case}: {status}");
    }
}
