//! TCP: connections with many queries in flight, each answered as soon as its answer arrives (RFC 7766).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{ConnectionPermit, ConnectionQuery, Connections, RefusedConnection};
use super::delivery::Waiter;
use crate::address::client::Client;
use crate::engine::{Engine, Miss, Outcome, State};
use crate::events::event::AnsweredQuery;
use crate::events::outcome::Decision;
use crate::events::own_clients::OwnClients;
use crate::events::sender::SharedEventSender;
use crate::listen::fetch::{fetch, fetch_local};
use crate::net::socket::take_no_more_connections;
use crate::policy::AllowedQuery;
use crate::relay::RelayHandle;
use crate::util::duration::shown;
use crate::util::log_event::log;
use crate::wire::reply::Transport;

/// Limits for TCP clients.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Most queries in flight on one connection; no more are read until one is answered.
    pub queries_per_connection: usize,
    /// Idle timeout: closes a connection that has had no answered query for this long, or whose client does not read a
    /// reply for this long.
    pub idle: Duration,
}

/// First and longest pause after a failed accept, so that a lack of file descriptors does not use up the CPU.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// At shutdown: how long to accept connections and read queries that were already sent.
const SHUTDOWN_DRAIN: Duration = Duration::from_millis(200);

/// At shutdown: how long to keep reading from a connection that keeps sending.
const LAST_QUERIES: Duration = Duration::from_millis(500);

/// Replies queued per connection (up to 64 KiB each). Limits the memory for a client that does not read.
const REPLIES: usize = 4;

/// Read buffer in bytes, enough for several queries. Each open connection has one.
const READ_BUFFER: usize = 1024;

/// Bytes of the write buffer that stay allocated: a usual reply with its length.
const FRAMED: usize = 512;

/// Largest message accepted without a [`LONG_MESSAGES`] permit, as over UDP.
const USUAL: usize = 4096;

/// Bytes reserved for a message before it arrives; a query rarely has more.
const RESERVED: usize = 512;

/// Messages over `USUAL` bytes that may be in transfer at once over all connections (4 MiB in total). Without a limit,
/// each connection could hold 64 KiB by sending half a message.
pub const LONG_MESSAGES: usize = 64;

/// Everything that a connection needs.
#[derive(Clone)]
pub struct TcpService {
    /// The state that decides queries.
    pub state: Arc<ArcSwap<State>>,
    /// Receives every reply as an event.
    pub sender: SharedEventSender,
    /// Recognizes namegate's own queries.
    pub own_clients: Arc<OwnClients>,
    /// Handles cache misses.
    pub relay: RelayHandle<Waiter>,
    /// Limits.
    pub limits: TcpLimits,
    /// Permits for messages that are longer than usual.
    pub long: Arc<Semaphore>,
    /// Slots for connections of all listeners.
    pub connections: Arc<Connections>,
    /// Cancelled at shutdown, when no new queries are read.
    pub stop: CancellationToken,
    /// Tracks connections, so that shutdown can wait for them.
    pub tasks: TaskTracker,
}

impl TcpService {
    /// An engine for one task, with the shared counters.
    fn engine(&self) -> Engine {
        Engine::new(&self.state, Arc::clone(self.sender.counters()))
    }

