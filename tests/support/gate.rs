//! [`Gate`]: a namegate process under test, with its own settings.

use std::ffi::OsStr;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::lines::Lines;
use super::message::Message;
use super::metrics::{Metrics, get};
use super::query::Query;
use super::settings::{write, write_settings};
use super::{PATIENCE, ScriptedUpstream, TcpClient, UdpClient, eventually};

/// A running namegate process, killed when dropped.
pub(crate) struct Gate {
    child: Child,
    directory: TempDir,
    upstreams: Vec<SocketAddr>,
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    /// Standard output: the query log.
    pub(crate) stdout: Lines,
    /// Standard error: the operational log.
    pub(crate) stderr: Lines,
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The new settings are in force.
    Success,
    /// The old settings stay in force.
    Failure,
}

impl Gate {
    /// Starts namegate with `upstream`; `settings` is TOML that overrides the base settings.
    pub(crate) fn start(upstream: &ScriptedUpstream, settings: &str) -> Self {
        Self::with_files(&[upstream.address()], settings, &[])
    }

    /// Starts namegate with these upstream addresses.
    pub(crate) fn with_upstreams(upstreams: &[SocketAddr], settings: &str) -> Self {
        Self::with_files(upstreams, settings, &[])
    }

    /// Starts namegate with `files` (path and content) in its directory, which settings call `{dir}`.
    pub(crate) fn with_files(upstreams: &[SocketAddr], settings: &str, files: &[(&str, &str)]) -> Self {
        Self::launched(upstreams, settings, files, |_| {})
    }

    /// Starts namegate as [`Gate::with_files`] does, after `launch` has changed the command.
    pub(crate) fn launched(
        upstreams: &[SocketAddr],
        settings: &str,
        files: &[(&str, &str)],
        launch: impl FnOnce(&mut Command),
    ) -> Self {
        Self::started(&[], upstreams, settings, files, launch)
    }

    /// The same with a command that execs namegate, such as `env NAME=VALUE`.
    pub(crate) fn launched_by(
        launcher: &[&str],
        upstreams: &[SocketAddr],
        settings: &str,
        files: &[(&str, &str)],
    ) -> Self {
        Self::started(launcher, upstreams, settings, files, |_| {})
    }

    fn started(
        launcher: &[&str],
        upstreams: &[SocketAddr],
        settings: &str,
        files: &[(&str, &str)],
        launch: impl FnOnce(&mut Command),
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        for (path, content) in files {
            write(&directory.path().join(path), content);
        }
        let path = write_settings(directory.path(), upstreams, settings);
        let binary = super::command::binary();
        let mut words: Vec<&OsStr> = launcher.iter().map(OsStr::new).collect();
        words.push(binary.as_os_str());
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["serve", "--config"])
            .arg(path)
            .current_dir(directory.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        launch(&mut command);
        let mut child = command.spawn().expect("the binary starts");
        // The launcher may need standard output itself.
        let stdout: Box<dyn Read + Send> = match child.stdout.take() {
            Some(stdout) => Box::new(stdout),
            None => Box::new(std::io::empty()),
        };
        let stdout = Lines::collect(stdout);
        let stderr = Lines::collect(child.stderr.take().expect("stderr is piped"));
        let is_ready = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "ready");
        if stderr.wait(PATIENCE, is_ready).is_none() {
            drop(child.kill());
            panic!("namegate did not get ready:\n{}", stderr.all().join("\n"));
        }
        let lines = stderr.all();
        let listen = lines.iter().filter_map(|line| address_after(line, "listening on ")).collect();
        let admin = lines.iter().find_map(|line| address_after(line, "admin on http://"));
        let admin = admin.unwrap_or_else(|| panic!("no admin address:\n{}", lines.join("\n")));
        Self { child, directory, upstreams: upstreams.to_vec(), listen, admin, stdout, stderr }
    }

    /// The first address it listens on, for UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen[0]
    }

    /// The address of its admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// All addresses it listens on.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its settings file.
    pub(crate) fn settings_path(&self) -> PathBuf {
        self.directory.path().join("namegate.toml")
    }

    /// A new UDP client.
    pub(crate) fn udp(&self) -> UdpClient {
        UdpClient::of(self.address())
    }

    /// A new UDP client with the address `source`.
    pub(crate) fn udp_from(&self, source: [u8; 4]) -> UdpClient {
        UdpClient::from(IpAddr::from(source), self.address())
    }

    /// A new TCP connection.
    pub(crate) fn tcp(&self) -> TcpClient {
        TcpClient::connect(self.address())
    }

    /// Sends one query over UDP, with EDNS.
    pub(crate) fn ask(&self, name: &str, qtype: &str) -> Message {
        self.udp().ask(&Query::new(name, qtype).edns())
    }

    /// Sends one query over UDP.
    pub(crate) fn send(&self, query: &Query) -> Message {
        self.udp().ask(query)
    }

    /// The current metrics.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::fetch(self.admin)
    }

    /// The metrics once nothing is in flight and every query is counted: replies are counted after they are sent.
    pub(crate) fn settled_metrics(&self) -> Metrics {
        self.expect_metrics("an outcome for every query", |metrics| {
            let (queries, outcomes) = metrics.accounting();
            queries == outcomes && metrics.sum("namegate_queries_in_flight", &[]) == 0.0
        })
    }

    /// Fetches a page of the admin listener: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.admin, path)
    }

    /// Waits until the metrics satisfy `wanted`.
    pub(crate) fn expect_metrics(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        eventually(what, || Some(self.metrics()).filter(|metrics| wanted(metrics)))
    }

    /// Writes new settings, as [`Gate::start`] does; they take effect at [`Gate::reload`].
    pub(crate) fn write_settings(&self, settings: &str) {
        write_settings(self.directory.path(), &self.upstreams, settings);
    }

    /// Writes a file into its directory.
    pub(crate) fn write_file(&self, path: &str, content: &str) {
        write(&self.directory.path().join(path), content);
    }

    /// Reloads the settings and waits for the result.
    pub(crate) fn reload(&self) -> Reload {
        let count =
            |metrics: &Metrics, result| metrics.sum("namegate_policy_reloads_total", &[("result", result)]);
        let before = self.metrics();
        self.signal("HUP");
        eventually("a reload", || {
            let now = self.metrics();
            let rose = |result| count(&now, result) > count(&before, result);
            match (rose("success"), rose("failure")) {
                (true, _) => Some(Reload::Success),
                (_, true) => Some(Reload::Failure),
                _ => None,
            }
        })
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "signal {signal} could not be sent");
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the exit after a signal was sent.
    pub(crate) fn wait(mut self) -> ExitStatus {
        eventually("the exit of namegate", || self.child.try_wait().expect("a child can be waited for"))
    }

    /// Fails if a warning or error was logged.
    pub(crate) fn expect_clean_log(&self) {
        // Missing kernel features are the machine's fault; tests/service/sandbox.rs checks the rest.
        let is_bad = |line: &&String| {
            (line.contains("ERROR") || line.contains("WARN") || line.contains("panicked"))
                && !line.contains("sandbox incomplete: ")
        };
        let bad: Vec<String> = self.stderr.all().iter().filter(is_bad).cloned().collect();
        assert!(bad.is_empty(), "the log is not clean:\n{}", bad.join("\n"));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may have ended already; its log is shown only for failed tests.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- namegate's log\n{}", self.stderr.all().join("\n"));
        }
    }
}

/// The socket address after `marker` in a log line.
fn address_after(line: &str, marker: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(marker)?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || "[].:".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
