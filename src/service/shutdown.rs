//! Signals: SIGHUP reloads, SIGTERM and SIGINT drain and stop; SIGUSR1 and SIGUSR2 do nothing.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reload everything.
    Reload,
    /// Answer queries in flight, then stop.
    Stop,
}

/// Catches SIGHUP from the start, because its default action ends the process. Before the service runs, SIGTERM and
/// SIGINT end the process immediately; the kernel ignores them for the first process of a container.
#[derive(Debug)]
pub struct HangupHandler {
    /// Runs on the current thread.
    runtime: Runtime,
    hangup: Signal,
}

/// The signals that the service handles.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl HangupHandler {
    /// Installs the SIGHUP handler.
    pub fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let hangup = {
            let _runtime = runtime.enter();
            // Without a handler these signals would end the process. Operators used to other servers send them to
            // reopen logs or to print statistics.
            for unused in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
                let _handled = signal(unused)?;
            }
            signal(SignalKind::hangup())?
        };
        Ok(Self { runtime, hangup })
    }

    /// Installs handlers for SIGTERM and SIGINT as well. Await [`Signals::next`] on the returned runtime.
    pub fn and_stops(self) -> io::Result<(Runtime, Signals)> {
        let Self { runtime, hangup } = self;
        let signals = {
            let _runtime = runtime.enter();
            Signals::with(hangup)?
        };
        Ok((runtime, signals))
    }
}

impl Signals {
    /// Installs handlers for SIGHUP, SIGTERM and SIGINT.
    pub fn new() -> io::Result<Self> {
        Self::with(signal(SignalKind::hangup())?)
    }

    fn with(hangup: Signal) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { hangup, terminate, interrupt })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.hangup.recv() => Request::Reload,
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
        }
    }
}