    /// Accepts connections until shutdown; a failed accept does not end it. The backlog of an inherited listener is
    /// left for the next process.
    pub async fn listen(self, listener: TcpListener, is_inherited: bool) {
        let mut backoff = ACCEPT_BACKOFF.0;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    backoff = ACCEPT_BACKOFF.0;
                    self.admit(stream, address);
                }
                // The client has already closed it, as a load balancer's probe does.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log!(
                        AcceptFailed,
                        "cannot accept TCP connections, retrying in {}: {error}",
                        shown(backoff)
                    );
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF.1);
                }
            }
        }
        if !is_inherited && let Err(error) = self.accept_the_last(listener).await {
            log!(SocketError, "connections that arrived during shutdown may be lost: {error}");
        }
    }

    /// Accepts the connections in the backlog, and no new ones.
    async fn accept_the_last(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        // This may fail. Then connections that arrive between the last accept and the close are lost.
        if let Err(error) = take_no_more_connections(&listener) {
            log!(SocketError, "cannot stop the listener from taking new connections: {error}");
        }
        sleep(SHUTDOWN_DRAIN).await;
        while let Ok((stream, address)) = listener.accept() {
            stream.set_nonblocking(true)?;
            self.admit(TcpStream::from_std(stream)?, address);
        }
        Ok(())
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr) {
        let state = self.state.load();
        let is_stranger = state.policies.group(address.ip()).is_none();
        if is_stranger && state.drops_others {
            self.connections.refuse(RefusedConnection::Stranger);
            return;
        }
        let client = state.policies.whole_client(address.ip());
        // If no slot is free, dropping `stream` closes the connection; the client can try its next server.
        if let Ok(permit) = self.connections.admit(client, is_stranger, Instant::now()) {
            self.tasks.spawn(self.clone().serve(stream, address, permit));
        }
    }

    async fn serve(self, mut stream: TcpStream, address: SocketAddr, permit: ConnectionPermit) {
        // If this fails, replies are only delayed.
        let _ = stream.set_nodelay(true);
        tokio::select! {
            () = permit.activity().evicted() => {}
            () = self.converse(&mut stream, address, &permit) => {}
        }
    }

    /// Reads queries and writes replies until either side closes the connection.
    async fn converse(&self, stream: &mut TcpStream, address: SocketAddr, permit: &ConnectionPermit) {
        let (reader, writer) = stream.split();
        let (replies, outgoing) = channel(REPLIES);
        let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
        let reading = async {
            if let Err(error) = self.read_queries(&mut reader, address, permit, replies).await {
                log!(TcpClosed, "TCP connection closed: {error}");
            }
        };
        // Each pending query holds a clone of `replies`; the writer ends when the last clone is dropped.
        tokio::join!(reading, write_replies(writer, outgoing, self.limits.idle));
        if self.stop.is_cancelled() {
            // Closing with unread bytes would reset the connection and lose the last replies.
            let _ = timeout(SHUTDOWN_DRAIN, copy(&mut reader, &mut sink())).await;
        }
    }

    /// Completes when the connection has been idle for too long. The timeout is shorter if few slots are free. Queries
    /// in flight prevent it, except at shutdown.
    async fn expiry(&self, permit: &ConnectionPermit) {
        loop {
            let now = Instant::now();
            let idle_since = permit.activity().idle_since().unwrap_or(now);
            let expires = idle_since + permit.patience(self.limits.idle);
            if expires <= now {
                return;
            }
            tokio::select! {
                () = sleep_until(expires.into()) => {}
                () = self.stop.cancelled() => return sleep(SHUTDOWN_DRAIN).await,
            }
        }
    }

    /// Reads queries until the client closes its side, is idle too long, breaks the framing or sends a message that
    /// gets no reply.
    async fn read_queries(
        &self,
        reader: &mut BufReader<ReadHalf<'_>>,
        address: SocketAddr,
        permit: &ConnectionPermit,
        replies: Sender<Vec<u8>>,
    ) -> io::Result<()> {
        let in_flight = Arc::new(Semaphore::new(self.limits.queries_per_connection));
        let mut request = Vec::new();
        let mut engine = self.engine();
        let mut draining_since = None;
        loop {
            if self.stop.is_cancelled()
                && *draining_since.get_or_insert_with(Instant::now) + LAST_QUERIES < Instant::now()
            {
                return Ok(());
            }
            request.clear();
            request.shrink_to(USUAL);
            let slot = Arc::clone(&in_flight).acquire_owned().await.map_err(io::Error::other)?;
            let begun = tokio::select! {
                // Prefer received data to the idle timeout, even if this task runs late.
                biased;
                () = replies.closed() => return Ok(()),
                // Consumes nothing from the stream, so it can be cancelled at any time.
                begun = reader.fill_buf() => begun?,
                () = self.expiry(permit) => return Ok(()),
            };
            if begun.is_empty() {
                return Ok(());
            }
            let read = tokio::select! {
                biased;
                read = read_message(reader, &mut request, &self.long) => read,
                () = self.expiry(permit) => return Err(io::ErrorKind::TimedOut.into()),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    engine.too_long(Transport::Tcp);
                    return Err(error);
                }
                read => read?,
            }
            let slot = (slot, permit.activity().begin());
            let received = Instant::now();
            let is_own = self.own_clients.now().has(address, Transport::Tcp);
            let client = Client { address, transport: Transport::Tcp, is_own };
            let mut reply = Vec::with_capacity(512);
            let (record, refresh) = match engine.answer(&request, client, received, &mut reply) {
                Outcome::Reply(record) => (record, None),
                Outcome::Refresh(record, query) => (record, Some(query)),
                Outcome::Fetch(miss, query) => {
                    self.sender.counters().of(client).miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, Some(query), replies.clone(), slot));
                    continue;
                }
                Outcome::Local(miss) => {
                    self.sender.counters().of(client).miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, None, replies.clone(), slot));
                    continue;
                }
                // A response, a fragment, or a client that gets no replies: close the connection.
                Outcome::Silence => return Ok(()),
            };
            if let Some(query) = refresh {
                self.relay.refresh(query, received);
                self.relay.ring();
            }
            let (record, elapsed) = (&record, received.elapsed());
            if !matches!(record.decision, Decision::Error | Decision::Refused) {
                permit.activity().answered(received);
            }
            let (request, sent) = (&*request, &*reply);
            self.sender.replied(&AnsweredQuery { client, request, reply: sent, record, received, elapsed });
            if replies.send(reply).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Answers a cache miss: `query` through the relay, or without one from a local zone.
    async fn answer_miss(
        self,
        miss: Box<Miss>,
        query: Option<AllowedQuery<'static>>,
        replies: Sender<Vec<u8>>,
        slot: (OwnedSemaphorePermit, ConnectionQuery),
    ) {
        let mut reply = Vec::with_capacity(512);
        // Write the reply only when the queue has room. Until then, a client that does not read holds only the shared
        // answer, not its own copy.
        let (place, record) = match query {
            Some(query) => {
                let fetched = fetch(&self.relay, query, &miss).await;
                let place = replies.reserve().await;
                (place, miss.finish(&mut self.engine(), &fetched, Instant::now(), &mut reply))
            }
            None => {
                let mut engine = self.engine();
                let fetched = fetch_local(&mut engine, &self.relay, &miss).await;
                let place = replies.reserve().await;
                (place, miss.finish_local(&mut engine, &fetched, &mut reply))
            }
        };
        self.sender.replied(&miss.exchange(&record, &reply, miss.received.elapsed()));
        self.sender.counters().of(miss.client).miss_ended();
        // If the client has left, the reply is discarded.
        if let Ok(place) = place {
            place.send(reply);
        }
        slot.1.activity().answered(Instant::now());
        drop(slot);
    }
}

