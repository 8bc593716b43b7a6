//! Tests notifications to the service manager (sd_notify(3)), and that a process that hangs stops feeding the watchdog.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::gate::Reload;
use crate::support::{Gate, PATIENCE, ScriptedUpstream, beside, eventually};

/// The service manager's socket.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket can be bound");
        Self { socket, directory }
    }

    /// Starts namegate with a watchdog timeout of `patience`.
    fn start(&self, upstream: &ScriptedUpstream, patience: Option<Duration>) -> Gate {
        Gate::launched(&[upstream.address()], "", &[], |command| {
            command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
            if let Some(patience) = patience {
                command.env("WATCHDOG_USEC", patience.as_micros().to_string());
            }
        })
    }

    fn receive_within(&self, timeout: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    #[track_caller]
    fn receive(&self) -> String {
        self.receive_within(PATIENCE).expect("a message")
    }

    /// Waits until the watchdog has not been fed for a second.
    #[track_caller]
    fn expect_silence(&self) {
        let given_up = Instant::now() + Duration::from_secs(12);
        while self.receive_within(Duration::from_secs(1)).is_some() {
            assert!(Instant::now() < given_up, "the watchdog is still fed");
        }
    }
}

const PATIENCE_OF_WATCHDOG: Option<Duration> = Some(Duration::from_millis(300));

#[test]
fn starts_reloads_and_stops_are_told() {
    let (manager, upstream) = (Manager::new(), ScriptedUpstream::start());
    let gate = manager.start(&upstream, None);
    let ready = manager.receive();
    assert!(ready.starts_with("READY=1\nSTATUS=1 rule from settings (1); enforced; policy "), "{ready}");

    assert_eq!(gate.reload(), Reload::Success);
    let reloading = manager.receive();
    let since = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .and_then(|rest| rest.trim().parse::<u64>().ok());
    assert!(since.is_some_and(|since| since > 0), "{reloading}");
    assert!(manager.receive().starts_with("READY=1\nSTATUS=1 rule "));

    gate.write_file("namegate.toml", "no settings");
    assert_eq!(gate.reload(), Reload::Failure);
    assert!(manager.receive().starts_with("RELOADING=1\n"));
    let ready = manager.receive();
    assert!(ready.starts_with("READY=1\nSTATUS=the last reload failed"), "{ready}");

    assert!(gate.terminate().success());
    assert!(manager.receive().starts_with("STOPPING=1\n"));
    assert_eq!(manager.receive_within(Duration::from_millis(100)), None, "no watchdog is configured");
}

#[test]
fn a_gate_that_works_feeds_the_watchdog() {
    let (manager, upstream) = (Manager::new(), ScriptedUpstream::start());
    let gate = manager.start(&upstream, PATIENCE_OF_WATCHDOG);
    let begun = Instant::now();
    let fed = (0..10).filter(|_| manager.receive().trim() == "WATCHDOG=1").count();
    assert!(fed >= 9, "{fed} of 10 messages");
    assert!(begun.elapsed() < Duration::from_secs(3), "ten in {:?}", begun.elapsed());
    gate.signal("STOP");
    manager.expect_silence();
    gate.signal("CONT");
    assert_eq!(manager.receive().trim(), "WATCHDOG=1");
}

/// The thread of `gate` called `name`.
fn thread(gate: &Gate, name: &str) -> Pid {
    let directory = format!("/proc/{}/task", gate.pid());
    // A thread gives itself its name.
    let thread = eventually(&format!("the thread {name}"), || {
        std::fs::read_dir(&directory).expect("threads").flatten().find(|thread| {
            std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        })
    });
    Pid::from_raw(thread.file_name().to_string_lossy().parse().expect("a number"))
}

#[test]
fn one_hung_thread_starves_the_watchdog() {
    beside(["udp-0", "relay"], |name| {
        let (manager, upstream) = (Manager::new(), ScriptedUpstream::start());
        let gate = manager.start(&upstream, PATIENCE_OF_WATCHDOG);
        let thread = thread(&gate, name);
        // A debugger stops only this thread; all others continue.
        ptrace::seize(thread, ptrace::Options::empty()).expect("a thread of a child can be traced");
        ptrace::interrupt(thread).expect("it can be stopped");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        let stopped = Instant::now();
        manager.expect_silence();
        assert!(stopped.elapsed() > Duration::from_secs(4), "a short pause is no fault");
        assert_eq!(gate.get("/healthz").0, 200, "the others still run");
        gate.stderr.expect(&format!("thread {name}"));
        ptrace::detach(thread, None).expect("it can go on");
        eventually("the watchdog to be fed again", || manager.receive_within(Duration::from_secs(1)));
    });
}
