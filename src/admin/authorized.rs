//! [`Authorized`]: proof that a request has the token; handlers that change state require it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::Admin;
use super::refusal::Refusal;
use super::throttle::ErrorThrottle;
use super::token::TokenFile;
use crate::control::ControlHandle;
use crate::util::log_event::log;

/// Checks tokens and sends commands to the running service.
#[derive(Clone)]
pub struct Control {
    /// The token that requests need; none: changes are disabled.
    pub token: Option<TokenFile>,
    /// Sends the commands.
    pub orders: ControlHandle,
    refused: Arc<ErrorThrottle>,
}

/// Address of the client of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminPeer(pub(super) SocketAddr);

/// A request with the right token. Handlers reach the [`ControlHandle`] only through it.
pub(super) struct Authorized {
    pub(super) orders: ControlHandle,
}

impl FromRequestParts<Admin> for Authorized {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        let given = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let has_token = given.is_some();
        let authorized = admin.control.authorize(given).await;
        if authorized.as_ref().is_err_and(|refusal| refusal.status == StatusCode::UNAUTHORIZED) {
            admin.metrics.token_refused();
            admin.control.tell_refused(parts, has_token);
        }
        authorized
    }
}

impl Control {
    /// Passes commands to `orders` for requests with `token`.
    pub fn new(token: Option<TokenFile>, orders: ControlHandle) -> Self {
        Self { token, orders, refused: Arc::default() }
    }

    /// Logs a request without the right token, at a limited rate.
    fn tell_refused(&self, parts: &Parts, has_token: bool) {
        let Some(left_out) = self.refused.admit(Instant::now()) else { return };
        let peer = parts
            .extensions
            .get::<AdminPeer>()
            .map_or_else(|| "unknown".to_owned(), |AdminPeer(address)| address.to_string());
        let what = if has_token { "a wrong token" } else { "no token" };
        log!(
            AdminRefused,
            "admin request refused, {what}: {} from {peer}; {left_out} more since the last such line",
            parts.method
        );
    }

    /// Compares the value of an `Authorization` header with the token.
    async fn authorize(&self, given: Option<Vec<u8>>) -> Result<Authorized, Refusal> {
        let Some(file) = self.token.clone() else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "changes are disabled: no token is set; help: set `admin.token_file` to a file with a token of 16 \
                 characters or more, and restart namegate",
            ));
        };
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        // Details about the file go only to the log, because the client is not authenticated.
        let token =
            read.map_err(|error| error.to_string()).and_then(|token| token.map_err(|e| e.to_string()));
        let token = token.map_err(|error| {
            log!(TokenUnreadable, "admin request refused: {error}");
            let text =
                "changes are disabled: the token cannot be read; help: see namegate's log for the reason";
            Refusal::new(StatusCode::FORBIDDEN, text)
        })?;
        if !given.as_deref().and_then(bearer).is_some_and(|given| token.is(given)) {
            let text = "token missing or wrong; help: send the header `Authorization: Bearer TOKEN`";
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, text));
        }
        Ok(Authorized { orders: self.orders.clone() })
    }
}

/// The credentials of `Bearer CREDENTIALS`; the scheme may be in any case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[tokio::test]
    async fn only_the_token_lets_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, SECRET).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let control = Control::new(Some(TokenFile::new(path.clone())), ControlHandle::new().0);
        let status = |given: Option<&str>| {
            let (control, given) = (control.clone(), given.map(|given| given.as_bytes().to_vec()));
            async move { control.authorize(given).await.map(drop).map_err(|refusal| refusal.status.as_u16()) }
        };
        let right = format!("Bearer {SECRET}");
        for (given, wanted) in [
            (Some(right.as_str()), Ok(())),
            (Some("bearer 0123456789abcdef"), Ok(())),
            (None, Err(401)),
            (Some(""), Err(401)),
            (Some("Bearer"), Err(401)),
            (Some("Bearer "), Err(401)),
            (Some(SECRET), Err(401)),
            (Some("Basic 0123456789abcdef"), Err(401)),
            (Some("Bearer 0123456789abcdef "), Err(401)),
            (Some("Bearer 0123456789abcdeg"), Err(401)),
        ] {
            assert_eq!(status(given).await, wanted, "{given:?}");
        }
        std::fs::write(&path, "fedcba9876543210").unwrap();
        assert_eq!(status(Some(&right)).await, Err(401), "a new token applies at once");
        assert_eq!(status(Some("Bearer fedcba9876543210")).await, Ok(()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status(Some("Bearer fedcba9876543210")).await, Err(403));
        let without = Control { token: None, ..control.clone() };
        assert!(without.authorize(None).await.is_err_and(|refusal| refusal.status == StatusCode::FORBIDDEN));
    }
}
