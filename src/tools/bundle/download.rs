//! [`download`]: fetches a bundle over HTTPS, unless the server has no other than the installed one.

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Request, header};

use super::error::PullError;
use crate::address::http_url::HttpUrl;
use crate::http_client::{HttpClient, HttpError};
use crate::util::escape::excerpt;

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
                url = text("location")
                    .and_then(|target| redirected(&url, target))
                    .ok_or_else(|| PullError::Refused(format!("{url}: redirect to no https address")))?;
            }
            status => {
                let code = text("x-ms-error-code").map(|code| format!(" ({})", excerpt(code)));
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
        Some(host) if host.starts_with('/') => format!("{scheme}:/{host}"),
        Some(path) => format!("{scheme}://{}/{path}", url.authority),
        None => location.to_owned(),
    };
    HttpUrl::parse(&text).filter(|to| to.is_encrypted || !url.is_encrypted)
}

fn no_response(url: &HttpUrl, error: &HttpError) -> PullError {
    match error {
        HttpError::Certificate(error) => PullError::Refused(format!(
            "{url}: {}\n  help: pass the server's certificate authority with --roots",
            excerpt(&error.to_string())
        )),
        HttpError::Proxy(400..500) => PullError::Refused(format!("{url}: {error}")),
        error => PullError::NoAnswer(format!("{url}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted() {
        for (from, location, to) in [
            ("https://a.example/x", "/y?z", Some("https://a.example/y?z")),
            ("https://a.example/x", "//b.example/y", Some("https://b.example/y")),
            ("https://a.example/x", "https://b.example/y", Some("https://b.example/y")),
            ("https://a.example/x", "http://b.example/y", None),
            ("https://a.example/x", "http://127.0.0.1/y", None),
            ("http://127.0.0.1/x", "https://b.example/y", Some("https://b.example/y")),
            ("http://127.0.0.1/x", "//b.example/y", None),
            ("https://a.example/x", "file:///etc/passwd", None),
            ("https://a.example/x", "", None),
        ] {
            let target = HttpUrl::parse(from).and_then(|from| redirected(&from, location));
            let target = target.map(|to| {
                let scheme = if to.is_encrypted { "https" } else { "http" };
                format!("{scheme}://{}{}", to.authority, to.target)
            });
            assert_eq!(target.as_deref(), to, "{from} {location}");
        }
    }
}
