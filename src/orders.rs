//! [`Orders`]: what a running gate can be told to change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::rule::Pattern;
use crate::policy::temporary::Grant;

/// Orders that may wait; beyond, they are refused. Each is done in milliseconds, a reload of a large policy in seconds.
const QUEUE: usize = 64;

/// How long someone waits for an order to be done: longer than a reload of a million rules before it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing to change.
pub enum Order {
    /// Read everything again. The flag says that it waits.
    Reload(Arc<AtomicBool>),
    /// Allow names for a time.
    Allow(Grant, oneshot::Sender<Result<(), String>>),
    /// Take an allowance back; the result says whether there was one.
    Revoke(Pattern, oneshot::Sender<Result<bool, String>>),
}

/// A way to give orders. When the last one is dropped there will be no more.
#[derive(Clone)]
pub struct Orders {
    queue: SyncSender<Order>,
    reload_waits: Arc<AtomicBool>,
}

impl Orders {
    /// A way to give orders, and where they arrive.
    pub fn new() -> (Self, Receiver<Order>) {
        let (queue, orders) = sync_channel(QUEUE);
        (Self { queue, reload_waits: Arc::default() }, orders)
    }

    /// Has everything read again. One waiting reload is enough: it will read what is there by then.
    pub fn reload(&self) {
        if !self.reload_waits.swap(true, Ordering::AcqRel)
            && self.queue.try_send(Order::Reload(Arc::clone(&self.reload_waits))).is_err()
        {
            self.reload_waits.store(false, Ordering::Release);
        }
    }

    /// Allows names for a time; an error says why that cannot be.
    pub async fn allow(&self, grant: Grant) -> Result<(), String> {
        let (result, done) = oneshot::channel();
        self.give(Order::Allow(grant, result), done).await
    }

    /// Takes an allowance back; false where there is none.
    pub async fn revoke(&self, pattern: Pattern) -> Result<bool, String> {
        let (result, done) = oneshot::channel();
        self.give(Order::Revoke(pattern, result), done).await
    }

    async fn give<T>(&self, order: Order, done: oneshot::Receiver<Result<T, String>>) -> Result<T, String> {
        self.queue.try_send(order).map_err(|_| "too many changes wait already; try again".to_owned())?;
        let done = timeout(PATIENCE, done).await;
        done.map_err(|_| "it takes too long; see the log whether it was done".to_owned())?
            .map_err(|_| "the gate is about to end".to_owned())?
    }
}
