//! [`Delivery`]: answers to misses, on their way to those who wait for them.

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

/// Who waits for an answer.
pub enum Waiter {
    /// A client that asked over UDP.
    Datagram(UdpMiss),
    /// A task.
    Task(oneshot::Sender<Fetched>),
}

/// A miss with the socket its reply must leave through.
#[derive(Debug)]
pub struct UdpMiss {
    /// The miss.
    pub miss: Box<Miss>,
    /// The socket it came to.
    pub socket: Arc<ReplySocket>,
    /// Who sent it.
    pub peer: Peer,
}

/// Writes replies to misses and sends them in batches.
pub struct Delivery {
    engine: Engine,
    sender: EventSender,
    outboxes: Vec<Outbox>,
}

/// Replies that leave through one socket.
struct Outbox {
    socket: Arc<ReplySocket>,
    replies: SendBatch,
}

impl Delivery {
    /// Replies are made by `engine` and counted by `sender`.
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
        let record = self.engine.finish(&miss, fetched, now, reply);
        self.sender.replied(&miss.exchange(&record, reply, now.saturating_duration_since(miss.received)));
        self.sender.counters().miss_ended();
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
            // A task whose client left waits no more.
            Waiter::Task(waiter) => drop(waiter.send(fetched.clone())),
        }
    }

    fn refuse(&mut self, waiter: Waiter, reason: Dropped) {
        if let Waiter::Datagram(_) = waiter {
            self.sender.counters().dropped(reason);
            self.sender.counters().miss_ended();
        }
    }

    fn flush(&mut self) {
        self.engine.refresh();
        for outbox in self.outboxes.iter_mut().filter(|outbox| !outbox.replies.is_empty()) {
            outbox.socket.send(&mut outbox.replies);
        }
    }
}
