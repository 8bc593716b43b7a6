//! UDP: worker threads that answer what they can and hand over cache misses.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{UdpMiss, Waiter};
use crate::address::client::Client;
use crate::engine::{Engine, Outcome, State};
use crate::events::counters::Dropped;
use crate::events::event::AnsweredQuery;
use crate::events::outcome::QueryOutcome;
use crate::events::own_clients::OwnClients;
use crate::events::sender::{EventSender, SharedEventSender};
use crate::listen::fetch::fetch_local;
use crate::net::batch::{Datagram, Peer, ReceiveBatch, SendBatch, Wait};
use crate::net::reply_socket::ReplySocket;
use crate::net::socket;
use crate::policy::AllowedQuery;
use crate::relay::RelayHandle;
use crate::util::heartbeat::Heartbeat;
use crate::util::log_event::log;
use crate::wire::reply::Transport;

/// How often a worker without traffic checks for shutdown.
const IDLE: Duration = Duration::from_millis(100);

/// Datagrams received and sent with one call. Larger batches save nothing (measured: no gain above about 16) and delay
/// the first reply of a burst.
const BATCH: usize = 32;

/// At shutdown: how long a worker keeps reading datagrams that were already sent to its socket.
const LAST_CALL: Duration = Duration::from_millis(20);

/// Longest request in bytes. The largest that common clients send over UDP is an EDNS query padded to 128 or 468 (RFC
/// 8467). Longer ones are truncated and dropped.
const ROOM: usize = 4096;

/// Maximum queries for local zones that wait for the runtime; further ones are dropped and counted.
pub const LOCAL_QUEUE: usize = 4096;

/// A worker that answers the queries of one socket.
pub struct Worker {
    /// The socket.
    pub socket: Arc<ReplySocket>,
    /// Decides queries.
    pub engine: Engine,
    /// Receives every reply as an event.
    pub sender: EventSender,
    /// Recognizes namegate's own queries.
    pub own_clients: Arc<OwnClients>,
    /// Handles cache misses.
    pub relay: RelayHandle<Waiter>,
    /// Receives queries for local zones.
    pub local: Sender<UdpMiss>,
    /// True if the socket was inherited. At shutdown its unread datagrams stay for the next process that gets it.
    pub is_inherited: bool,
    /// Shows that the worker makes progress.
    pub heartbeat: Heartbeat,
}

impl Worker {
    /// Starts a thread that runs until `stop` is cancelled.
    pub fn spawn(self, name: String, stop: CancellationToken) -> io::Result<JoinHandle<()>> {
        self.socket.receiving().set_read_timeout(Some(IDLE))?;
        std::thread::Builder::new().name(name).spawn(move || self.run(&stop))
    }

