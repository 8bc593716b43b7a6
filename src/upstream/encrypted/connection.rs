//! [`Connection`]: one encrypted connection, which many queries share.
//!
//! hickory's streams do the encryption, the framing and the matching of replies to queries. They are taken one level below
//! its resolver, which would make records of every reply and errors of the negative ones: here a reply's own bytes are
//! kept (`DnsResponse::into_buffer`). What hickory cannot decode at all is lost, though: over TLS without a word, over HTTPS and
//! QUIC as a reply that cannot be used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message};
use hickory_resolver::net::NetError;
use hickory_resolver::net::h2::HttpsClientStream;
use hickory_resolver::net::quic::QuicClientStream;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::tls::tls_client_connect;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, DnsMultiplexer, DnsRequestSender, FirstAnswer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::address::{EncryptedAddress, Protocol};

/// Longer than any query may take: waiting is ended by those who wait.
const UNLIMITED: Duration = Duration::from_secs(60);

/// How long nothing may come while somebody waits, before new queries go through another connection: shorter than the
/// second after which a query is asked again, so that it is then asked through a new one. A lost path shows no other sign
/// for minutes.
const SILENCE: Duration = Duration::from_millis(900);

/// See the module's head.
pub(super) struct Connection {
    protocol: Protocol,
    exchange: DnsExchange<TokioRuntimeProvider>,
    opened: Instant,
    /// Milliseconds from `opened` to the last reply.
    heard: AtomicU64,
    has_replied: AtomicBool,
}

/// Why a query through a connection brought no reply.
#[derive(Debug)]
pub(super) enum Loss {
    /// There was one, and it is none: an HTTP error, or what cannot be decoded.
    Unusable(String),
    /// The connection has ended.
    Ended(String),
}

impl Connection {
    /// Connects to `socket` and makes sure that it is the server meant. Takes 10 s at most.
    ///
    /// Errors: there is no connection, or to somebody else; in words, for people.
    pub(super) async fn open(
        address: &EncryptedAddress,
        socket: SocketAddr,
        tls: &ClientConfig,
    ) -> Result<Self, String> {
        let exchange = connect(address, socket, tls).await.map_err(|error| explain(&error))?;
        Ok(Self {
            protocol: address.protocol,
            exchange,
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            has_replied: AtomicBool::new(false),
        })
    }

    /// True once a reply came through it.
    pub(super) fn has_replied(&self) -> bool {
        self.has_replied.load(Ordering::Relaxed)
    }

    /// Sends `query` and waits for its reply, as it came but for its id. Calls `on_silence` where nothing comes for too long.
    pub(super) async fn ask(&self, query: &[u8], on_silence: impl Fn()) -> Result<Vec<u8>, Loss> {
        let message = Message::from_vec(query).map_err(|error| Loss::Unusable(error.to_string()))?;
        let request = DnsRequest::new(message, DnsRequestOptions::default());
        let asked = self.opened.elapsed();
        let mut reply = self.exchange.send(request).first_answer();
        let reply = match timeout(SILENCE, &mut reply).await {
            Ok(reply) => reply,
            Err(_) => {
                if Duration::from_millis(self.heard.load(Ordering::Relaxed)) <= asked {
                    on_silence();
                }
                reply.await
            }
        };
        let reply = reply.map_err(|error| self.loss(&error));
        if !matches!(reply, Err(Loss::Ended(_))) {
            let heard = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.heard.fetch_max(heard, Ordering::Relaxed);
            self.has_replied.store(true, Ordering::Relaxed);
        }
        reply.map(DnsResponse::into_buffer)
    }

    fn loss(&self, error: &NetError) -> Loss {
        match error {
            // Over TLS nothing comes back but replies, and the end.
            _ if self.protocol == Protocol::Tls => Loss::Ended(explain(error)),
            NetError::Proto(_)
            | NetError::Msg(_)
            | NetError::Decode(_)
            | NetError::ParseInt(_)
            | NetError::RequestTooLarge
            | NetError::QuicMessageIdNot0(_) => Loss::Unusable(explain(error)),
            _ => Loss::Ended(explain(error)),
        }
    }
}

async fn connect(
    address: &EncryptedAddress,
    socket: SocketAddr,
    tls: &ClientConfig,
) -> Result<DnsExchange<TokioRuntimeProvider>, NetError> {
    let runtime = TokioRuntimeProvider::new();
    let name: Arc<str> = address.server_name.to_str().into();
    Ok(match address.protocol {
        Protocol::Tls => {
            // Not `tls_exchange`, which leaves the server's name out: some tell their customers by it.
            let name = address.server_name.clone();
            let (stream, sender) = tls_client_connect(socket, name, Arc::new(tls.clone()), runtime);
            let stream = DnsMultiplexer::new(stream.await?, sender)
                .with_timeout(UNLIMITED)
                .with_max_active_requests(usize::from(u16::MAX));
            start(stream)
        }
        Protocol::Https => {
            let builder = HttpsClientStream::builder(Arc::new(tls.clone()), runtime);
            start(builder.build(socket, name, address.path.as_str().into()).await?)
        }
        Protocol::Quic => {
            let builder = QuicClientStream::builder().crypto_config(tls.clone());
            start(builder.build(socket, name).await?)
        }
    })
}

/// The library's words, without its own prefix to the system's.
fn explain(error: &NetError) -> String {
    match error {
        NetError::Io(error) => error.to_string(),
        // What it says of a connection that has ended before it was asked.
        NetError::Busy => "the server has closed the connection".to_owned(),
        other => other.to_string(),
    }
}

/// Has the runtime move what goes through `stream`, until nobody asks through it any more.
fn start(stream: impl DnsRequestSender) -> DnsExchange<TokioRuntimeProvider> {
    let (exchange, background) = DnsExchange::from_stream(stream);
    tokio::spawn(background);
    exchange
}
