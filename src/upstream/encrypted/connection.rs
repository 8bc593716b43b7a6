//! [`Connection`]: one encrypted connection, shared by many queries.
//!
//! [`tls`](super::tls) and [`https`](super::https) are our own, on rustls and h2. hickory's streams drop replies that
//! they cannot decode, hide the HTTP status and headers, and wait for each other's segments. QUIC is hickory's, one
//! level below its resolver, which would parse every reply into records and turn negative ones into errors. Here a
//! reply keeps its own bytes (`DnsResponse::into_buffer`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message};
use hickory_resolver::net::NetError;
use hickory_resolver::net::quic::QuicClientStream;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::https::HttpsLink;
use super::reply::{Loss, Reply, ReplyOrder};
use super::tls::TlsLink;
use crate::address::encrypted::{EncryptedAddress, EncryptedProtocol};
use crate::address::trust;
use crate::util::sync::lock;

/// How long a connection with waiting queries may be silent before new queries use another one. Shorter than the second
/// after which a query is retried, so that the retry uses a new connection. A lost path shows no other sign for
/// minutes.
const SILENCE: Duration = Duration::from_millis(900);

/// Queries sent within this time count as simultaneous: the second may have left first.
const TOGETHER: Duration = Duration::from_millis(20);

/// One encrypted connection; see the module documentation.
pub(super) struct Connection {
    link: Link,
    opened: Instant,
    /// Milliseconds from `opened` to the last reply.
    heard: AtomicU64,
    replies: AtomicU64,
    waiting: Mutex<Waiting>,
}

enum Link {
    Tls(TlsLink),
    Https(HttpsLink),
    Quic(DnsExchange<TokioRuntimeProvider>),
}

/// Queries without a reply, in the order sent, with the time of sending.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, Instant>,
    /// When the latest of the answered queries was sent.
    answered: Option<Instant>,
}

impl Waiting {
    /// What the end of a query sent at `since` shows. A missing reply shows nothing: a server that processes one query
    /// at a time may have given up on it.
    fn note(&mut self, since: Instant, is_answered: bool) -> ReplyOrder {
        match self.answered {
            _ if !is_answered => ReplyOrder::InTurn,
            Some(answered) if since + TOGETHER <= answered => ReplyOrder::Overtaken,
            answered => {
                self.answered = answered.max(Some(since));
                ReplyOrder::InTurn
            }
        }
    }
}

