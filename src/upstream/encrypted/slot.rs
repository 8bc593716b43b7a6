//! [`ConnectionSlot`]: holds one connection to a server, opens it when needed and reopens it after it ends.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use super::connection::Connection;
use crate::util::sync::lock;

/// Concurrent queries per connection: HTTP/2 and QUIC servers allow at least this many (RFC 9113 section 6.5.2
/// recommends no less than 100 streams).
const MAX_QUERIES: u32 = 100;

/// The pause after the second failure in a row, in which queries fail immediately; it doubles with each further
/// failure. The first failure has no pause: the server may just have restarted.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause: shorter than the time between health probes, so each probe connects.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A slot for one connection.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    /// Permits to send queries over it.
    pub(super) permits: Semaphore,
    state: watch::Sender<State>,
    /// Connections in a row that ended before any reply, or failed to open.
    failures: AtomicU32,
    /// A silent connection that queries still wait on.
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
    /// A slot without a connection.
    pub(super) fn new() -> Self {
        Self {
            permits: Semaphore::new(MAX_QUERIES as usize),
            state: watch::Sender::new(State::Closed),
            failures: AtomicU32::new(0),
            silent: Mutex::new(Weak::new()),
        }
    }

    /// A permit for one query only; waits until no other query uses the connection.
    pub(super) async fn whole(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.permits.acquire_many(MAX_QUERIES).await
    }

    /// The open connection. If there is none, `open` opens one for every query that waits, and continues if they give
    /// up.
    ///
    /// Errors: what `open` returned, now or at the last attempt.
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
                slot.opened(opened.unwrap_or_else(|_| Err("connecting failed: internal error".to_owned())));
            });
        }
        match state.wait_for(|state| !matches!(state, State::Opening)).await.as_deref() {
            Ok(State::Open(connection)) => Ok(Arc::clone(connection)),
            Ok(State::Failed { why, .. }) => Err(Arc::clone(why)),
            Ok(State::Closed | State::Opening) | Err(_) => Err("the connection was closed".into()),
        }
    }

    /// True if the caller must open a connection now.
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

    /// True if a connection is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.state.borrow(), State::Open(_))
    }

    /// True if connecting has failed.
    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed { .. })
    }

    /// Closes the connection if it has no waiting queries and has received nothing since `then`.
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

    /// Closes the connection if it has received a reply: this server sends only one per connection.
    pub(super) fn forget_used(&self) {
        self.state.send_if_modified(|state| {
            let is_used = matches!(state, State::Open(connection) if connection.replies() > 0);
            if is_used {
                *state = State::Closed;
            }
            is_used
        });
    }

    /// Queries that hold a permit.
    pub(super) fn in_flight(&self) -> usize {
        (MAX_QUERIES as usize).saturating_sub(self.permits.available_permits())
    }

    /// Queries that the server works on, including abandoned ones.
    pub(super) fn load(&self) -> usize {
        let unanswered = match &*self.state.borrow() {
            State::Open(connection) => connection.unanswered(),
            State::Closed | State::Opening | State::Failed { .. } => 0,
        };
        unanswered.max(self.in_flight())
    }

    /// True if a reply on its connection is overdue by `time`.
    pub(super) fn is_late(&self, time: Duration) -> bool {
        match &*self.state.borrow() {
            State::Open(connection) => connection.is_late(time),
            State::Closed | State::Opening | State::Failed { .. } => false,
        }
    }

    /// Records that a reply arrived.
    pub(super) fn works(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Records that `connection` has ended; it is no longer used.
    pub(super) fn ended(&self, connection: &Arc<Connection>, why: &str) {
        self.replace(connection, || match connection.replies() {
            0 => self.failed(why),
            _ => State::Closed,
        });
    }

    /// `connection` is silent: new queries use another one. At most one connection is set aside at a time, so a server
    /// that is merely slow is not connected to over and over.
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

/// The pause after this many failures in a row.
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
    async fn simultaneous_queries_share_one_attempt_and_its_failure() {
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
        // The first failure allows another attempt at once, the second does not.
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
