//! [`download`]: fetches a bundle over HTTPS, unless the server has no other than the installed one.

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, header};

use super::error::PullError;
use crate::address::http_url::HttpUrl;
use crate::http_client::{HttpClient, HttpError};
use crate::util::escape::on_one_line;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// What the server has.
pub(super) enum Downloaded {
    /// The version with the known ETag.
    Unchanged,
    /// This file, and its ETag.
    File(Vec<u8>, Option<String>),
}

/// Fetches `url`. `etag` is the version that is installed, `headers` prove an identity to this host only.
///
/// Errors: no such file, more than `max` bytes, or no complete answer.
pub(super) async fn download(
    client: &HttpClient,
    url: &HttpUrl,
    etag: Option<&str>,
    headers: HeaderMap,
    max: u64,
) -> Result<Downloaded, PullError> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let mut request = Request::new(Body::empty());
        *request.headers_mut() = headers.clone();
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            request.headers_mut().insert(header::IF_NONE_MATCH, etag);
        }
        let response = client.send(&url, request).await.map_err(|error| no_response(&url, &error))?;
        let (head, body) = response.into_parts();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        match head.status.as_u16() {
            200 => {
                let body = read(&url, Body::new(body), max).await?;
                return Ok(Downloaded::File(body, text("etag").map(str::to_owned)));
            }
            304 if etag.is_some() => return Ok(Downloaded::Unchanged),
            301 | 302 | 303 | 307 | 308 if headers.is_empty() => {
                let target = text("location").unwrap_or_default();
                url = redirected(&url, target).ok_or_else(|| {
                    PullError::Refused(format!("{url}: redirect to an address that is not https"))
                })?;
            }
            status => {
                let code = text("x-ms-error-code").map(|code| format!(" ({})", on_one_line(code)));
                let error = format!("{url}: HTTP status {status}{}", code.unwrap_or_default());
                return Err(match status {
                    408 | 425 | 429 | 500.. => PullError::NoAnswer(error),
                    _ => PullError::Refused(error),
                });
            }
        }
    }
    Err(PullError::Refused(format!("{url}: more than {MAX_REDIRECTS} redirects")))
}

async fn read(url: &HttpUrl, body: Body, max: u64) -> Result<Vec<u8>, PullError> {
    let (mut bytes, mut chunks) = (Vec::new(), body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| PullError::NoAnswer(format!("{url}: cut off: {error}")))?;
        if (bytes.len() + chunk.len()) as u64 > max {
            return Err(PullError::Refused(format!(
                "{url}: larger than {max} bytes\n  help: if it is the right file, raise --max-size"
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Where `location` leads from `url`; none if the connection would not be encrypted any more.
fn redirected(url: &HttpUrl, location: &str) -> Option<HttpUrl> {
    let scheme = if url.is_encrypted { "https" } else { "http" };
    let text = match location.strip_prefix('/') {
        Some(path) if !path.starts_with('/') => format!("{scheme}://{}/{path}", url.authority),
        _ => location.to_owned(),
    };
    HttpUrl::parse(&text).filter(|to| to.is_encrypted || !url.is_encrypted)
}

fn no_response(url: &HttpUrl, error: &HttpError) -> PullError {
    match error {
        HttpError::Certificate(error) => PullError::Refused(format!(
            "{url}: {}\n  help: pass the server's certificate authority with --roots",
            on_one_line(&error.to_string())
        )),
        HttpError::Proxy(400..500) => PullError::Refused(format!("{url}: {error}")),
        error => PullError::NoAnswer(format!("{url}: {error}")),
    }
}
