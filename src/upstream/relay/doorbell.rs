//! [`Doorbell`]: wakes the relay, and costs nothing while it is awake.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

/// The token of the bell itself.
pub(super) const DOORBELL: Token = Token(usize::MAX);

/// Wakes one thread out of its sleep.
pub(super) struct Doorbell {
    waker: Waker,
    asleep: AtomicBool,
    /// There is more to do than what was looked at.
    noted: AtomicBool,
}

impl Doorbell {
    /// A bell for whoever sleeps on `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), DOORBELL)?;
        Ok(Self { waker, asleep: AtomicBool::new(false), noted: AtomicBool::new(false) })
    }

    /// Wakes the sleeper, where it sleeps; to be called after what it is to see was written.
    pub(super) fn ring(&self) {
        // With the fence in `sleep`: either the sleeper sees what was written, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // A bell that cannot be rung twice was rung once.
            let _ = self.waker.wake();
        }
    }

    /// Makes the next sleep end at once.
    pub(super) fn note(&self) {
        self.noted.store(true, Ordering::Relaxed);
    }

    /// Waits for events, at most for `patience`; not at all where something is to be done already.
    pub(super) fn sleep(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        patience: Duration,
        is_quiet: impl Fn() -> bool,
    ) -> io::Result<()> {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let noted = self.noted.swap(false, Ordering::Relaxed);
        let patience = if noted || !is_quiet() { Duration::ZERO } else { patience };
        let result = poll.poll(events, Some(patience));
        self.asleep.store(false, Ordering::Relaxed);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}
