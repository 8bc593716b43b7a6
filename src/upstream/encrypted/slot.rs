//! [`ConnectionSlot`]: a place for one connection to a server, which is opened when it is needed and opened again when it ends.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use super::connection::Connection;
use crate::util::sync::lock;

/// Queries under way through one connection: what servers of HTTP/2 and QUIC grant at least (RFC 9113 section 6.5.2
/// recommends no less than 100 streams).
const MAX_QUERIES: u32 = 100;

/// The wait after the second failure in a row, in which queries fail at once; it doubles with each more. After the first
/// there is none: a server may just have been restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest such wait, shorter than the time between health probes: each of them tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// See the module's head.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    /// Leave to ask through it.
    pub(super) permits: Semaphore,
    state: watch::Sender<State>,
    /// Connections in a row that ended before any reply, or never began.
    failures: AtomicU32,
    /// A connection that is silent, while somebody still waits for its replies.
    silent: Mutex<Weak<Connection>>,
}

#[derive(Clone)]
enum State {
    Closed,
    Opening,
    Open(Arc<Connection>),
    Failed { at: Instant, why: Arc<str> },
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Closed => "Closed",
            Self::Opening => "Opening",
            Self::Open(_) => "Open",
            Self::Failed { .. } => "Failed",
        })
    }
}

impl ConnectionSlot {
    /// Without a connection yet.
    pub(super) fn new() -> Self {
        Self {
            permits: Semaphore::new(MAX_QUERIES as usize),
            state: watch::Sender::new(State::Closed),
            failures: AtomicU32::new(0),
            silent: Mutex::new(Weak::new()),
        }
    }

    /// Leave to ask through it, for one query alone; waits until nobody else does.
    pub(super) async fn whole(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.permits.acquire_many(MAX_QUERIES).await
    }

    /// The open connection; `open` makes one where there is none, for all who ask meanwhile, and goes on when they give up.
    ///
    /// Errors: what `open` said, now or lately.
    pub(super) async fn connection<F>(
        self: &Arc<Self>,
        open: impl FnOnce() -> F,
    ) -> Result<Arc<Connection>, Arc<str>>
    where
        F: Future<Output = Result<Connection, String>> + Send + 'static,
    {
        let mut state = self.state.subscribe();
        if self.state.send_if_modified(|state| self.begin(state)) {
            let (slot, opening) = (Arc::clone(self), AssertUnwindSafe(open()));
            tokio::spawn(async move {
                let opened = opening.catch_unwind().await;
                slot.opened(opened.unwrap_or_else(|_| Err("connecting has failed unexpectedly".to_owned())));
            });
        }
        match state.wait_for(|state| !matches!(state, State::Opening)).await.as_deref() {
            Ok(State::Open(connection)) => Ok(Arc::clone(connection)),
            Ok(State::Failed { why, .. }) => Err(Arc::clone(why)),
            Ok(State::Closed | State::Opening) | Err(_) => Err("the connection has ended".into()),
        }
    }

    /// True where a connection is to be opened now.
    fn begin(&self, state: &mut State) -> bool {
        let is_due = match state {
            State::Closed => true,
            State::Failed { at, .. } => at.elapsed() >= pause(self.failures.load(Ordering::Relaxed)),
            State::Opening | State::Open(_) => false,
        };
        if is_due {
            *state = State::Opening;
        }
        is_due
    }

    fn opened(&self, opened: Result<Connection, String>) {
        self.state.send_replace(match opened {
            Ok(connection) => State::Open(Arc::new(connection)),
            Err(why) => self.failed(&why),
        });
    }

    fn failed(&self, why: &str) -> State {
        self.failures.fetch_add(1, Ordering::Relaxed);
        State::Failed { at: Instant::now(), why: why.into() }
    }

    /// True where there is a connection.
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.state.borrow(), State::Open(_))
    }

    /// True where connecting has failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed { .. })
    }

    /// Closes the connection where nobody waits on it and nothing came through it since `then`.
    pub(super) fn forget_unheard(&self, then: Instant) {
        if self.in_flight() > 0 {
            return;
        }
        self.state.send_if_modified(|state| {
            let is_unheard = matches!(state, State::Open(connection) if connection.last_heard() < then);
            if is_unheard {
                *state = State::Closed;
            }
            is_unheard
        });
    }

    /// Closes the connection where it has given a reply: the server gives one only.
    pub(super) fn forget_used(&self) {
        self.state.send_if_modified(|state| {
            let is_used = matches!(state, State::Open(connection) if connection.replies() > 0);
            if is_used {
                *state = State::Closed;
            }
            is_used
        });
    }

    /// Queries that have leave to ask through it.
    pub(super) fn in_flight(&self) -> usize {
        (MAX_QUERIES as usize).saturating_sub(self.permits.available_permits())
    }

    /// Queries that are under way through it, those that nobody waits for any more included.
    pub(super) fn load(&self) -> usize {
        let unanswered = match &*self.state.borrow() {
            State::Open(connection) => connection.unanswered(),
            State::Closed | State::Opening | State::Failed { .. } => 0,
        };
        unanswered.max(self.in_flight())
    }

    /// True where the server owes a reply on its connection for `time`.
    pub(super) fn is_late(&self, time: Duration) -> bool {
        match &*self.state.borrow() {
            State::Open(connection) => connection.is_late(time),
            State::Closed | State::Opening | State::Failed { .. } => false,
        }
    }

    /// A reply came through the connection.
    pub(super) fn works(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// `connection` has ended: it is not used any more.
    pub(super) fn ended(&self, connection: &Arc<Connection>, why: &str) {
        self.replace(connection, || match connection.replies() {
            0 => self.failed(why),
            _ => State::Closed,
        });
    }

    /// Nothing comes through `connection`: new queries go through another one. There is at most one such at a time, so that
    /// a server that is only slow is not connected to again and again.
    pub(super) fn set_aside(&self, connection: &Arc<Connection>) {
        let mut silent = lock(&self.silent);
        if silent.strong_count() == 0 {
            self.replace(connection, || {
                *silent = Arc::downgrade(connection);
                State::Closed
            });
        }
    }

    fn replace(&self, connection: &Arc<Connection>, by: impl FnOnce() -> State) {
        self.state.send_if_modified(|state| {
            let is_current = matches!(state, State::Open(current) if Arc::ptr_eq(current, connection));
            if is_current {
                *state = by();
            }
            is_current
        });
    }
}

/// How long after the last of so many failures nothing is tried.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u128> = [0, 1, 2, 3, 4, 5, 6, 7, u32::MAX].map(|n| pause(n).as_millis()).to_vec();
        assert_eq!(pauses, [0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_attempt_and_its_failure() {
        let slot = Arc::new(ConnectionSlot::new());
        let attempts = Arc::new(AtomicU32::new(0));
        let ask = || {
            let (slot, attempts) = (Arc::clone(&slot), Arc::clone(&attempts));
            async move {
                let open = || async move {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Err("refused".to_owned())
                };
                slot.connection(open).await.err()
            }
        };
        for outcome in futures_util::future::join_all((0..10).map(|_| ask())).await {
            assert_eq!(outcome.as_deref(), Some("refused"));
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
        // The first failure may be followed by another attempt at once, the second may not.
        for _ in 0..5 {
            assert_eq!(ask().await.as_deref(), Some("refused"));
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_attempt_that_panics_is_a_failure() {
        let slot = Arc::new(ConnectionSlot::new());
        let open = || async { panic!("on purpose") };
        assert!(slot.connection(open).await.is_err());
    }
}
