//! Refuses changes that a page of another site makes a browser send with the session's cookie (CSRF).

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;
use super::sessions::Session;

/// Carries the session's CSRF token.
pub(super) const CSRF: HeaderName = HeaderName::from_static("x-namegate-csrf");

/// Requires that a request comes from a page of this listener that knows the session's CSRF token, and is no form.
pub(super) fn require_own_page(parts: &Parts, session: &Session) -> Result<(), Refusal> {
    require_same_origin(parts)?;
    let given = parts.headers.get(CSRF).map(|value| value.as_bytes()).unwrap_or_default();
    if !bool::from(session.csrf.as_bytes().ct_eq(given)) {
        let text = "the header `X-Namegate-CSRF` is missing or wrong; help: send `csrf` of `GET /api/v1/session` in it";
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    match text(&parts.headers, &header::CONTENT_TYPE) {
        // The extractor of a body requires the header.
        None => Ok(()),
        Some(kind) if kind.split(';').next().is_some_and(|kind| kind.trim() == "application/json") => Ok(()),
        Some(_) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not JSON; help: send `Content-Type: application/json`",
        )),
    }
}

/// Requires that a request does not come from a page of another origin. Browsers say where it comes from in
/// `Sec-Fetch-Site` and `Origin`; other programs send neither.
pub(super) fn require_same_origin(parts: &Parts) -> Result<(), Refusal> {
    let is_own = text(&parts.headers, &HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| matches!(site, "same-origin" | "none"));
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| text(&parts.headers, &header::HOST)).unwrap_or_default();
    let comes_from_host = text(&parts.headers, &header::ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host))
    });
    if is_own && comes_from_host {
        return Ok(());
    }
    let text = "a page of another site sent this request; help: open namegate's own page, and let a proxy pass on the \
                `Host` header";
    Err(Refusal::new(StatusCode::FORBIDDEN, text))
}

/// True if the browser reached this listener by TLS, through a proxy: it says so in `Origin`.
pub(super) fn is_tls(headers: &HeaderMap) -> bool {
    text(headers, &header::ORIGIN).is_some_and(|origin| origin.starts_with("https://"))
}

/// A header's value; for several or no text, one that matches nothing.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first.to_str().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::http::Request;

    use super::*;
    use crate::admin::token::{Role, TokenDigest};

    const HOST: (&str, &str) = ("host", "gate.corp.example:9153");
    const RIGHT: (&str, &str) = ("x-namegate-csrf", "secret");

    fn answer(headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::new(());
        for (name, value) in headers {
            request
                .headers_mut()
                .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let (parts, ()) = request.into_parts();
        let session = Session { role: Role::Approver, token: TokenDigest::default(), csrf: "secret".into() };
        require_own_page(&parts, &session).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_own_pages_change_something() {
        for (headers, status) in [
            (&[HOST, RIGHT][..], 200),
            (&[HOST, RIGHT, ("content-type", "application/json; charset=utf-8")], 200),
            (
                &[
                    HOST,
                    RIGHT,
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "http://GATE.corp.example:9153"),
                ],
                200,
            ),
            (&[HOST, RIGHT, ("sec-fetch-site", "none"), ("origin", "https://gate.corp.example:9153")], 200),
            (&[HOST], 403),
            (&[HOST, ("x-namegate-csrf", "secre")], 403),
            (&[HOST, RIGHT, RIGHT, ("sec-fetch-site", "cross-site")], 403),
            (&[HOST, RIGHT, ("sec-fetch-site", "same-site")], 403),
            (&[HOST, RIGHT, ("sec-fetch-site", "cross-site")], 403),
            (&[HOST, RIGHT, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], 403),
            (&[HOST, RIGHT, ("origin", "null")], 403),
            (&[HOST, RIGHT, ("origin", "http://gate.corp.example:3000")], 403),
            (&[HOST, RIGHT, ("origin", "http://evil.example")], 403),
            (&[RIGHT, ("origin", "http://evil.example")], 403),
            (&[HOST, RIGHT, ("content-type", "text/plain")], 415),
            (&[HOST, RIGHT, ("content-type", "application/x-www-form-urlencoded")], 415),
        ] {
            assert_eq!(answer(headers), status, "{headers:?}");
        }
    }
}
