//! Signals: reload on SIGHUP, drain on SIGTERM and SIGINT; SIGUSR1 and SIGUSR2 do nothing.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read everything again.
    Reload,
    /// Answer what is in flight and end.
    Stop,
}

/// SIGHUP, which would end a process that does not expect it: caught from the very start. SIGTERM and SIGINT end it at once until
/// there is something to drain, or, where it is the first process of a container, are ignored by the kernel until then.
#[derive(Debug)]
pub struct Hangups {
    /// Has no threads of its own.
    runtime: Runtime,
    hangup: Signal,
}

/// The signals a server listens to.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Hangups {
    /// Takes SIGHUP over for this process.
    pub fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let hangup = {
            let _runtime = runtime.enter();
            // Without a handler they would end the process. Operators send them by the habits of other servers, to reopen
            // logs or to print statistics.
            for unused in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
                let _handled = signal(unused)?;
            }
            signal(SignalKind::hangup())?
        };
        Ok(Self { runtime, hangup })
    }

    /// Takes over SIGTERM and SIGINT as well; all of them are waited for in the runtime.
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
    /// Takes over SIGHUP, SIGTERM and SIGINT for this process.
    pub fn new() -> io::Result<Self> {
        Self::with(signal(SignalKind::hangup())?)
    }

    fn with(hangup: Signal) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { hangup, terminate, interrupt })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.hangup.recv() => Request::Reload,
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
        }
    }
}
