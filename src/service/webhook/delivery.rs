//! [`WebhookReceiver`]: one attempt to deliver a message.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use http::{HeaderValue, Request, header};
use tokio::time::timeout;

use super::WebhookMessage;
use super::signature::WebhookSecret;
use crate::address::http_url::HttpUrl;
use crate::address::roots::Roots;
use crate::http_client::{HostLookup, HttpClient, HttpError};

/// Time for one attempt, from resolving the host name to the response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who receives the messages, and how to reach and convince it.
pub(super) struct WebhookReceiver {
    url: HttpUrl,
    secret: WebhookSecret,
    client: HttpClient,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeliveryFailure {
    #[error("{0}")]
    NoResponse(#[from] HttpError),
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
        url: HttpUrl,
        secret: WebhookSecret,
        roots: &Roots,
        bootstrap: &[SocketAddr],
    ) -> Result<Self, String> {
        let client = HttpClient::new(roots, HostLookup::Bootstrap(bootstrap.to_vec()), None)?;
        Ok(Self { url, secret, client })
    }

    /// The receiver, for log lines.
    pub(super) fn url(&self) -> &str {
        &self.url.authority
    }

    /// Tries once to deliver `message`.
    pub(super) async fn send(&self, message: &WebhookMessage) -> Result<(), DeliveryFailure> {
        timeout(PATIENCE, self.exchange(message)).await.unwrap_or(Err(DeliveryFailure::Silence))
    }

    async fn exchange(&self, WebhookMessage { id, body }: &WebhookMessage) -> Result<(), DeliveryFailure> {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = self.secret.sign(id, timestamp, body);
        let request = Request::post("/")
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(Body::from(body.clone()))
            .map_err(|error| HttpError::from(std::io::Error::other(error)))?;
        match self.client.send(&self.url, request).await?.status().as_u16() {
            200..300 => Ok(()),
            status => Err(DeliveryFailure::Refused(status)),
        }
    }
}
