//! [`Doorbell`]: wakes the relay, and costs nothing while it is awake.

use std::io;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use crate::util::sync::{AtomicBool, Ordering, fence};

/// The token of the bell itself.
pub(super) const DOORBELL: Token = Token(usize::MAX);

/// Wakes one thread out of its sleep.
pub(super) struct Doorbell {
    waker: Waker,
    sleeper: Sleeper,
}

impl Doorbell {
    /// A bell for whoever sleeps on `poll`.
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self { waker: Waker::new(poll.registry(), DOORBELL)?, sleeper: Sleeper::new() })
    }

    /// Wakes the sleeper, where it sleeps; to be called after what it is to see was written.
    pub(super) fn ring(&self) {
        if self.sleeper.is_to_be_woken() {
            // A bell that cannot be rung twice was rung once.
            let _ = self.waker.wake();
        }
    }

    /// Makes the next sleep end at once.
    pub(super) fn note(&self) {
        self.sleeper.noted.store(true, Ordering::Relaxed);
    }

    /// Waits for events, at most for `patience`; not at all where something is to be done already.
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

/// What a sleeper and those who wake it know of each other.
struct Sleeper {
    asleep: AtomicBool,
    /// There is more to do than what was looked at.
    noted: AtomicBool,
}

impl Sleeper {
    fn new() -> Self {
        Self { asleep: AtomicBool::new(false), noted: AtomicBool::new(false) }
    }

    /// For those who have written what it is to see: true for one of them where it sleeps.
    fn is_to_be_woken(&self) -> bool {
        // With the fence in `may_sleep`: either the sleeper sees what was written, or we see that it sleeps.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }

    /// For the sleeper: false where there is something to do.
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

    /// What is written and then rung for is seen by the sleeper, in every order: where it sleeps on, the model ends in a
    /// deadlock, which loom reports.
    ///
    /// There is one ring, for with two loom goes through orders that do not exist: it lets a `swap` come behind a store that
    /// is later than the one it read, where the language puts nothing between the two (C++20, [atomics.order] paragraph 10).
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
