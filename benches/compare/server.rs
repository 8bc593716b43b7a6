//! [`Server`]: a running contender: pinned to its own cores, measured from outside, killed when dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::contender::{Contender, Site};
use crate::load::process::{self, Memory, Times};
use crate::load::reply;
use crate::load::workload::{Expected, query};

/// Start timeout: the slowest server reads a million rules in 15 seconds.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Timeout for the reply to one attempt.
const ATTEMPT: Duration = Duration::from_millis(20);
/// Log lines to show from a server that does not answer.
const LOG_LINES: usize = 5;

/// A running server.
pub(crate) struct Server {
    child: Child,
    started: Instant,
    directory: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Starts a contender on the given cores, in taskset(1) syntax.
    pub(crate) fn start(
        contender: &Contender,
        cores: &str,
        upstream: SocketAddr,
        suffixes: &[String],
    ) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("compare-").tempdir()?;
        let address = free_address()?;
        let site = Site { listen: address, upstream, suffixes, directory: directory.path() };
        for (name, text) in (contender.files)(&site) {
            fs::write(directory.path().join(name), text)?;
        }
        let log = File::create(directory.path().join("log"))?;
        let started = Instant::now();
        // Both programs exec the next one, so that the child is the server itself. setpriv makes sure that the server
        // does not outlive this program.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "--cpu-list", cores])
            .arg(&contender.program)
            .args((contender.arguments)(&site))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, started, directory, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Queries `name` until the correct reply comes; returns the time since the start.
    pub(crate) fn wait_for(&mut self, name: &str, expected: Expected) -> io::Result<Duration> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(ATTEMPT))?;
        let mut request = query(name);
        let mut buffer = [0; 1500];
        let mut complaint = "no reply".to_owned();
        for attempt in 0_u16.. {
            if self.started.elapsed() > START_LIMIT || self.child.try_wait()?.is_some() {
                break;
            }
            request[..2].copy_from_slice(&attempt.to_be_bytes());
            // If nothing listens yet, the send fails at once.
            if socket.send(&request).is_err() {
                thread::sleep(ATTEMPT / 10);
            } else if let Ok(length) = socket.recv(&mut buffer) {
                match reply::judge(&buffer[..length], &request, expected) {
                    Ok(()) => return Ok(self.started.elapsed()),
                    Err(error) => complaint = error,
                }
                thread::sleep(ATTEMPT / 10);
            }
        }
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Err(io::Error::other(format!("{complaint} to {name}; it wrote:\n{end}")))
    }

    /// Sends namegate a reload signal.
    pub(crate) fn reload(&self) -> io::Result<()> {
        let status = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill: {status}"))) }
    }

    /// Number of reloads according to namegate's log. Errors: a reload failed.
    pub(crate) fn reloads(&self) -> io::Result<usize> {
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        match log.find("reload failed") {
            Some(failure) => Err(io::Error::other(log[failure..].trim_end().to_owned())),
            None => Ok(log.matches("reloaded: ").count()),
        }
    }

    /// CPU times of the process and its children so far.
    pub(crate) fn times(&self) -> io::Result<Times> {
        process::times(self.child.id())
    }

    /// Memory of the process.
    pub(crate) fn memory(&self) -> io::Result<Memory> {
        process::memory(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that is free for UDP and TCP.
fn free_address() -> io::Result<SocketAddr> {
    loop {
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
