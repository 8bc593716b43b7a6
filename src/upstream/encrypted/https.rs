//! [`HttpsLink`]: DNS over HTTPS (RFC 8484) on HTTP/2, one stream per query.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{ACCEPT, AGE, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use rustls::ClientConfig;

use super::reply::{Loss, Reply};
use super::tls;
use crate::address::encrypted::EncryptedAddress;

/// HTTP/2 in the handshake (RFC 9113 section 3.2).
const ALPN: &[u8] = b"h2";

/// The media type of DNS messages (RFC 8484 section 6).
const MESSAGE: &str = "application/dns-message";

/// Largest body accepted: the maximum size of a DNS message.
const MAX_BODY: usize = u16::MAX as usize;

/// One HTTP/2 connection.
pub(super) struct HttpsLink {
    requests: SendRequest<Bytes>,
    uri: Uri,
}

impl HttpsLink {
    /// Connects to `socket`; the certificate must match the server name in `address`.
    pub(super) async fn open(
        address: &EncryptedAddress,
        socket: SocketAddr,
        tls: &ClientConfig,
    ) -> io::Result<Self> {
        let uri = uri(address)?;
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let stream = tls::connect(socket, address.server_name.clone(), Arc::new(tls)).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::other(NO_HTTP_2));
        }
        let handshake = h2::client::Builder::new().enable_push(false).handshake(stream);
        let (requests, driver) = handshake.await.map_err(io::Error::other)?;
        // Its errors also reach the requests.
        tokio::spawn(driver);
        Ok(Self { requests, uri })
    }

    /// Sends `query` and returns its reply.
    pub(super) async fn ask(&self, query: &[u8]) -> Result<Reply, Loss> {
        let mut requests = self.requests.clone().ready().await.map_err(|error| loss(&error))?;
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .header(CONTENT_LENGTH, query.len())
            .body(())
            .map_err(|error| Loss::Unusable(error.to_string()))?;
        let (response, mut body) = requests.send_request(request, false).map_err(|error| loss(&error))?;
        body.send_data(Bytes::copy_from_slice(query), true).map_err(|error| loss(&error))?;
        let (head, mut body) = response.await.map_err(|error| loss(&error))?.into_parts();
        if !head.status.is_success() {
            return Err(unwilling(head.status, &head.headers));
        }
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // RFC 9110 section 8.3.1: "The type and subtype tokens are case-insensitive"; parameters may follow.
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(MESSAGE) {
            return Err(Loss::Unusable(format!("the reply has content type '{kind}' instead of {MESSAGE}")));
        }
        let too_long = || Loss::Unusable(format!("the reply is longer than {MAX_BODY} bytes"));
        if number(&head.headers, CONTENT_LENGTH).is_some_and(|length| length > MAX_BODY as u64) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| loss(&error))?;
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
            // Reading frees window for more data. If this fails, the next read reports the error again.
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        let age = number(&head.headers, AGE).unwrap_or(0);
        Ok(Reply { bytes, age: u32::try_from(age).unwrap_or(u32::MAX) })
    }
}

/// The error for a server that offers only HTTP/1.1.
const NO_HTTP_2: &str = "the server does not offer HTTP/2, which DNS over HTTPS requires here; \
                         enable HTTP/2 on it, or use `tls://` or `quic://`";

/// The request URI. Its authority has a port if it is not the scheme's default (RFC 9110 section 4.2.2).
fn uri(address: &EncryptedAddress) -> io::Result<Uri> {
    let name = address.server_name.to_str();
    let host = if name.contains(':') { format!("[{name}]") } else { name.into_owned() };
    let port = address.host.port();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let uri = format!("https://{host}{port}{}", address.path);
    uri.parse().map_err(|error| io::Error::other(format!("invalid URI {uri}: {error}")))
}

/// A stream's error says nothing about the other streams (RFC 9113 section 5.4.2).
fn loss(error: &h2::Error) -> Loss {
    match error.is_reset() {
        true => Loss::Stream(error.to_string()),
        false => Loss::Ended(error.to_string()),
    }
}

fn unwilling(status: StatusCode, headers: &HeaderMap) -> Loss {
    Loss::Unwilling {
        why: format!("the server answers {status}"),
        // A date is ignored: clocks differ.
        again_after: number(headers, RETRY_AFTER).map(Duration::from_secs),
    }
}

fn number(headers: &HeaderMap, name: http::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::address::upstream::UpstreamAddress;

    #[test]
    fn authority_has_a_non_default_port() {
        for (text, expected) in [
            ("https://dns.example", "https://dns.example/dns-query"),
            ("https://dns.example:8443/q", "https://dns.example:8443/q"),
            ("https://10.0.0.4:443#dns.example", "https://dns.example/dns-query"),
            ("https://10.0.0.4:4443/x?y=1#dns.example", "https://dns.example:4443/x?y=1"),
        ] {
            let UpstreamAddress::Encrypted(address) = text.parse().unwrap() else { panic!("{text}") };
            assert_eq!(uri(&address).unwrap().to_string(), expected, "{text}");
        }
    }
}
