//! [`Authorized`]: a request that brought the token, and the only way to what changes state.

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

/// Who may give orders, and where they go.
#[derive(Clone)]
pub struct Control {
    /// The token that requests must bring; none: nobody may give orders.
    pub token: Option<TokenFile>,
    /// Where they go.
    pub orders: ControlHandle,
    refused: Arc<ErrorThrottle>,
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminPeer(pub(super) SocketAddr);

/// A request that brought the token. A handler that changes state takes one, and gets at the orders through it alone.
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
            admin.catalogue.token_refused();
            admin.control.tell_refused(parts, has_token);
        }
        authorized
    }
}

impl Control {
    /// Orders go to `orders`, where a request brings `token`.
    pub fn new(token: Option<TokenFile>, orders: ControlHandle) -> Self {
        Self { token, orders, refused: Arc::default() }
    }

    /// Logs a request without the token, unless there were many.
    fn tell_refused(&self, parts: &Parts, has_token: bool) {
        let Some(left_out) = self.refused.admit(Instant::now()) else { return };
        let peer = parts
            .extensions
            .get::<AdminPeer>()
            .map_or_else(|| "unknown".to_owned(), |AdminPeer(address)| address.to_string());
        let what = if has_token { "a wrong token" } else { "no token" };
        tracing::warn!(
            "refused an admin request with {what}: {} from {peer}; others since the last such line: {left_out}",
            parts.method
        );
    }

    /// Holds the value of an `Authorization` header against the token.
    async fn authorize(&self, given: Option<Vec<u8>>) -> Result<Authorized, Refusal> {
        let Some(file) = self.token.clone() else {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this gate takes no orders: no token is set; help: set `token_file` in [admin] to a file with a token of \
                 16 characters or more, and start the gate again",
            ));
        };
        let read = tokio::task::spawn_blocking(move || file.read()).await;
        // Where the file is, and what is wrong with it, is for the log; whoever asks may be anyone.
        let token =
            read.map_err(|error| error.to_string()).and_then(|token| token.map_err(|e| e.to_string()));
        let token = token.map_err(|error| {
            tracing::error!("no order is taken: {error}");
            let text = "this gate takes no orders: its token cannot be read; help: its log says why";
            Refusal::new(StatusCode::FORBIDDEN, text)
        })?;
        if !given.as_deref().and_then(bearer).is_some_and(|given| token.is(given)) {
            let text = "the token is missing or wrong; help: send the header `Authorization: Bearer TOKEN`";
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
        assert_eq!(status(Some(&right)).await, Err(401), "a new token holds at once");
        assert_eq!(status(Some("Bearer fedcba9876543210")).await, Ok(()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status(Some("Bearer fedcba9876543210")).await, Err(403));
        let without = Control { token: None, ..control.clone() };
        assert!(without.authorize(None).await.is_err_and(|refusal| refusal.status == StatusCode::FORBIDDEN));
    }
}
