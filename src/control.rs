//! [`ControlHandle`]: what a running gate can be told to change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::rule::Pattern;
use crate::policy::temporary::Grant;

/// Orders that may wait; beyond, they are refused. Each is done in milliseconds.
const QUEUE: usize = 64;

/// How long someone waits for an order to be done: longer than the policy of a million rules takes to come into force.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing to change.
pub enum ControlCommand {
    /// Look whether a reload waits.
    Wake,
    /// Allow names for a time.
    Allow(Grant, oneshot::Sender<Result<(), String>>),
    /// Take an allowance back; the result says whether there was one.
    Revoke(Pattern, oneshot::Sender<Result<bool, String>>),
}

/// A way to give orders. When the last one is dropped there will be no more.
#[derive(Clone)]
pub struct ControlHandle {
    queue: SyncSender<ControlCommand>,
    reload_waits: Arc<AtomicBool>,
}

/// Where orders arrive.
pub struct CommandQueue {
    queue: Receiver<ControlCommand>,
    reload_waits: Arc<AtomicBool>,
}

impl ControlHandle {
    /// A way to give orders, and where they arrive.
    pub fn new() -> (Self, CommandQueue) {
        let (sender, queue) = sync_channel(QUEUE);
        let reload_waits = Arc::<AtomicBool>::default();
        let orders = Self { queue: sender, reload_waits: Arc::clone(&reload_waits) };
        (orders, CommandQueue { queue, reload_waits })
    }

    /// Has everything read again. One waiting reload is enough: it will read what is there by then.
    pub fn reload(&self) {
        self.reload_waits.store(true, Ordering::Release);
        // Where the queue is full, who takes orders from it is awake and will look.
        let _ = self.queue.try_send(ControlCommand::Wake);
    }

    /// Allows names for a time; an error says why that cannot be.
    pub async fn allow(&self, grant: Grant) -> Result<(), String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Allow(grant, result), done).await
    }

    /// Takes an allowance back; false where there is none.
    pub async fn revoke(&self, pattern: Pattern) -> Result<bool, String> {
        let (result, done) = oneshot::channel();
        self.give(ControlCommand::Revoke(pattern, result), done).await
    }

    async fn give<T>(
        &self,
        order: ControlCommand,
        done: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, String> {
        self.queue.try_send(order).map_err(|_| "too many changes wait already; try again".to_owned())?;
        let done = timeout(PATIENCE, done).await;
        done.map_err(|_| "it takes too long; see the log whether it was done".to_owned())?
            .map_err(|_| "it was not done; see the log why".to_owned())?
    }
}

impl CommandQueue {
    /// True where a reload was ordered since this was last asked.
    pub fn take_reload(&self) -> bool {
        self.reload_waits.swap(false, Ordering::AcqRel)
    }

    /// The next order, for which it waits no longer than `patience`.
    ///
    /// Errors: there was none, or there will be no more.
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
            orders.queue.try_send(ControlCommand::Revoke(pattern.clone(), result)).unwrap();
        }
        assert!(!queue.take_reload());
        orders.reload();
        for _ in 0..QUEUE {
            assert!(matches!(queue.next(Duration::ZERO), Ok(ControlCommand::Revoke(..))));
        }
        assert!(queue.take_reload(), "the reload waits");
        assert!(!queue.take_reload(), "once");
    }
}
