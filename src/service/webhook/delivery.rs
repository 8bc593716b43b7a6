//! [`WebhookReceiver`]: one attempt to deliver a message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::{HeaderValue, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::signature::WebhookSecret;
use super::{WebhookMessage, WebhookUrl};
use crate::address::roots::Roots;
use crate::upstream::encrypted::addresses::look_up;
use crate::upstream::encrypted::encryption::Encryption;

/// Time for one attempt, from resolving the host name to the response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who receives the messages, and how to reach and convince it.
pub(super) struct WebhookReceiver {
    url: WebhookUrl,
    secret: WebhookSecret,
    tls: Arc<rustls::ClientConfig>,
    bootstrap: Vec<SocketAddr>,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryFailure {
    #[error("{0}")]
    Unresolved(String),
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    #[error("{0}")]
    NotHttp(#[from] hyper::Error),
    #[error("no response within {} s", PATIENCE.as_secs())]
    Silence,
    #[error("HTTP status {0}")]
    Refused(u16),
}

impl DeliveryFailure {
    /// True if a later attempt may succeed. A redirect or a client error stays one.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(status, 408 | 425 | 429 | 500..),
            _ => true,
        }
    }
}

impl WebhookReceiver {
    /// The receiver at `url`; `bootstrap` resolves its host name.
    ///
    /// Errors: the certificate authorities cannot be loaded; with a remedy.
    pub(super) fn new(
        url: WebhookUrl,
        secret: WebhookSecret,
        roots: &Roots,
        bootstrap: &[SocketAddr],
    ) -> Result<Self, String> {
        let tls = Arc::new(Encryption::new(roots, Vec::new())?.into_tls());
        Ok(Self { url, secret, tls, bootstrap: bootstrap.to_vec() })
    }

    /// The receiver, for log lines.
    pub(super) fn url(&self) -> &str {
        &self.url.authority
    }

    /// Tries once to deliver `message`.
    pub(super) async fn send(&self, message: &WebhookMessage) -> Result<(), DeliveryFailure> {
        timeout(PATIENCE, self.exchange(message)).await.unwrap_or(Err(DeliveryFailure::Silence))
    }

    async fn exchange(&self, message: &WebhookMessage) -> Result<(), DeliveryFailure> {
        let stream = self.connect().await?;
        if !self.url.is_encrypted {
            return self.post(stream, message).await;
        }
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        let stream = tls.connect(self.url.name.clone(), stream).await?;
        self.post(stream, message).await
    }

    async fn connect(&self) -> Result<TcpStream, DeliveryFailure> {
        let addresses = match &self.url.name {
            ServerName::DnsName(name) => {
                look_up(name, self.url.port, &self.bootstrap).await.map_err(DeliveryFailure::Unresolved)?
            }
            _ => self.url.address().into_iter().collect(),
        };
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    async fn post(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        WebhookMessage { id, body }: &WebhookMessage,
    ) -> Result<(), DeliveryFailure> {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = self.secret.sign(id, timestamp, body);
        let request = Request::post(&self.url.target)
            .header(header::HOST, &self.url.authority)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::USER_AGENT, concat!("namegate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, HeaderValue::from_static("close"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Body::from(body.clone()))
            .map_err(std::io::Error::other)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = async {
            // Why the connection ended shows in the response.
            let _ = connection.await;
            std::future::pending().await
        };
        let response = tokio::select! {
            response = sender.send_request(request) => response?,
            never = connection => never,
        };
        match response.status().as_u16() {
            200..300 => Ok(()),
            status => Err(DeliveryFailure::Refused(status)),
        }
    }
}
