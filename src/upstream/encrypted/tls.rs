//! [`TlsLink`]: DNS over TLS (RFC 7858), one stream shared by many queries.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest time for the TCP connection, and again for the handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// Above this many queries, abandoned ones are removed.
const MANY: usize = 1000;

/// One TLS stream. Dropping this ends it.
pub(super) struct TlsLink {
    queries: mpsc::UnboundedSender<Asked>,
    /// Why the stream has ended.
    ended: Arc<OnceLock<String>>,
    /// Queries without a reply, including abandoned ones: the server may still work on them.
    unanswered: Arc<AtomicUsize>,
}

/// A query and the channel for its reply.
struct Asked {
    query: Vec<u8>,
    reply: oneshot::Sender<Vec<u8>>,
}

impl TlsLink {
    /// Opens a stream to `socket`; the certificate must match `name`.
    pub(super) async fn open(
        socket: SocketAddr,
        name: ServerName<'static>,
        tls: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let stream = connect(socket, name, tls).await?;
        let (queries, waiting) = mpsc::unbounded_channel();
        let ended = Arc::new(OnceLock::new());
        let unanswered = Arc::<AtomicUsize>::default();
        let (why, count) = (Arc::clone(&ended), Arc::clone(&unanswered));
        tokio::spawn(async move {
            if let Err(error) = carry(stream, waiting, &why, &count).await {
                let _ = why.set(error.to_string());
            }
        });
        Ok(Self { queries, ended, unanswered })
    }

    /// Queries without a reply, including abandoned ones.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Sends `query` under a new id and waits for the reply with that id.
    ///
    /// Errors: why the stream has ended.
    pub(super) async fn ask(&self, query: &[u8]) -> Result<Vec<u8>, String> {
        let (reply, replied) = oneshot::channel();
        // If the stream has ended, this send fails, and so does `replied`.
        let _ = self.queries.send(Asked { query: query.to_vec(), reply });
        replied.await.map_err(|_| self.ended.get().cloned().unwrap_or_else(|| CLOSED.to_owned()))
    }
}

/// The error for a stream that the server closed properly.
const CLOSED: &str = "the server closed the connection";

/// Opens a TLS stream to `socket`; the certificate must match `name`. Writes are sent without delay.
pub(super) async fn connect(
    socket: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let stream = timeout(PATIENCE, TcpStream::connect(socket)).await.map_err(late)??;
    stream.set_nodelay(true)?;
    timeout(PATIENCE, TlsConnector::from(tls).connect(name, stream)).await.map_err(late)?
}

/// Carries queries and replies until the server ends the stream, or the [`TlsLink`] is dropped.
async fn carry(
    stream: TlsStream<TcpStream>,
    mut queries: mpsc::UnboundedReceiver<Asked>,
    ended: &OnceLock<String>,
    unanswered: &AtomicUsize,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut inbox, mut outbox) = (BytesMut::new(), BytesMut::new());
    let mut is_unsent = false;
    let mut pending: HashMap<u16, oneshot::Sender<Vec<u8>>> = HashMap::new();
    loop {
        unanswered.store(pending.len(), Ordering::Relaxed);
        tokio::select! {
            // Takes all waiting queries before sending, so they leave in one record.
            biased;
            read = reader.read_buf(&mut inbox) => {
                if read? == 0 {
                    // Set before the waiting queries learn that no reply comes.
                    let _ = ended.set(CLOSED.to_owned());
                    return Ok(());
                }
                while let Some(reply) = take_message(&mut inbox) {
                    let id = reply.first_chunk().map(|id| u16::from_be_bytes(*id));
                    if let Some(waiting) = id.and_then(|id| pending.remove(&id)) {
                        let _ = waiting.send(reply);
                    }
                }
            }
            asked = queries.recv() => {
                let Some(asked) = asked else { return Ok(()) };
                add(&mut outbox, &mut pending, asked);
                is_unsent = true;
            }
            sent = send(&mut writer, &mut outbox), if is_unsent => {
                sent?;
                is_unsent = false;
            }
        }
    }
}

/// Takes the next complete message, without its length prefix.
fn take_message(inbox: &mut BytesMut) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*inbox.first_chunk()?));
    if inbox.len() < 2 + length {
        return None;
    }
    inbox.advance(2);
    Some(inbox.split_to(length).to_vec())
}

/// Appends a query to `outbox` with its length prefix (RFC 7858 section 3.3) and an unused id.
fn add(outbox: &mut BytesMut, pending: &mut HashMap<u16, oneshot::Sender<Vec<u8>>>, asked: Asked) {
    let Asked { mut query, reply } = asked;
    if pending.len() >= MANY {
        pending.retain(|_, waiting| !waiting.is_closed());
    }
    let id = loop {
        let id: u16 = rand::random();
        if !pending.contains_key(&id) {
            break id;
        }
    };
    if let Some(place) = query.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
    pending.insert(id, reply);
    outbox.put_u16(query.len() as u16);
    outbox.put_slice(&query);
}

async fn send(writer: &mut WriteHalf<TlsStream<TcpStream>>, outbox: &mut BytesMut) -> io::Result<()> {
    writer.write_all_buf(outbox).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_as_they_become_whole() {
        let mut inbox = BytesMut::new();
        let mut taken = Vec::new();
        for byte in [0, 2, 7, 8, 0, 0, 0, 1, 9, 0] {
            inbox.put_u8(byte);
            taken.extend(take_message(&mut inbox));
        }
        assert_eq!(taken, [vec![7, 8], vec![], vec![9]]);
    }

    #[test]
    fn queries_that_wait_together_have_different_ids() {
        let (mut outbox, mut pending) = (BytesMut::new(), HashMap::new());
        let mut waiting = Vec::new();
        for _ in 0..MANY {
            let (reply, replied) = oneshot::channel();
            waiting.push(replied);
            add(&mut outbox, &mut pending, Asked { query: vec![0; 12], reply });
        }
        assert_eq!((pending.len(), outbox.len()), (MANY, MANY * 14));
        drop(waiting);
        let (reply, _replied) = oneshot::channel();
        add(&mut outbox, &mut pending, Asked { query: vec![0; 12], reply });
        assert_eq!(pending.len(), 1, "abandoned queries are removed");
    }
}
