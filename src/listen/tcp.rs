//! TCP: connections with many queries in flight, each answered when its answer is there (RFC 7766).

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

use super::connections::{ConnectionPermit, ConnectionQuery, Connections, Crowded};
use super::delivery::Waiter;
use crate::address::client::Client;
use crate::engine::{Engine, Miss, Outcome, State};
use crate::events::event::AnsweredQuery;
use crate::events::outcome::Decision;
use crate::events::sender::SharedEventSender;
use crate::listen::fetch::{fetch, fetch_local};
use crate::net::socket::take_no_more_connections;
use crate::policy::AllowedQuery;
use crate::relay::RelayHandle;
use crate::wire::reply::Transport;

/// Bounds on what TCP clients may take.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Queries in flight on one connection; more are not read until one is answered.
    pub queries_per_connection: usize,
    /// How long a connection may be without an answered query, or with an unread reply.
    pub idle: Duration,
}

/// First and longest pause after a failed accept, so that a shortage of descriptors costs no CPU.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long connections, and queries on them, are waited for that were under way when the gate was told to end.
const LAST_CALL: Duration = Duration::from_millis(200);

/// How long queries are taken from a connection that never rests, when the gate was told to end.
const LAST_QUERIES: Duration = Duration::from_millis(500);

/// Replies that wait to be written on one connection: what a client that does not read can pile up, 64 KiB each.
const REPLIES: usize = 4;

/// Bytes read from a connection at once: several queries. Each connection has them as long as it is open.
const READ_BUFFER: usize = 1024;

/// Bytes kept for the next reply: a usual one with its length.
const FRAMED: usize = 512;

/// Bytes of a message that any connection may send, as over UDP.
const USUAL: usize = 4096;

/// Bytes of memory taken for a message before it comes: for a query, which rarely has more.
const RESERVED: usize = 512;

/// Longer messages that may be on their way at once, on all connections: 4 MiB. No client needs one, and each connection could
/// otherwise hold 64 KiB by half of one.
pub const LONG_MESSAGES: usize = 64;

/// Everything a connection needs of the gate.
#[derive(Clone)]
pub struct TcpService {
    /// What queries are judged by.
    pub state: Arc<ArcSwap<State>>,
    /// Told of every reply.
    pub sender: SharedEventSender,
    /// Where misses go.
    pub relay: RelayHandle<Waiter>,
    /// Bounds.
    pub limits: TcpLimits,
    /// Places for messages that are longer than usual.
    pub long: Arc<Semaphore>,
    /// Places for connections, of all listeners together.
    pub connections: Arc<Connections>,
    /// Cancelled when no new query is to be taken.
    pub stop: CancellationToken,
    /// Counts connections, so that shutdown can wait for them.
    pub tasks: TaskTracker,
}

impl TcpService {
    /// A door for one task, counting on counters shared by all.
    fn engine(&self) -> Engine {
        Engine::new(&self.state, Arc::clone(self.sender.counters()))
    }

