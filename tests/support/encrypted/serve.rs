//! The loops of the encrypted upstream: accept connections, send replies.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Act, Carrier, State};
use crate::support::message::Message;
use crate::support::script::changed;

/// A reply to send.
struct Reply {
    /// `None` sends nothing.
    bytes: Option<Vec<u8>>,
    /// Number of announced bytes that are not sent.
    missing: usize,
    /// Whether to close the connection afterwards.
    closes: bool,
}

impl Reply {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes), missing: 0, closes: false }
    }

    /// With the two-byte length prefix.
    fn framed(&self) -> Option<Vec<u8>> {
        let bytes = self.bytes.as_ref()?;
        Some([&((bytes.len() + self.missing) as u16).to_be_bytes()[..], bytes].concat())
    }
}

async fn carry_out(act: Act, query: &Message) -> Reply {
    match act {
        Act::Answer(response) => Reply::of(response.render(query)),
        Act::Last(response) => Reply { closes: true, ..Reply::of(response.render(query)) },
        Act::OtherQuestion(response) => Reply::of(changed(response, |bytes| bytes[13] ^= 1)(query)),
        Act::Late(delay, response) => {
            tokio::time::sleep(delay).await;
            Reply::of(response.render(query))
        }
        Act::Half(response) => {
            let mut bytes = response.render(query);
            let missing = bytes.split_off(bytes.len() / 2).len();
            Reply { bytes: Some(bytes), missing, closes: true }
        }
        Act::Bytes(bytes) | Act::Http(_, _, bytes) => Reply::of(bytes),
        Act::Status(..) => Reply::of(Vec::new()),
        Act::Headers(_, _, _, response) => Reply::of(response.render(query)),
        Act::Reset => Reply { bytes: None, missing: 0, closes: false },
        Act::Close => Reply { bytes: None, missing: 0, closes: true },
        Act::Silence => std::future::pending().await,
    }
}

/// Accepts connections over TLS and HTTPS.
pub(super) async fn tcp(
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
    carrier: Carrier,
    state: Arc<State>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            // Some tests are about clients that reject the certificate.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let connection = state.connected(stream.get_ref().1.server_name().map(str::to_owned));
            match carrier {
                Carrier::Https => drop(https(stream, connection, &state).await),
                _ => drop(tls(stream, connection, &state).await),
            }
            state.disconnected();
        });
    }
}

async fn tls(stream: TlsStream<TcpStream>, connection: usize, state: &Arc<State>) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (replies, mut made) = mpsc::unbounded_channel::<Reply>();
    tokio::spawn(async move {
        while let Some(reply) = made.recv().await {
            if let Some(framed) = reply.framed() {
                writer.write_all(&framed).await?;
                writer.flush().await?;
            }
            if reply.closes {
                return writer.shutdown().await;
            }
        }
        Ok(())
    });
    loop {
        let mut bytes = vec![0; usize::from(reader.read_u16().await?)];
        reader.read_exact(&mut bytes).await?;
        let (query, act) = state.receive(&bytes, connection);
        let replies = replies.clone();
        let work = async move { drop(replies.send(carry_out(act, &query).await)) };
        match state.in_turn.load(std::sync::atomic::Ordering::Relaxed) {
            true => work.await,
            false => drop(tokio::spawn(work)),
        }
    }
}

async fn https(stream: TlsStream<TcpStream>, connection: usize, state: &Arc<State>) -> Result<(), h2::Error> {
    let mut http = h2::server::handshake(stream).await?;
    let closing = Arc::new(Notify::new());
    loop {
        let request = tokio::select! {
            request = http.accept() => request,
            () = closing.notified() => {
                http.graceful_shutdown();
                return std::future::poll_fn(|context| http.poll_closed(context)).await;
            }
        };
        let Some(request) = request else { return Ok(()) };
        let (request, mut respond) = request?;
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/dns-query"));
        assert_eq!(request.headers()["content-type"], "application/dns-message");
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        state.authorities.lock().expect("no thread panicked").push(authority);
        let (state, closing) = (Arc::clone(state), Arc::clone(&closing));
        tokio::spawn(async move {
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                bytes.extend_from_slice(&data);
            }
            let (query, act) = state.receive(&bytes, connection);
            let usual = "application/dns-message";
            let (status, content_type, header) = match act {
                Act::Http(status, content_type, _) => (status, content_type, None),
                Act::Status(status, name, value) => (status, usual, Some((name, value))),
                Act::Headers(content_type, name, value, _) => (200, content_type, Some((name, value))),
                Act::Reset => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
                _ => (200, usual, None),
            };
            let Reply { bytes, missing, closes } = carry_out(act, &query).await;
            if let Some(bytes) = bytes {
                let mut head = http::Response::builder().status(status).header("content-type", content_type);
                if let Some((name, value)) = header {
                    head = head.header(name, value);
                }
                let head = head.header("content-length", bytes.len() + missing).body(()).expect("a response");
                if let Ok(mut stream) = respond.send_response(head, false) {
                    drop(stream.send_data(Bytes::from(bytes), missing == 0));
                    if missing > 0 {
                        stream.send_reset(h2::Reason::INTERNAL_ERROR);
                    }
                }
            }
            if closes {
                closing.notify_one();
            }
        });
    }
}

/// Accepts connections over QUIC.
pub(super) async fn quic(endpoint: quinn::Endpoint, state: Arc<State>) {
    while let Some(incoming) = endpoint.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let Ok(client) = incoming.await else { return };
            let handshake = client.handshake_data().and_then(|data| data.downcast().ok());
            let name = handshake.and_then(|data: Box<quinn::crypto::rustls::HandshakeData>| data.server_name);
            let connection = state.connected(name);
            while let Ok((mut send, mut receive)) = client.accept_bi().await {
                let (state, client) = (Arc::clone(&state), client.clone());
                tokio::spawn(async move {
                    let Ok(bytes) = receive.read_to_end(65_537).await else { return };
                    let (query, act) = state.receive(&bytes[2..], connection);
                    if matches!(act, Act::Reset) {
                        drop(send.reset(7_u32.into()));
                        return;
                    }
                    let reply = carry_out(act, &query).await;
                    if let Some(framed) = reply.framed() {
                        drop(send.write_all(&framed).await);
                        drop(send.finish());
                        drop(send.stopped().await);
                    }
                    if reply.closes {
                        client.close(0_u32.into(), b"");
                    }
                });
            }
            state.disconnected();
        });
    }
}