/// Reads one message with its length prefix (RFC 1035 section 4.2.2) into `request`, which grows as bytes arrive.
///
/// Errors: the stream ends early, or the message is longer than usual and `long` has no permit left.
pub async fn read_message(
    reader: &mut (impl AsyncRead + Unpin),
    request: &mut Vec<u8>,
    long: &Semaphore,
) -> io::Result<()> {
    let length = reader.read_u16().await?;
    let _place = match usize::from(length) > USUAL {
        true => Some(long.try_acquire().map_err(|_| io::ErrorKind::FileTooLarge)?),
        false => None,
    };
    request.clear();
    request.reserve(usize::from(length).min(RESERVED));
    match reader.take(length.into()).read_to_end(request).await? {
        read if read == usize::from(length) => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes replies as they become ready. Length prefix and message go in one write (RFC 7766 section 8).
async fn write_replies(mut writer: WriteHalf<'_>, mut replies: Receiver<Vec<u8>>, idle: Duration) {
    let mut framed = Vec::new();
    while let Some(reply) = replies.recv().await {
        framed.clear();
        framed.reserve(2 + reply.len());
        framed.extend_from_slice(&(reply.len() as u16).to_be_bytes());
        framed.extend_from_slice(&reply);
        match timeout(idle, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            // A client that does not read or has left gets no more replies.
            Ok(Err(_)) | Err(_) => return,
        }
        // Do not hold the memory of a long reply for an idle client.
        framed.shrink_to(FRAMED);
    }
    // The error does not matter if the client has left.
    let _ = writer.shutdown().await;
}
