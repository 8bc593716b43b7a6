//! [`Server`]: a contender that runs: started on cores of its own, measured from outside, killed when dropped.

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

/// How long a server may take until it answers: the slowest reads a million rules in a quarter of a minute.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long to wait for the reply to one attempt.
const ATTEMPT: Duration = Duration::from_millis(20);
/// Of what a server that does not answer wrote, the lines to show.
const LOG_LINES: usize = 5;

/// A running server.
pub(crate) struct Server {
    child: Child,
    started: Instant,
    directory: TempDir,
    address: SocketAddr,
}

impl Server {
    /// Starts a contender on the given cores, written as taskset(1) takes them.
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
        // Both programs hand the process over to the next, so that the child is the server itself; the first sees to it
        // that the server does not outlive this program, however that ends.
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

    /// Asks for `name` until the right reply comes; says how long that was since the start.
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
            // Where nothing listens yet, one of these is refused at once.
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

    /// Tells namegate to read its files again.
    pub(crate) fn reload(&self) -> io::Result<()> {
        let status = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill: {status}"))) }
    }

    /// How many times namegate has done so, by its log. Errors: once it could not.
    pub(crate) fn reloads(&self) -> io::Result<usize> {
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        match log.find("reload failed") {
            Some(failure) => Err(io::Error::other(log[failure..].trim_end().to_owned())),
            None => Ok(log.matches("reloaded: ").count()),
        }
    }

    /// Times of the process and its children so far.
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

/// An address of loopback that is free for UDP and TCP.
fn free_address() -> io::Result<SocketAddr> {
    loop {
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
}
