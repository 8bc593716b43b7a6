//! Headers that every response has.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// A browser takes no response for another type than it says, keeps none, and runs and frames nothing of it. A page that is
/// meant to run something says so itself.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers that a response does not have yet.
pub(super) async fn complete(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