    /// Accepts connections until told to stop. No failure to accept ends it. What is left of an inherited listener is for
    /// whoever has it next.
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
                // The client was gone before we looked; a load balancer's probe is like that.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("accepting TCP connections failed, trying again in {backoff:?}: {error}");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF.1);
                }
            }
        }
        if !is_inherited && let Err(error) = self.accept_the_last(listener).await {
            tracing::debug!("connections may be lost that came at the last moment: {error}");
        }
    }

    /// Accepts connections that clients take for open already, and no new ones.
    async fn accept_the_last(&self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        // Some kernels refuse that now and then. What comes between the last look and the end is lost then, and nothing else.
        if let Err(error) = take_no_more_connections(&listener) {
            tracing::debug!("the listener still takes connections: {error}");
        }
        sleep(LAST_CALL).await;
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
            self.connections.refuse(Crowded::Stranger);
            return;
        }
        let client = state.policies.whole_client(address.ip());
        // Who finds no place is told by the end of the connection, and can go on to the next server.
        if let Ok(permit) = self.connections.admit(client, is_stranger, Instant::now()) {
            self.tasks.spawn(self.clone().serve(stream, address, permit));
        }
    }

    async fn serve(self, mut stream: TcpStream, address: SocketAddr, permit: ConnectionPermit) {
        // Only delay is lost where this fails.
        let _ = stream.set_nodelay(true);
        tokio::select! {
            () = permit.activity().evicted() => {}
            () = self.converse(&mut stream, address, &permit) => {}
        }
    }

    /// Reads queries and writes replies until either side ends the connection.
    async fn converse(&self, stream: &mut TcpStream, address: SocketAddr, permit: &ConnectionPermit) {
        let client = Client { address, transport: Transport::Tcp };
        let (reader, writer) = stream.split();
        let (replies, outgoing) = channel(REPLIES);
        let mut reader = BufReader::with_capacity(READ_BUFFER, reader);
        let reading = async {
            if let Err(error) = self.read_queries(&mut reader, client, permit, replies).await {
                tracing::debug!("a TCP connection ended: {error}");
            }
        };
        // The replies still being made hold senders; the writer ends after the last of them.
        tokio::join!(reading, write_replies(writer, outgoing, self.limits.idle));
        if self.stop.is_cancelled() {
            // Closed with bytes unread the connection would be reset, and the last replies with it.
            let _ = timeout(LAST_CALL, copy(&mut reader, &mut sink())).await;
        }
    }

    /// Ends when no query was answered for as long as a connection may idle: less where places run out, and hardly at all
    /// when the gate is to end. A query in flight is waited for.
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
                () = self.stop.cancelled() => return sleep(LAST_CALL).await,
            }
        }
    }

    /// Reads queries until the client ends its side, idles too long, breaks the framing or sends what gets no reply.
    async fn read_queries(
        &self,
        reader: &mut BufReader<ReadHalf<'_>>,
        client: Client,
        permit: &ConnectionPermit,
        replies: Sender<Vec<u8>>,
    ) -> io::Result<()> {
        let in_flight = Arc::new(Semaphore::new(self.limits.queries_per_connection));
        let mut request = Vec::new();
        let mut engine = self.engine();
        let mut last_call = None;
        loop {
            if self.stop.is_cancelled()
                && *last_call.get_or_insert_with(Instant::now) + LAST_QUERIES < Instant::now()
            {
                return Ok(());
            }
            request.clear();
            request.shrink_to(USUAL);
            let slot = Arc::clone(&in_flight).acquire_owned().await.map_err(io::Error::other)?;
            let begun = tokio::select! {
                // What has come is read, however late this thread has its turn.
                biased;
                () = replies.closed() => return Ok(()),
                // Takes nothing out of the stream, so that it may be given up at any time.
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
                    engine.too_long(client.transport);
                    return Err(error);
                }
                read => read?,
            }
            let slot = (slot, permit.activity().begin());
            let received = Instant::now();
            let mut reply = Vec::with_capacity(512);
            let (record, refresh) = match engine.answer(&request, client, received, &mut reply) {
                Outcome::Reply(record) => (record, None),
                Outcome::Refresh(record, query) => (record, Some(query)),
                Outcome::Fetch(miss, query) => {
                    self.sender.counters().miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, Some(query), replies.clone(), slot));
                    continue;
                }
                Outcome::Local(miss) => {
                    self.sender.counters().miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, None, replies.clone(), slot));
                    continue;
                }
                // Who sends that does not wait for replies: a response, or too little to be anything.
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

    /// Answers a miss: `query` through the relay, and none from a local zone.
    async fn answer_miss(
        self,
        miss: Box<Miss>,
        query: Option<AllowedQuery<'static>>,
        replies: Sender<Vec<u8>>,
        slot: (OwnedSemaphorePermit, ConnectionQuery),
    ) {
        let mut reply = Vec::with_capacity(512);
        // The reply is made when it can be handed on: a client that does not read costs an answer, not a copy each.
        let (place, record) = match query {
            Some(query) => {
                let fetched = fetch(&self.relay, query, &miss).await;
                let place = replies.reserve().await;
                (place, self.engine().finish(&miss, &fetched, Instant::now(), &mut reply))
            }
            None => {
                let mut engine = self.engine();
                let fetched = fetch_local(&mut engine, &self.relay, &miss).await;
                let place = replies.reserve().await;
                (place, engine.finish_local(&miss, &fetched, &mut reply))
            }
        };
        self.sender.replied(&miss.exchange(&record, &reply, miss.received.elapsed()));
        self.sender.counters().miss_ended();
        // A client that left does not miss its reply.
        if let Ok(place) = place {
            place.send(reply);
        }
        slot.1.activity().answered(Instant::now());
        drop(slot);
    }
}

/// Reads one message with its length before it (RFC 1035 section 4.2.2) into `request`, for which memory is taken as its bytes
/// come. Errors: the stream ends before it, or it is longer than usual and `long` has no place for it.
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

/// Writes replies in the order they become ready, each with its length in one write (RFC 7766 section 8).
async fn write_replies(mut writer: WriteHalf<'_>, mut replies: Receiver<Vec<u8>>, idle: Duration) {
    let mut framed = Vec::new();
    while let Some(reply) = replies.recv().await {
        framed.clear();
        framed.reserve(2 + reply.len());
        framed.extend_from_slice(&(reply.len() as u16).to_be_bytes());
        framed.extend_from_slice(&reply);
        match timeout(idle, writer.write_all(&framed)).await {
            Ok(Ok(())) => {}
            // A client that does not read, or is gone, gets nothing more.
            Ok(Err(_)) | Err(_) => return,
        }
        // A long reply's memory is not kept for a client that idles.
        framed.shrink_to(FRAMED);
    }
    // Where the client is gone there is nobody to tell.
    let _ = writer.shutdown().await;
}
