//! UDP: worker threads that answer what they can and hand on what they cannot.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fetch::fetch;
use crate::gate::{Client, Gate, Miss, Outcome, State, Target};
use crate::listen::datagram::{DatagramSocket, Peer};
use crate::telemetry::counters::Dropped;
use crate::telemetry::lookup::Exchange;
use crate::telemetry::teller::{SharedTeller, Teller};
use crate::wire::reply::{MAX_MESSAGE, Transport};

/// How often a worker without traffic looks whether it should end.
const IDLE: Duration = Duration::from_millis(100);

/// Misses waiting to be taken by the runtime; beyond, queries are dropped and counted.
pub const MISS_QUEUE: usize = 4096;

/// Upstream misses being answered at once over all workers; with up to 6 KiB each (an upstream's datagram among it)
/// 60 MiB at most. Beyond, queries are dropped and counted.
const MAX_MISSES: usize = 10_000;

/// A miss with the socket its reply must leave through.
#[derive(Debug)]
pub struct UdpMiss {
    miss: Box<Miss>,
    socket: Arc<DatagramSocket>,
    peer: Peer,
}

/// Starts a worker that answers everything `socket` receives until `stop` is cancelled.
pub fn spawn_worker(
    name: String,
    socket: UdpSocket,
    gate: Gate,
    teller: Teller,
    misses: Sender<UdpMiss>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let socket = Arc::new(DatagramSocket::new(socket, IDLE)?);
    std::thread::Builder::new().name(name).spawn(move || Worker { socket, gate, teller, misses }.run(&stop))
}

struct Worker {
    socket: Arc<DatagramSocket>,
    gate: Gate,
    teller: Teller,
    misses: Sender<UdpMiss>,
}

impl Worker {
    fn run(mut self, stop: &CancellationToken) {
        let mut request = vec![0; MAX_MESSAGE];
        let mut reply = Vec::with_capacity(MAX_MESSAGE);
        while !stop.is_cancelled() {
            match self.socket.receive(&mut request) {
                // A reply to port 0 can reach nobody.
                Ok((_, peer)) if peer.address.port() == 0 => {}
                Ok((length, peer)) => self.serve(&request[..length], peer, &mut reply),
                Err(error) if is_timeout(&error) => {}
                Err(error) => {
                    tracing::debug!("receiving over UDP failed: {error}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn serve(&mut self, request: &[u8], peer: Peer, reply: &mut Vec<u8>) {
        let received = Instant::now();
        let client = Client { address: peer.address, transport: Transport::Udp };
        match self.gate.answer(request, client, received, reply) {
            Outcome::Reply(record) => {
                send(&self.socket, reply, peer);
                let (reply, record, elapsed) = (&**reply, &record, received.elapsed());
                self.teller.replied(&Exchange { client, request, reply, record, received, elapsed });
            }
            Outcome::Miss(miss) => {
                self.teller.counters().miss_begun();
                let miss = UdpMiss { miss, socket: Arc::clone(&self.socket), peer };
                if self.misses.try_send(miss).is_err() {
                    self.teller.counters().dropped(Dropped::Overload);
                    self.teller.counters().miss_ended();
                }
            }
            Outcome::Silence => {}
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn send(socket: &DatagramSocket, reply: &[u8], peer: Peer) {
    if let Err(error) = socket.reply(reply, peer) {
        // The client asks again; it may be gone, or its address was forged.
        tracing::debug!("sending over UDP failed: {error}");
    }
}

/// Takes misses and answers each in a task of its own, until all workers are gone and all tasks done.
pub async fn answer_misses(
    mut misses: Receiver<UdpMiss>,
    state: Arc<ArcSwap<State>>,
    gate: Gate,
    teller: SharedTeller,
) {
    let slots = Arc::new(Semaphore::new(MAX_MISSES));
    let tasks = TaskTracker::new();
    while let Some(miss) = misses.recv().await {
        // Local zones answer at once and need no place; upstreams may be silent for long.
        let slot = match &miss.miss.target {
            Target::Local => None,
            Target::Upstream(_) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => Some(slot),
                Err(_) => {
                    teller.counters().dropped(Dropped::Overload);
                    teller.counters().miss_ended();
                    continue;
                }
            },
        };
        tasks.spawn(answer_miss(miss, Arc::clone(&state), gate.clone(), teller.clone(), slot));
    }
    tasks.close();
    tasks.wait().await;
}

async fn answer_miss(
    miss: UdpMiss,
    state: Arc<ArcSwap<State>>,
    mut gate: Gate,
    teller: SharedTeller,
    slot: Option<OwnedSemaphorePermit>,
) {
    let UdpMiss { miss, socket, peer } = miss;
    let fetched = fetch(&state, &miss).await;
    let mut reply = Vec::with_capacity(512);
    let record = gate.finish(&miss, &fetched, Instant::now(), &mut reply);
    send(&socket, &reply, peer);
    teller.replied(&miss.exchange(&record, &reply, miss.received.elapsed()));
    teller.counters().miss_ended();
    drop(slot);
}