    fn run(mut self, stop: &CancellationToken) {
        let mut requests = ReceiveBatch::new(BATCH, ROOM);
        let mut replies = Replies { batch: SendBatch::new(BATCH), records: Vec::with_capacity(BATCH) };
        let socket = Arc::clone(&self.socket);
        for spare in socket.spares() {
            while requests.receive(spare, Wait::No).is_ok() {
                self.serve(&requests, &mut replies);
            }
        }
        while !stop.is_cancelled() {
            self.heartbeat.beat();
            match requests.receive(socket.receiving(), Wait::ForOne) {
                Ok(_) => self.serve(&requests, &mut replies),
                Err(error) if is_timeout(&error) => self.engine.refresh(),
                Err(error) => {
                    log!(SocketError, "cannot receive over UDP: {error}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.heartbeat.rest();
        if !self.is_inherited {
            self.drain(&mut requests, &mut replies);
        }
    }

    /// Answers what has already arrived. Later datagrams go to other sockets of the port, or the kernel answers port
    /// unreachable.
    fn drain(&mut self, requests: &mut ReceiveBatch, replies: &mut Replies) {
        if let Err(error) = socket::take_no_more_datagrams(self.socket.receiving()) {
            log!(SocketError, "cannot stop a closing socket from receiving datagrams: {error}");
        }
        for pause in [Duration::ZERO, LAST_CALL] {
            std::thread::sleep(pause);
            while requests.receive(self.socket.receiving(), Wait::No).is_ok() {
                self.serve(requests, replies);
            }
        }
    }

    fn serve(&mut self, requests: &ReceiveBatch, replies: &mut Replies) {
        let received = Instant::now();
        let own_clients = self.own_clients.now();
        let mut has_asked = false;
        for (index, Datagram { bytes, peer, is_cut }) in requests.iter().enumerate() {
            // A reply to port 0 cannot be delivered.
            if peer.address.port() == 0 {
                continue;
            }
            if is_cut {
                self.engine.too_long(Transport::Udp);
                continue;
            }
            let is_own = own_clients.has(peer.address, Transport::Udp);
            let client = Client { address: peer.address, transport: Transport::Udp, is_own };
            match self.engine.answer(bytes, client, received, replies.batch.draft()) {
                Outcome::Reply(record) => replies.post(index, peer, client, record),
                Outcome::Refresh(record, query) => {
                    replies.post(index, peer, client, record);
                    self.relay.refresh(query, received);
                    has_asked = true;
                }
                Outcome::Fetch(miss, query) => {
                    self.sender.counters().of(client).miss_begun();
                    let miss = UdpMiss { miss, socket: Arc::clone(&self.socket), peer };
                    self.ask(miss, query, received);
                    has_asked = true;
                }
                Outcome::Local(miss) => {
                    self.sender.counters().of(client).miss_begun();
                    let miss = UdpMiss { miss, socket: Arc::clone(&self.socket), peer };
                    if self.local.try_send(miss).is_err() {
                        self.drop_miss(client);
                    }
                }
                Outcome::Silence => {}
            }
        }
        if has_asked {
            self.relay.ring();
        }
        replies.send(&self.socket);
        let elapsed = received.elapsed();
        replies.tell(requests, received, elapsed, &mut self.sender);
    }

    fn ask(&self, miss: UdpMiss, query: AllowedQuery<'static>, received: Instant) {
        let client = miss.miss.client;
        if self.relay.ask(query, received, Waiter::Datagram(miss)).is_err() {
            self.drop_miss(client);
        }
    }

    fn drop_miss(&self, client: Client) {
        let counters = self.sender.counters().of(client);
        counters.dropped(Dropped::Overload);
        counters.miss_ended();
    }
}

/// Replies to a batch of requests.
struct Replies {
    batch: SendBatch,
    /// For each reply: the index of its request, the client and the outcome.
    records: Vec<(usize, Client, QueryOutcome)>,
}

impl Replies {
    fn post(&mut self, request: usize, peer: Peer, client: Client, record: QueryOutcome) {
        self.batch.post(peer);
        self.records.push((request, client, record));
    }

    fn send(&mut self, socket: &ReplySocket) {
        if !self.batch.is_empty() {
            socket.send(&mut self.batch);
        }
    }

    fn tell(
        &mut self,
        requests: &ReceiveBatch,
        received: Instant,
        elapsed: Duration,
        sender: &mut EventSender,
    ) {
        for (index, (request, client, record)) in self.records.drain(..).enumerate() {
            let (request, reply, record) = (requests.bytes(request), self.batch.message(index), &record);
            sender.replied(&AnsweredQuery { client, request, reply, record, received, elapsed });
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Answers queries for local zones, each in its own task, until all workers have ended and all tasks are done.
pub async fn answer_from_local_zones(
    mut misses: Receiver<UdpMiss>,
    state: Arc<ArcSwap<State>>,
    relay: RelayHandle<Waiter>,
    sender: SharedEventSender,
) {
    let tasks = TaskTracker::new();
    while let Some(miss) = misses.recv().await {
        tasks.spawn(answer_locally(miss, Arc::clone(&state), relay.clone(), sender.clone()));
    }
    tasks.close();
    tasks.wait().await;
}

async fn answer_locally(
    miss: UdpMiss,
    state: Arc<ArcSwap<State>>,
    relay: RelayHandle<Waiter>,
    sender: SharedEventSender,
) {
    let UdpMiss { miss, socket, peer } = miss;
    let mut engine = Engine::new(&state, Arc::clone(sender.counters()));
    let fetched = fetch_local(&mut engine, &relay, &miss).await;
    let mut replies = SendBatch::new(1);
    let reply = replies.push(peer);
    let record = miss.finish_local(&mut engine, &fetched, reply);
    sender.replied(&miss.exchange(&record, reply, miss.received.elapsed()));
    socket.send(&mut replies);
    sender.counters().of(miss.client).miss_ended();
}
