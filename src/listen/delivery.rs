//! [`Delivery`]: delivers fetched answers to waiting clients and tasks.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::{Engine, Miss};
use crate::events::counters::Dropped;
use crate::events::sender::EventSender;
use crate::net::batch::{Peer, SendBatch};
use crate::net::reply_socket::ReplySocket;
use crate::relay::Deliver;
use crate::upstream::Fetched;

/// Replies sent with one call.
const BATCH: usize = 64;

/// The receiver of an answer.
pub enum Waiter {
    /// A client that queried over UDP.
    Datagram(UdpMiss),
    /// A task.
    Task(oneshot::Sender<Fetched>),
}

/// A cache miss with the socket that its reply must be sent through.
#[derive(Debug)]
pub struct UdpMiss {
    /// The cache miss.
    pub miss: Box<Miss>,
    /// The socket that received it.
    pub socket: Arc<ReplySocket>,
    /// The sender.
    pub peer: Peer,
}

/// Writes replies to cache misses and sends them in batches.
pub struct Delivery {
    engine: Engine,
    sender: EventSender,
    outboxes: Vec<Outbox>,
}

/// Replies to send through one socket.
struct Outbox {
    socket: Arc<ReplySocket>,
    replies: SendBatch,
}

impl Delivery {
    /// `engine` makes the replies, `sender` counts them.
    pub fn new(engine: Engine, sender: EventSender) -> Self {
        Self { engine, sender, outboxes: Vec::new() }
    }

    fn outbox(&mut self, socket: &Arc<ReplySocket>) -> usize {
        if let Some(index) = self.outboxes.iter().position(|outbox| Arc::ptr_eq(&outbox.socket, socket)) {
            return index;
        }
        self.outboxes.push(Outbox { socket: Arc::clone(socket), replies: SendBatch::new(BATCH) });
        self.outboxes.len() - 1
    }

    fn reply(&mut self, waiter: UdpMiss, fetched: &Fetched, now: Instant) {
        let UdpMiss { miss, socket, peer } = waiter;
        let index = self.outbox(&socket);
        let replies = &mut self.outboxes[index].replies;
        let reply = replies.draft();
        let record = miss.finish(&mut self.engine, fetched, now, reply);
        self.sender.replied(&miss.exchange(&record, reply, now.saturating_duration_since(miss.received)));
        self.sender.counters().of(miss.client).miss_ended();
        replies.post(peer);
        if replies.is_full() {
            socket.send(replies);
        }
    }
}

impl Deliver for Delivery {
    type Waiter = Waiter;

    fn deliver(&mut self, waiter: Waiter, fetched: &Fetched, now: Instant) {
        match waiter {
            Waiter::Datagram(waiter) => self.reply(waiter, fetched, now),
            // If the client has left, the task no longer waits.
            Waiter::Task(waiter) => drop(waiter.send(fetched.clone())),
        }
    }

    fn refuse(&mut self, waiter: Waiter, reason: Dropped) {
        if let Waiter::Datagram(waiter) = waiter {
            let counters = self.sender.counters().of(waiter.miss.client);
            counters.dropped(reason);
            counters.miss_ended();
        }
    }

    fn flush(&mut self) {
        self.engine.refresh();
        for outbox in self.outboxes.iter_mut().filter(|outbox| !outbox.replies.is_empty()) {
            outbox.socket.send(&mut outbox.replies);
        }
    }
}
