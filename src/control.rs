//! [`ControlHandle`]: sends commands to the running service.

pub mod requests;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, GrantScope};
use crate::util::sync::lock;
use requests::{GrantRequest, RequestDecision, RequestId};

/// Most commands that may be pending; further ones are refused. Each takes milliseconds.
const QUEUE: usize = 64;

/// How long a caller waits for a command to finish: longer than a policy of a million rules takes to become active.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command to the running service.
pub enum ControlCommand {
    /// Check whether a reload is pending.
    Wake,
    /// Add a grant.
    Allow(Grant, CommandReply<()>),
    /// Revoke a grant; the result is false if there was none.
    Revoke(Pattern, GrantScope, CommandReply<bool>),
    /// File a request for a grant.
    File(Box<GrantRequest>, CommandReply<()>),
    /// Decide a request; the result is the decided request.
    Decide(RequestId, RequestDecision, CommandReply<GrantRequest>),
}

/// Takes the outcome of a command.
pub type CommandReply<T> = oneshot::Sender<Result<T, CommandError>>;

/// Why a command was not done, or not wholly; for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It cannot be done as it is.
    #[error("{0}")]
    Rejected(String),
    /// It could be done at another time: its outcome cannot be saved, or too much is pending.
    #[error("{0}")]
    Failed(String),
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadOutcome {
    /// True if the new policy is active.
    pub succeeded: bool,
    /// The new policy in one line; after a failure, the errors with their places.
    pub message: String,
    /// First digits of the hash of the policy that is active now.
    pub policy: String,
}

/// Those who wait for a reload to end.
pub type ReloadWaiters = Vec<oneshot::Sender<ReloadOutcome>>;

/// Sends commands. When the last handle is dropped, the receiving end stops.
#[derive(Clone)]
pub struct ControlHandle {
    queue: SyncSender<ControlCommand>,
    pending_reload: PendingReload,
}

/// The reload to begin next, and who waits for it; none if none was requested.
type PendingReload = Arc<Mutex<Option<ReloadWaiters>>>;

/// The receiving end of the commands.
pub struct CommandQueue {
    queue: Receiver<ControlCommand>,
    pending_reload: PendingReload,
}

impl ControlHandle {
    /// A handle and its receiving end.
    pub fn new() -> (Self, CommandQueue) {
        let (sender, queue) = sync_channel(QUEUE);
        let pending_reload = PendingReload::default();
        let orders = Self { queue: sender, pending_reload: Arc::clone(&pending_reload) };
        (orders, CommandQueue { queue, pending_reload })
    }

    /// Requests a reload. One pending reload is enough: it reads the files as they are when it starts.
    pub fn reload(&self) {
        lock(&self.pending_reload).get_or_insert_default();
        self.wake();
    }

    /// Requests a reload and waits for its end. Errors: why its outcome is unknown.
    pub async fn reload_and_wait(&self) -> Result<ReloadOutcome, CommandError> {
        let (result, done) = oneshot::channel();
        {
            let mut pending = lock(&self.pending_reload);
            let waiters = pending.get_or_insert_default();
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.len() >= QUEUE {
                return Err(too_many());
            }
            waiters.push(result);
        }
        self.wake();
        wait(done).await
    }

    fn wake(&self) {
        // If the queue is full, its receiver is awake and checks for a reload anyway.
        let _ = self.queue.try_send(ControlCommand::Wake);
    }

    /// Adds a grant. Errors: why it was not added.
    pub async fn allow(&self, grant: Grant) -> Result<(), CommandError> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Allow(grant, result), done).await
    }

    /// Revokes a grant; false if there is none.
    pub async fn revoke(&self, pattern: Pattern, scope: GrantScope) -> Result<bool, CommandError> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Revoke(pattern, scope, result), done).await
    }

    /// Files a request for a grant. Errors: why it was not accepted.
    pub async fn file(&self, request: GrantRequest) -> Result<(), CommandError> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::File(Box::new(request), result), done).await
    }

    /// Decides a request. Errors: why it was not decided.
    pub async fn decide(
        &self,
        id: RequestId,
        decision: RequestDecision,
    ) -> Result<GrantRequest, CommandError> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Decide(id, decision, result), done).await
    }

    async fn give<T>(
        &self,
        order: ControlCommand,
        done: oneshot::Receiver<Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        self.queue.try_send(order).map_err(|_| too_many())?;
        wait(done).await?
    }
}

async fn wait<T>(done: oneshot::Receiver<T>) -> Result<T, CommandError> {
    let failed = |text: &str| CommandError::Failed(text.to_owned());
    let done = timeout(PATIENCE, done).await;
    done.map_err(|_| failed("the change takes too long; check the log for its result"))?
        .map_err(|_| failed("the change failed; see the log"))
}

fn too_many() -> CommandError {
    CommandError::Failed("too many changes are pending; try again".to_owned())
}

impl CommandQueue {
    /// The reload requested since the last call, and who waits for it.
    pub fn take_reload(&self) -> Option<ReloadWaiters> {
        lock(&self.pending_reload).take()
    }

    /// The next command; waits at most `patience`.
    ///
    /// Errors: no command arrived in time, or all handles are dropped.
    pub fn next(&self, patience: Duration) -> Result<ControlCommand, RecvTimeoutError> {
        self.queue.recv_timeout(patience)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_reload_is_not_lost_while_the_queue_is_full() {
        let (orders, queue) = ControlHandle::new();
        let pattern = Pattern::parse("a.example").unwrap();
        for _ in 0..QUEUE {
            let (result, _) = oneshot::channel();
            orders.queue.try_send(ControlCommand::Revoke(pattern.clone(), GrantScope::All, result)).unwrap();
        }
        assert!(queue.take_reload().is_none());
        orders.reload();
        for _ in 0..QUEUE {
            assert!(matches!(queue.next(Duration::ZERO), Ok(ControlCommand::Revoke(..))));
        }
        assert!(queue.take_reload().is_some(), "the reload is pending");
        assert!(queue.take_reload().is_none(), "only once");
    }

    #[tokio::test]
    async fn a_reload_that_has_begun_is_not_the_one_asked_for() {
        let (orders, queue) = ControlHandle::new();
        let outcome = |message: &str| ReloadOutcome {
            succeeded: true,
            message: message.to_owned(),
            policy: String::new(),
        };
        let told = |waiters: ReloadWaiters, message: &str| {
            waiters.into_iter().filter_map(|waiter| waiter.send(outcome(message)).ok()).count()
        };
        let ask = || {
            let orders = orders.clone();
            tokio::spawn(async move { orders.reload_and_wait().await })
        };
        orders.reload();
        let begun = queue.take_reload().unwrap();
        let callers = [ask(), ask()];
        tokio::task::yield_now().await;
        assert_eq!(told(begun, "the first"), 0);
        assert_eq!(told(queue.take_reload().unwrap(), "the second"), 2);
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Ok(outcome("the second")));
        }
    }
}
