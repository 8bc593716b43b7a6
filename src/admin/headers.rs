//! Headers of every response.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Defaults: browsers must not guess types, cache responses, run scripts or allow framing. A page that needs scripts
/// sets its own content policy.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers that a response does not set itself.
pub(super) async fn complete(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
