//! [`Doorbell`]: wakes the relay; costs nothing while the relay is awake.

use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::util::sync::{AtomicBool, Ordering, fence};

/// The doorbell's own token.
pub(super) const DOORBELL: Token = Token(usize::MAX);

/// Wakes one sleeping thread.
pub(super) struct Doorbell {
    waker: Waker,
    sleeper: Sleeper,
}

impl Doorbell {
    /// A doorbell for the thread that sleeps on `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self { waker: Waker::new(poll.registry(), DOORBELL)?, sleeper: Sleeper::new() })
    }

    /// Wakes the thread if it sleeps. Call it after writing what the thread must see.
    pub(super) fn ring(&self) {
        if self.sleeper.is_to_be_woken() {
            // On failure a wake-up is already pending.
            let _ = self.waker.wake();
        }
    }

    /// Makes the next sleep return at once.
    pub(super) fn note(&self) {
        self.sleeper.noted.store(true, Ordering::Relaxed);
    }

    /// Waits for events, at most for `patience`; not at all if there is work.
    pub(super) fn sleep(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        patience: Duration,
        is_quiet: impl Fn() -> bool,
    ) -> io::Result<()> {
        let patience = if self.sleeper.may_sleep(is_quiet) { patience } else { Duration::ZERO };
        let result = poll.poll(events, Some(patience));
        self.sleeper.asleep.store(false, Ordering::Relaxed);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}

/// State shared between the sleeper and the threads that wake it.
struct Sleeper {
    asleep: AtomicBool,
    /// More work arrived after the last check.
    noted: AtomicBool,
}

impl Sleeper {
    fn new() -> Self {
        Self { asleep: AtomicBool::new(false), noted: AtomicBool::new(false) }
    }

    /// For the waker, after writing: true for one waker if the sleeper sleeps.
    fn is_to_be_woken(&self) -> bool {
        // With the fence in `may_sleep`: either the sleeper sees the write, or this thread sees that it sleeps.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// For the sleeper: false if there is work.
    fn may_sleep(&self, is_quiet: impl Fn() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let noted = self.noted.swap(false, Ordering::Relaxed);
        !noted && is_quiet()
    }
}

#[cfg(all(test, namegate_loom))]
mod models {
    #![allow(clippy::unwrap_used)]
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;
    use crate::util::sync::AtomicU64;

    /// In every order, the sleeper sees what was written before the ring. If it keeps sleeping, the model ends in a
    /// deadlock, which loom reports.
    ///
    /// There is only one ring. With two, loom explores impossible orders: it lets a `swap` follow a store later than
    /// the one it read, although the language allows nothing between the two (C++20, [atomics.order] paragraph 10).
    #[test]
    fn nobody_rings_in_vain() {
        loom::model(|| {
            let shared = Arc::new((Sleeper::new(), Notify::new(), AtomicU64::new(0)));
            let ringer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (sleeper, waker, written) = &*shared;
                    written.store(1, Ordering::Relaxed);
                    if sleeper.is_to_be_woken() {
                        waker.notify();
                    }
                })
            };
            let (sleeper, waker, written) = &*shared;
            let is_quiet = || written.load(Ordering::Relaxed) == 0;
            while is_quiet() {
                if sleeper.may_sleep(is_quiet) {
                    waker.wait();
                }
                sleeper.asleep.store(false, Ordering::Relaxed);
            }
            ringer.join().unwrap();
        });
    }
}
