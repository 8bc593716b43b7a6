//! Which names the pages may be reached by.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses requests for another site. A web page can have its own name point to this listener (DNS rebinding), and would
/// then read what is shown here; it cannot choose an address or a name of one label.
pub(super) async fn refuse_other_sites(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_none_or(is_own) {
        return next.run(request).await;
    }
    let text = "reach this page by an IP address, `localhost`, or a name of one label\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// True for an address or a name of one label, each with or without a port.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || !name.trim_end_matches('.').contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_single_labels_are_own() {
        for (host, own) in [
            ("127.0.0.1:9153", true),
            ("10.0.0.4", true),
            ("[::1]:9153", true),
            ("localhost:9153", true),
            ("namegate:9153", true),
            ("evil.example", false),
            ("evil.example:9153", false),
            ("127.0.0.1.evil.example:9153", false),
            ("evil.example.", false),
        ] {
            assert_eq!(is_own(host), own, "{host}");
        }
    }
}
