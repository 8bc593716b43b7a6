//! TCP: connections with many queries in flight, each answered when its answer is there (RFC 7766).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Place};
use super::delivery::Waiter;
use super::socket::take_no_more_connections;
use crate::fetch::{fetch, fetch_local};
use crate::gate::{Client, Gate, Miss, Outcome, State};
use crate::policy::AllowedQuery;
use crate::telemetry::lookup::Exchange;
use crate::telemetry::teller::SharedTeller;
use crate::upstream::relay::Asker;
use crate::wire::reply::Transport;

/// Bounds on what TCP clients may take.
#[derive(Clone, Copy, Debug)]
pub struct TcpLimits {
    /// Queries in flight on one connection; more are not read until one is answered.
    pub queries_per_connection: usize,
    /// How long a connection may be without a whole query, or with an unread reply.
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

/// Everything a connection needs of the gate.
#[derive(Clone)]
pub struct TcpService {
    /// What queries are judged by.
    pub state: Arc<ArcSwap<State>>,
    /// Told of every reply.
    pub teller: SharedTeller,
    /// Where misses go.
    pub relay: Asker<Waiter>,
    /// Bounds.
    pub limits: TcpLimits,
    /// Places for connections, of all listeners together.
    pub connections: Arc<Connections>,
    /// Cancelled when no new query is to be taken.
    pub stop: CancellationToken,
    /// Counts connections, so that shutdown can wait for them.
    pub tasks: TaskTracker,
}

impl TcpService {
    /// A door for one task, counting on counters shared by all.
    fn gate(&self) -> Gate {
        Gate::new(&self.state, Arc::clone(self.teller.counters()))
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
        // Who finds no place is told by the end of the connection, and can go on to the next server.
        let is_stranger = self.state.load().policies.group(address.ip()).is_none();
        if let Ok(place) = self.connections.admit(address.ip(), is_stranger) {
            self.tasks.spawn(self.clone().serve(stream, address, place));
        }
    }

    async fn serve(self, stream: TcpStream, address: SocketAddr, _place: Place) {
        let client = Client { address, transport: Transport::Tcp };
        // Only delay is lost where this fails.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        let (replies, outgoing) = channel(REPLIES);
        let idle = self.limits.idle;
        let writing = tokio::spawn(write_replies(writer, outgoing, idle));
        let mut reader = BufReader::new(reader);
        if let Err(error) = self.read_queries(&mut reader, client, replies).await {
            tracing::debug!("a TCP connection ended: {error}");
        }
        // The replies still being made hold senders; the writer ends after the last of them.
        let _ = writing.await;
        if self.stop.is_cancelled() {
            // Closed with bytes unread the connection would be reset, and the last replies with it.
            let _ = timeout(LAST_CALL, copy(&mut reader, &mut sink())).await;
        }
    }

    /// How long the next query is waited for: less where places run out, and hardly at all when the gate is to end.
    async fn patience(&self) {
        tokio::select! {
            () = sleep(self.connections.patience(self.limits.idle)) => {}
            () = self.stop.cancelled() => sleep(LAST_CALL).await,
        }
    }

    /// Reads queries until the client ends its side, idles too long or breaks the framing.
    async fn read_queries(
        &self,
        reader: &mut BufReader<OwnedReadHalf>,
        client: Client,
        replies: Sender<Vec<u8>>,
    ) -> io::Result<()> {
        let in_flight = Arc::new(Semaphore::new(self.limits.queries_per_connection));
        let mut request = Vec::new();
        let mut gate = self.gate();
        let mut last_call = None;
        loop {
            if self.stop.is_cancelled()
                && *last_call.get_or_insert_with(Instant::now) + LAST_QUERIES < Instant::now()
            {
                return Ok(());
            }
            let slot = Arc::clone(&in_flight).acquire_owned().await.map_err(io::Error::other)?;
            let begun = tokio::select! {
                // What has come is read, however late this thread has its turn.
                biased;
                () = replies.closed() => return Ok(()),
                // Takes nothing out of the stream, so that it may be given up at any time.
                begun = reader.fill_buf() => Some(begun?),
                () = self.patience() => None,
            };
            match begun {
                Some([]) => return Ok(()),
                Some(_) => {}
                // Silence ends a connection only when nothing is owed on it, or nothing new is to be taken.
                None if in_flight.available_permits() + 1 < self.limits.queries_per_connection
                    && !self.stop.is_cancelled() =>
                {
                    continue;
                }
                None => return Ok(()),
            }
            tokio::select! {
                biased;
                read = read_message(reader, &mut request) => read?,
                () = self.patience() => return Err(io::ErrorKind::TimedOut.into()),
            }
            let received = Instant::now();
            let mut reply = Vec::with_capacity(512);
            let (record, refresh) = match gate.answer(&request, client, received, &mut reply) {
                Outcome::Reply(record) => (record, None),
                Outcome::Refresh(record, query) => (record, Some(query)),
                Outcome::Fetch(miss, query) => {
                    self.teller.counters().miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, Some(query), replies.clone(), slot));
                    continue;
                }
                Outcome::Local(miss) => {
                    self.teller.counters().miss_begun();
                    tokio::spawn(self.clone().answer_miss(miss, None, replies.clone(), slot));
                    continue;
                }
                Outcome::Silence => continue,
            };
            if let Some(query) = refresh {
                self.relay.refresh(query, received);
                self.relay.ring();
            }
            let (record, elapsed) = (&record, received.elapsed());
            let (request, sent) = (&*request, &*reply);
            self.teller.replied(&Exchange { client, request, reply: sent, record, received, elapsed });
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
        slot: OwnedSemaphorePermit,
    ) {
        let mut reply = Vec::with_capacity(512);
        // The reply is made when it can be handed on: a client that does not read costs an answer, not a copy each.
        let (place, record) = match query {
            Some(query) => {
                let fetched = fetch(&self.relay, query, &miss).await;
                let place = replies.reserve().await;
                (place, self.gate().finish(&miss, &fetched, Instant::now(), &mut reply))
            }
            None => {
                let state = self.state.load_full();
                let answer = fetch_local(&state, &miss).await;
                let place = replies.reserve().await;
                (place, self.gate().finish_local(&miss, answer.as_ref(), &mut reply))
            }
        };
        self.teller.replied(&miss.exchange(&record, &reply, miss.received.elapsed()));
        self.teller.counters().miss_ended();
        // A client that left does not miss its reply.
        if let Ok(place) = place {
            place.send(reply);
        }
        drop(slot);
    }
}

/// Reads one message with its length before it (RFC 1035 section 4.2.2) into `request`. Errors: the stream ends before it.
pub async fn read_message(reader: &mut (impl AsyncRead + Unpin), request: &mut Vec<u8>) -> io::Result<()> {
    let length = reader.read_u16().await?;
    request.clear();
    request.resize(usize::from(length), 0);
    reader.read_exact(request).await?;
    Ok(())
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
