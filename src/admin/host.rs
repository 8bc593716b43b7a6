//! Checks the `Host` header against DNS rebinding.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::uri::Authority;
use axum::http::{StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses requests that name another site. A web page can point its own name at this listener (DNS rebinding) and
/// would then read these pages. It cannot do so with an IP address or a single-label name. `hosts` are the names from
/// `admin.hosts`.
pub(super) async fn refuse_other_sites(
    Shared(hosts): Shared<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    // RFC 9112 section 3.2: an HTTP/1.1 client MUST send one Host field; an absolute-form target overrides it.
    let named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?.?"));
    let named: Vec<&str> =
        request.uri().authority().map(Authority::as_str).into_iter().chain(named).collect();
    let is_old = request.version() == Version::HTTP_10;
    if (is_old || !named.is_empty()) && named.iter().all(|host| is_own(host, &hosts)) {
        return next.run(request).await;
    }
    let text = "host name not permitted; help: use an IP address, `localhost` or a single-label name, or add the \
                name to `admin.hosts`\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// True for an IP address, a single-label name or one of `hosts`, with or without a port.
fn is_own(host: &str, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.');
    let is_named = || hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
    address.parse::<IpAddr>().is_ok() || !name.contains('.') || is_named()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_single_labels_and_what_is_named_are_own() {
        let hosts = ["gate-1.corp.example".to_owned()];
        for (host, own) in [
            ("127.0.0.1:9153", true),
            ("10.0.0.4", true),
            ("[::1]:9153", true),
            ("localhost:9153", true),
            ("namegate:9153", true),
            ("gate-1.corp.example", true),
            ("GATE-1.corp.example.:9153", true),
            ("gate-2.corp.example", false),
            ("x.gate-1.corp.example", false),
            ("corp.example", false),
            ("evil.example", false),
            ("evil.example:9153", false),
            ("127.0.0.1.evil.example:9153", false),
            ("evil.example.", false),
        ] {
            assert_eq!(is_own(host, &hosts), own, "{host}");
        }
    }
}
