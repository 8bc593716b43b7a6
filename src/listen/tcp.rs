//! TCP: connections with many queries in flight, each answered when its answer is there (RFC 7766).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fetch::fetch;
use crate::gate::{Client, Gate, Miss, Outcome, State};
use crate::wire::reply::Transport;

/// Bounds on what TCP clients may take.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// Queries in flight on one connection; more are not read until one is answered.
    pub queries_per_connection: usize,
    /// How long a connection may be without a whole query, or with an unread reply.
    pub idle: Duration,
}

/// First and longest pause after a failed accept, so that a shortage of descriptors costs no CPU.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Everything a connection needs of the gate.
#[derive(Clone)]
pub struct TcpService {
    /// What queries are judged by.
    pub state: Arc<ArcSwap<State>>,
    /// The door, counting on counters shared by all tasks.
    pub gate: Gate,
    /// Bounds.
    pub limits: TcpLimits,
    /// Cancelled when no new query is to be taken.
    pub stop: CancellationToken,
    /// Counts connections, so that shutdown can wait for them.
    pub connections: TaskTracker,
}

impl TcpService {
    /// Accepts connections until told to stop. No failure to accept ends it.
    pub async fn listen(self, listener: TcpListener, slots: Arc<Semaphore>) {
        let mut backoff = ACCEPT_BACKOFF.0;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = accept(&listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, address, slot)) => {
                    backoff = ACCEPT_BACKOFF.0;
                    self.connections.spawn(self.clone().serve(stream, address, slot));
                }
                // The client was gone before we looked; a load balancer's probe is like that.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("accepting TCP connections failed, trying again in {backoff:?}: {error}");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF.1);
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream, address: SocketAddr, _slot: OwnedSemaphorePermit) {
        let client = Client { address, transport: Transport::Tcp };
        // Only delay is lost where this fails.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (replies, outgoing) = channel(self.limits.queries_per_connection);
        let idle = self.limits.idle;
        let writing = tokio::spawn(write_replies(writer, outgoing, idle));
        if let Err(error) = self.read_queries(reader, client, replies).await {
            tracing::debug!("TCP connection from {address} ended: {error}");
        }
        // The replies still being made hold senders; the writer ends after the last of them.
        let _ = writing.await;
    }

    /// Reads queries until the client ends its side, idles too long or breaks the framing.
    async fn read_queries(
        mut self,
        mut reader: OwnedReadHalf,
        client: Client,
        replies: Sender<Vec<u8>>,
    ) -> io::Result<()> {
        let in_flight = Arc::new(Semaphore::new(self.limits.queries_per_connection));
        let mut request = Vec::new();
        loop {
            let Ok(slot) = Arc::clone(&in_flight).acquire_owned().await else { return Ok(()) };
            let begun = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = replies.closed() => return Ok(()),
                begun = timeout(self.limits.idle, reader.readable()) => begun,
            };
            match begun {
                Ok(readable) => readable?,
                // Silence ends a connection only when nothing is owed on it.
                Err(_) if in_flight.available_permits() + 1 < self.limits.queries_per_connection => continue,
                Err(_) => return Ok(()),
            }
            match timeout(self.limits.idle, read_message(&mut reader, &mut request)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
            let received = Instant::now();
            let mut reply = Vec::with_capacity(512);
            match self.gate.answer(&request, client, received, &mut reply) {
                Outcome::Reply(record) => {
                    self.gate.counters().response(record, received.elapsed());
                    if replies.send(reply).await.is_err() {
                        return Ok(());
                    }
                }
                Outcome::Miss(miss) => {
                    self.gate.counters().miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, replies.clone(), slot));
                }
                Outcome::Silence => {}
            }
        }
    }

    async fn answer_miss(mut self, miss: Box<Miss>, replies: Sender<Vec<u8>>, slot: OwnedSemaphorePermit) {
        let answer = fetch(&self.state, &miss).await;
        let mut reply = Vec::with_capacity(512);
        let record = self.gate.finish(&miss, &answer, &mut reply);
        self.gate.counters().response(record, miss.received.elapsed());
        self.gate.counters().miss_ended();
        // A client that left does not miss its reply.
        let _ = replies.send(reply).await;
        drop(slot);
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, slot))
}

/// Reads one length-prefixed message into `request`; false where the client ended its side between messages.
async fn read_message(reader: &mut OwnedReadHalf, request: &mut Vec<u8>) -> io::Result<bool> {
    request.clear();
    let mut length = [0; 2];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(false);
    }
    reader.read_exact(&mut length[1..]).await?;
    request.resize(usize::from(u16::from_be_bytes(length)), 0);
    reader.read_exact(request).await?;
    Ok(true)
}

/// Writes replies in the order they become ready, each with its length in one write (RFC 7766 section 8).
async fn write_replies(mut writer: OwnedWriteHalf, mut replies: Receiver<Vec<u8>>, idle: Duration) {
    let mut framed = Vec::with_capacity(1024);
    while let Some(reply) = replies.recv().await {
        framed.clear();
        framed.extend_from_slice(&(reply.len() as u16).to_be_bytes());
        framed.extend_from_slice(&reply);
        match timeout(idle, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            // A client that does not read, or is gone, gets nothing more.
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
