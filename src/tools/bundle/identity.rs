//! [`Identity`]: how `namegate pull` proves who it is to a storage account.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, HeaderValue, Request, header};
use serde::Deserialize;
use tokio::time::timeout;

use super::error::PullError;
use crate::address::http_url::HttpUrl;
use crate::http_client::HttpClient;
use crate::util::url::UrlComponent;

/// The instance metadata service of Azure, which has the tokens of a machine's managed identities.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Time for a token. Outside Azure nothing answers.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_REPLY: usize = 1 << 16;

/// Blob storage accepts tokens since version 2017-11-09 of its interface.
const BLOB_VERSION: &str = "2021-12-02";

/// An identity of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A managed identity: the one with this client id, or the only one.
    Azure(Option<String>),
}

impl FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "azure" => Ok(Self::Azure(None)),
            Some(("azure", id)) if !id.is_empty() => Ok(Self::Azure(Some(id.to_owned()))),
            _ => Err("use `azure`, or `azure:CLIENT_ID` for one of several managed identities"),
        }
    }
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: String,
}

impl Identity {
    /// The headers that prove this identity to the storage account.
    ///
    /// Errors: no token.
    pub(super) async fn headers(&self, client: &HttpClient) -> Result<HeaderMap, PullError> {
        self.headers_from(client, &format!("http://{METADATA}")).await
    }

    async fn headers_from(&self, client: &HttpClient, service: &str) -> Result<HeaderMap, PullError> {
        let exchange = timeout(PATIENCE, self.token(client, service)).await;
        let token = exchange.unwrap_or_else(|_| {
            let text =
                format!("no managed identity: no reply from {service} within {} s", PATIENCE.as_secs());
            Err(PullError::NoAnswer(text))
        })?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value =
            value.map_err(|_| PullError::Refused("no managed identity: invalid token".to_owned()))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([
            (header::AUTHORIZATION, value),
            (header::HeaderName::from_static("x-ms-version"), HeaderValue::from_static(BLOB_VERSION)),
        ]))
    }

    async fn token(&self, client: &HttpClient, service: &str) -> Result<String, PullError> {
        let Self::Azure(id) = self;
        let id = id.as_ref().map(|id| format!("&client_id={}", UrlComponent(id))).unwrap_or_default();
        let url = format!(
            "{service}/metadata/identity/oauth2/token?api-version=2018-02-01\
             &resource=https%3A%2F%2Fstorage.azure.com%2F{id}"
        );
        let failed =
            |error: &dyn std::fmt::Display| PullError::NoAnswer(format!("no managed identity: {error}"));
        let url =
            HttpUrl::parse_link_local(&url, IpAddr::V4(METADATA)).ok_or_else(|| failed(&"invalid URL"))?;
        let request = Request::get("/").header("metadata", "true").body(Body::empty());
        let request = request.map_err(|error| failed(&error))?;
        let response = client.send(&url, request).await.map_err(|error| failed(&error))?;
        match response.status().as_u16() {
            200 => {}
            status @ (400 | 403) => {
                return Err(PullError::Refused(format!(
                    "no managed identity: HTTP status {status} from {service}\n  \
                     help: assign an identity to this machine, and name it with `--identity azure:CLIENT_ID` if there are several"
                )));
            }
            status => return Err(failed(&format!("HTTP status {status} from {service}"))),
        }
        let body =
            to_bytes(Body::new(response.into_body()), MAX_REPLY).await.map_err(|error| failed(&error))?;
        let reply: TokenReply = serde_json::from_slice(&body).map_err(|_| failed(&"unexpected reply"))?;
        Ok(reply.access_token)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::address::roots::Roots;
    use crate::http_client::HostLookup;

    /// Asks a metadata service that answers with `reply`; returns the result and the request.
    async fn ask(identity: &str, reply: &str) -> (Result<HeaderMap, PullError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = format!("http://{}", listener.local_addr().unwrap());
        let reply = reply.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..length]).to_ascii_lowercase()
        });
        let client = HttpClient::new(&Roots::Platform, HostLookup::System, None).unwrap();
        let identity: Identity = identity.parse().unwrap();
        let headers = identity.headers_from(&client, &service).await;
        (headers, server.await.unwrap())
    }

    #[tokio::test]
    async fn the_token_of_the_metadata_service_is_sent() {
        let body = r#"{"access_token":"abc","expires_in":"3599","token_type":"Bearer"}"#;
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (headers, request) = ask("azure:11-22", &reply).await;
        let headers = headers.unwrap();
        assert_eq!(
            (&headers["authorization"], &headers["x-ms-version"]),
            (&"Bearer abc".parse().unwrap(), &BLOB_VERSION.parse().unwrap())
        );
        assert!(request.starts_with(
            "get /metadata/identity/oauth2/token?api-version=2018-02-01\
             &resource=https%3a%2f%2fstorage.azure.com%2f&client_id=11-22 http/1.1\r\n"
        ));
        assert!(request.contains("\r\nmetadata: true\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_machine_without_identity_needs_a_person() {
        for (reply, is_refused) in [
            ("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 429 Too Many\r\ncontent-length: 0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", false),
            ("nonsense\r\n\r\n", false),
        ] {
            let error = ask("azure", reply).await.0.unwrap_err();
            assert_eq!(matches!(error, PullError::Refused(_)), is_refused, "{error}");
        }
    }
}