impl Connection {
    /// Connects to `socket` and verifies the server's identity. Takes 10 s at most.
    ///
    /// Errors: no connection, or a peer that is not the server; as text.
    pub(super) async fn open(
        address: &EncryptedAddress,
        socket: SocketAddr,
        tls: &ClientConfig,
    ) -> Result<Self, String> {
        let explain_io = |error: std::io::Error| trust::explain(&error);
        let link = match address.protocol {
            EncryptedProtocol::Tls => {
                let (name, tls) = (address.server_name.clone(), Arc::new(tls.clone()));
                Link::Tls(TlsLink::open(socket, name, tls).await.map_err(explain_io)?)
            }
            EncryptedProtocol::Https => {
                Link::Https(HttpsLink::open(address, socket, tls).await.map_err(explain_io)?)
            }
            EncryptedProtocol::Quic => {
                Link::Quic(quic(address, socket, tls).await.map_err(|error| explain(&error))?)
            }
        };
        Ok(Self {
            link,
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    /// Replies received through it.
    pub(super) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    /// When the last reply arrived, or the connection opened.
    pub(super) fn last_heard(&self) -> Instant {
        self.opened + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// Queries that the server has not answered, as far as is known. Over HTTPS and QUIC the server is told about
    /// abandoned queries, so those do not count.
    pub(super) fn unanswered(&self) -> usize {
        match &self.link {
            Link::Tls(link) => link.unanswered(),
            Link::Https(_) | Link::Quic(_) => self.waiting().since.len(),
        }
    }

    /// True if a reply is overdue by `time`, or a reply to an abandoned query is still due.
    pub(super) fn is_late(&self, time: Duration) -> bool {
        let waiting = self.waiting();
        let oldest = waiting.since.first_key_value().map(|(_, since)| *since);
        let waiting = waiting.since.len();
        oldest.is_some_and(|oldest| oldest.elapsed() >= time)
            || matches!(&self.link, Link::Tls(link) if link.unanswered() > waiting)
    }

    /// Sends `query` and returns its reply, unchanged except for its id. Calls `on_silence` if the connection is silent
    /// too long.
    pub(super) async fn ask(&self, query: &[u8], on_silence: impl Fn()) -> Result<(Reply, ReplyOrder), Loss> {
        let asked = self.opened.elapsed();
        let mut place = Place::take(self);
        let mut exchange = std::pin::pin!(self.exchange(query));
        let reply = match timeout(SILENCE, &mut exchange).await {
            Ok(reply) => reply,
            Err(_) => {
                if Duration::from_millis(self.heard.load(Ordering::Relaxed)) <= asked {
                    on_silence();
                }
                exchange.await
            }
        };
        if !matches!(reply, Err(Loss::Ended(_) | Loss::Stream(_))) {
            let heard = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.heard.fetch_max(heard, Ordering::Relaxed);
            self.replies.fetch_add(1, Ordering::Relaxed);
        }
        let turn = place.leave(reply.is_ok());
        reply.map(|reply| (reply, turn))
    }

    async fn exchange(&self, query: &[u8]) -> Result<Reply, Loss> {
        match &self.link {
            Link::Tls(link) => {
                let bytes = link.ask(query).await.map_err(Loss::Ended)?;
                Ok(Reply { bytes, age: 0 })
            }
            Link::Https(link) => link.ask(query).await,
            Link::Quic(exchange) => {
                let message = Message::from_vec(query).map_err(|error| Loss::Unusable(error.to_string()))?;
                let request = DnsRequest::new(message, DnsRequestOptions::default());
                let reply = exchange.send(request).first_answer().await.map_err(|error| loss(&error))?;
                Ok(Reply { bytes: DnsResponse::into_buffer(reply), age: 0 })
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

/// A query's entry among the waiting ones, removed on drop.
struct Place<'c> {
    connection: &'c Connection,
    number: u64,
    since: Instant,
}

impl<'c> Place<'c> {
    fn take(connection: &'c Connection) -> Self {
        let mut waiting = connection.waiting();
        let number = waiting.next;
        waiting.next += 1;
        let since = Instant::now();
        waiting.since.insert(number, since);
        Self { connection, number, since }
    }

    fn leave(&mut self, is_answered: bool) -> ReplyOrder {
        let mut waiting = self.connection.waiting();
        waiting.since.remove(&self.number);
        waiting.note(self.since, is_answered)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connection.waiting().since.remove(&self.number);
    }
}

/// A stream's error says nothing about the other streams (RFC 9250 section 4.3.1).
fn loss(error: &NetError) -> Loss {
    use hickory_resolver::net::NetError::{QuinnReadError, QuinnStreamError, QuinnWriteError};
    use quinn::{ReadError, ReadExactError, WriteError};
    match error {
        NetError::Proto(_)
        | NetError::Msg(_)
        | NetError::Decode(_)
        | NetError::ParseInt(_)
        | NetError::RequestTooLarge
        | NetError::QuicMessageIdNot0(_) => Loss::Unusable(explain(error)),
        QuinnReadError(ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(ReadError::Reset(_)))
        | QuinnWriteError(WriteError::Stopped(_))
        | QuinnStreamError(_) => Loss::Stream(explain(error)),
        _ => Loss::Ended(explain(error)),
    }
}

async fn quic(
    address: &EncryptedAddress,
    socket: SocketAddr,
    tls: &ClientConfig,
) -> Result<DnsExchange<TokioRuntimeProvider>, NetError> {
    let name: Arc<str> = address.server_name.to_str().into();
    let stream = QuicClientStream::builder().crypto_config(tls.clone()).build(socket, name).await?;
    let (exchange, background) = DnsExchange::from_stream(stream);
    tokio::spawn(background);
    Ok(exchange)
}

/// The library's text, without its own prefix to the system's text.
fn explain(error: &NetError) -> String {
    trust::with_remedy(&match error {
        NetError::Io(error) => error.to_string(),
        // The library's error for a connection that ended before the query.
        NetError::Busy => "the server closed the connection".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order that a list of query ends shows: for each, when it was sent in milliseconds and whether it was
    /// answered.
    fn last_of(ends: &[(u64, bool)]) -> ReplyOrder {
        let (start, mut waiting) = (Instant::now(), Waiting::default());
        let note = |(sent, is_answered): &(u64, bool)| {
            waiting.note(start + Duration::from_millis(*sent), *is_answered)
        };
        ends.iter().map(note).last().unwrap_or(ReplyOrder::InTurn)
    }

    #[test]
    fn only_an_overtaken_reply_shows_concurrency() {
        for (case, ends, wanted) in [
            ("in turn", &[(0, true), (1000, true)][..], ReplyOrder::InTurn),
            ("after the reply to a later query", &[(1000, true), (0, true)], ReplyOrder::Overtaken),
            ("sent together", &[(10, true), (0, true)], ReplyOrder::InTurn),
            ("an earlier query never got a reply", &[(1000, true), (0, false)], ReplyOrder::InTurn),
            (
                "and the next replies are in turn",
                &[(1000, true), (0, false), (2000, true)],
                ReplyOrder::InTurn,
            ),
            ("a later query never got a reply", &[(1000, false), (0, true)], ReplyOrder::InTurn),
        ] {
            assert_eq!(last_of(ends), wanted, "{case}");
        }
    }
}
