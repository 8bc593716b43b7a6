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

use crate::fetch::fetch;
use crate::gate::{Client, Gate, Miss, Outcome, State};
use crate::telemetry::counters::Dropped;
use crate::wire::reply::{MAX_MESSAGE, Transport};

/// How often a worker without traffic looks whether it should end.
const IDLE: Duration = Duration::from_millis(100);

/// Misses waiting to be taken by the runtime; beyond, queries are dropped and counted.
pub const MISS_QUEUE: usize = 4096;

/// Misses being answered at once over all workers: with some 2 KiB each, 20 MiB at most.
const MAX_MISSES: usize = 10_000;

/// A miss with the socket its reply must leave through.
#[derive(Debug)]
pub struct UdpMiss {
    miss: Box<Miss>,
    socket: Arc<UdpSocket>,
}

/// Starts a worker that answers everything `socket` receives until `stop` is cancelled.
pub fn spawn_worker(
    name: String,
    socket: UdpSocket,
    gate: Gate,
    misses: Sender<UdpMiss>,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    socket.set_read_timeout(Some(IDLE))?;
    std::thread::Builder::new()
        .name(name)
        .spawn(move || Worker { socket: Arc::new(socket), gate, misses }.run(&stop))
}

struct Worker {
    socket: Arc<UdpSocket>,
    gate: Gate,
    misses: Sender<UdpMiss>,
}

impl Worker {
    fn run(mut self, stop: &CancellationToken) {
        let mut request = vec![0; MAX_MESSAGE];
        let mut reply = Vec::with_capacity(MAX_MESSAGE);
        while !stop.is_cancelled() {
            match self.socket.recv_from(&mut request) {
                Ok((length, address)) => {
                    // A reply to port 0 can reach nobody.
                    if address.port() != 0 {
                        let client = Client { address, transport: Transport::Udp };
                        self.serve(&request[..length], client, &mut reply);
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => {
                    tracing::debug!("receiving over UDP failed: {error}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn serve(&mut self, request: &[u8], client: Client, reply: &mut Vec<u8>) {
        let received = Instant::now();
        match self.gate.answer(request, client, received, reply) {
            Outcome::Reply(record) => {
                send(&self.socket, reply, client);
                self.gate.counters().response(record, received.elapsed());
            }
            Outcome::Miss(miss) => {
                self.gate.counters().miss_begun();
                let miss = UdpMiss { miss, socket: Arc::clone(&self.socket) };
                if self.misses.try_send(miss).is_err() {
                    self.gate.counters().dropped(Dropped::Overload);
                    self.gate.counters().miss_ended();
                }
            }
            Outcome::Silence => {}
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn send(socket: &UdpSocket, reply: &[u8], client: Client) {
    if let Err(error) = socket.send_to(reply, client.address) {
        // The client asks again; it may be gone, or its address was forged.
        tracing::debug!("sending to {} failed: {error}", client.address);
    }
}

/// Takes misses and answers each in a task of its own, until all workers are gone and all tasks done.
pub async fn answer_misses(mut misses: Receiver<UdpMiss>, state: Arc<ArcSwap<State>>, gate: Gate) {
    let slots = Arc::new(Semaphore::new(MAX_MISSES));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Some(miss) = misses.recv().await else { break };
        tokio::spawn(answer_miss(miss, Arc::clone(&state), gate.clone(), slot));
    }
    // All slots free again is all tasks done.
    let _ = slots.acquire_many(MAX_MISSES as u32).await;
}

async fn answer_miss(miss: UdpMiss, state: Arc<ArcSwap<State>>, mut gate: Gate, slot: OwnedSemaphorePermit) {
    let UdpMiss { miss, socket } = miss;
    let answer = fetch(&state, &miss).await;
    let mut reply = Vec::with_capacity(512);
    let record = gate.finish(&miss, &answer, &mut reply);
    send(&socket, &reply, miss.client);
    gate.counters().response(record, miss.received.elapsed());
    gate.counters().miss_ended();
    drop(slot);
}
