//! [`ControlHandle`]: sends commands to the running service.

pub mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, GrantScope};
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
    Allow(Grant, oneshot::Sender<Result<(), String>>),
    /// Revoke a grant; the result is false if there was none.
    Revoke(Pattern, GrantScope, oneshot::Sender<Result<bool, String>>),
    /// File a request for a grant.
    File(Box<GrantRequest>, oneshot::Sender<Result<(), String>>),
    /// Decide a request; the result is the decided request.
    Decide(RequestId, RequestDecision, oneshot::Sender<Result<GrantRequest, String>>),
}

/// Sends commands. When the last handle is dropped, the receiving end stops.
#[derive(Clone)]
pub struct ControlHandle {
    queue: SyncSender<ControlCommand>,
    reload_waits: Arc<AtomicBool>,
}

/// The receiving end of the commands.
pub struct CommandQueue {
    queue: Receiver<ControlCommand>,
    reload_waits: Arc<AtomicBool>,
}

impl ControlHandle {
    /// A handle and its receiving end.
    pub fn new() -> (Self, CommandQueue) {
        let (sender, queue) = sync_channel(QUEUE);
        let reload_waits = Arc::<AtomicBool>::default();
        let orders = Self { queue: sender, reload_waits: Arc::clone(&reload_waits) };
        (orders, CommandQueue { queue, reload_waits })
    }

    /// Requests a reload. One pending reload is enough: it reads the files as they are when it starts.
    pub fn reload(&self) {
        self.reload_waits.store(true, Ordering::Release);
        // If the queue is full, its receiver is awake and checks for a reload anyway.
        let _ = self.queue.try_send(ControlCommand::Wake);
    }

    /// Adds a grant. Errors: why it was not added.
    pub async fn allow(&self, grant: Grant) -> Result<(), String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Allow(grant, result), done).await
    }

    /// Revokes a grant; false if there is none.
    pub async fn revoke(&self, pattern: Pattern, scope: GrantScope) -> Result<bool, String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Revoke(pattern, scope, result), done).await
    }

    /// Files a request for a grant. Errors: why it was not accepted.
    pub async fn file(&self, request: GrantRequest) -> Result<(), String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::File(Box::new(request), result), done).await
    }

    /// Decides a request. Errors: why it was not decided.
    pub async fn decide(&self, id: RequestId, decision: RequestDecision) -> Result<GrantRequest, String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Decide(id, decision, result), done).await
    }

    async fn give<T>(
        &self,
        order: ControlCommand,
        done: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, String> {
        self.queue.try_send(order).map_err(|_| "too many changes are pending; try again".to_owned())?;
        let done = timeout(PATIENCE, done).await;
        done.map_err(|_| "the change takes too long; check the log for its result".to_owned())?
            .map_err(|_| "the change failed; see the log".to_owned())?
    }
}

impl CommandQueue {
    /// True if a reload was requested since the last call.
    pub fn take_reload(&self) -> bool {
        self.reload_waits.swap(false, Ordering::AcqRel)
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
        assert!(!queue.take_reload());
        orders.reload();
        for _ in 0..QUEUE {
            assert!(matches!(queue.next(Duration::ZERO), Ok(ControlCommand::Revoke(..))));
        }
        assert!(queue.take_reload(), "the reload is pending");
        assert!(!queue.take_reload(), "only once");
    }
}
