//! [`HttpClient`]: sends a request over a connection of its own, through a proxy if one is set.

pub(crate) mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::address::http_url::HttpUrl;
use crate::address::roots::Roots;
use crate::upstream::encrypted::addresses::look_up;
use crate::upstream::encrypted::encryption::Encryption;
use proxy::Proxy;

/// A byte stream to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends requests. The caller limits the time.
pub(crate) struct HttpClient {
    tls: Arc<rustls::ClientConfig>,
    lookup: HostLookup,
    proxy: Option<Proxy>,
}

/// Who resolves host names.
#[derive(Clone, Debug)]
pub(crate) enum HostLookup {
    /// These resolvers, in turn, and nothing from the system.
    Bootstrap(Vec<SocketAddr>),
    /// The system's resolver.
    System,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The host name has no address.
    #[error("{0}")]
    Unresolved(String),
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(#[from] std::io::Error),
    /// The server's certificate is not valid for it.
    #[error("{0}")]
    Certificate(rustls::Error),
    /// The proxy opens no connection.
    #[error("the proxy refuses the connection (HTTP status {0})")]
    Proxy(u16),
    /// The server does not speak HTTP/1.1, or the connection broke.
    #[error("{0}")]
    NotHttp(#[from] hyper::Error),
}

impl HttpClient {
    /// A client that trusts `roots`.
    ///
    /// Errors: they cannot be loaded; with a remedy.
    pub(crate) fn new(roots: &Roots, lookup: HostLookup, proxy: Option<Proxy>) -> Result<Self, String> {
        let tls = Arc::new(Encryption::new(roots, Vec::new())?.into_tls());
        Ok(Self { tls, lookup, proxy })
    }

    /// Sends `request` to `url`; its method, headers and body are the caller's.
    pub(crate) async fn send(
        &self,
        url: &HttpUrl,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, HttpError> {
        *request.uri_mut() = url.target.parse().map_err(std::io::Error::other)?;
        let authority = HeaderValue::from_str(&url.authority).map_err(std::io::Error::other)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, authority);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let agent = HeaderValue::from_static(concat!("namegate/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, agent);
        let stream = self.connect(url).await?;
        if !url.is_encrypted {
            return exchange(stream, request).await;
        }
        let tls = TlsConnector::from(Arc::clone(&self.tls));
        exchange(tls.connect(url.name.clone(), stream).await.map_err(tls_error)?, request).await
    }

    async fn connect(&self, url: &HttpUrl) -> Result<Box<dyn Stream>, HttpError> {
        match self.proxy.as_ref().filter(|proxy| proxy.is_for(url)) {
            Some(proxy) => proxy.tunnel(self.open(&proxy.name, proxy.port).await?, url).await,
            None => Ok(Box::new(self.open(&url.name, url.port).await?)),
        }
    }

    async fn open(&self, name: &ServerName<'_>, port: u16) -> Result<TcpStream, HttpError> {
        let addresses = match (name, &self.lookup) {
            (ServerName::DnsName(name), HostLookup::Bootstrap(resolvers)) => {
                look_up(name, port, resolvers).await.map_err(HttpError::Unresolved)?
            }
            (ServerName::DnsName(name), HostLookup::System) => {
                let found = tokio::net::lookup_host((name.as_ref(), port)).await;
                let unresolved =
                    |error| HttpError::Unresolved(format!("cannot resolve {}: {error}", name.as_ref()));
                found.map_err(unresolved)?.collect()
            }
            (ServerName::IpAddress(address), _) => vec![SocketAddr::new((*address).into(), port)],
            _ => Vec::new(),
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
}

/// A broken connection may work later, and a wrong certificate stays one.
fn tls_error(error: std::io::Error) -> HttpError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner @ rustls::Error::InvalidCertificate(_)) => HttpError::Certificate(inner.clone()),
        _ => HttpError::Unreachable(error),
    }
}

async fn exchange(
    stream: impl Stream + 'static,
    request: Request<Body>,
) -> Result<Response<Incoming>, HttpError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the response. Why it ended shows there.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
