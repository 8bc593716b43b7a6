//! Who may read and who may change: [`Viewer`] and [`Approver`], which handlers take as proof.
//!
//! A request is known by its token (`Authorization: Bearer`) or by the cookie of a session. Handlers reach the
//! [`ControlHandle`] only through [`Approver`], except to file a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::Admin;
use super::guesses::Guesses;
use super::origin;
use super::refusal::Refusal;
use super::sessions::{Session, Sessions};
use super::throttle::ErrorThrottle;
use super::token::{Role, Token, TokenDigest, TokenFile};
use crate::config::ReadAccess;
use crate::control::requests::GrantRequest;
use crate::control::{CommandError, ControlHandle};
use crate::policy::clients::WholeClient;
use crate::util::log_event::log;

/// Checks tokens and sessions, and sends commands to the running service.
#[derive(Clone)]
pub struct Control {
    tokens: Arc<[TokenFile]>,
    read: ReadAccess,
    orders: ControlHandle,
    pub(super) sessions: Arc<Sessions>,
    guesses: Arc<Guesses>,
    refused: Arc<ErrorThrottle>,
    unreadable: Arc<ErrorThrottle>,
}

/// Address of the client of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminPeer(pub(super) SocketAddr);

/// A request that may read.
pub(super) struct Viewer;

/// A request that may change something: it has the admin token, or a session that began with it.
pub(super) struct Approver {
    pub(super) orders: ControlHandle,
}

/// A request with a right token or a session.
pub(super) struct Caller {
    pub(super) role: Role,
    /// None for a token.
    pub(super) session: Option<Session>,
}

impl FromRequestParts<Admin> for Viewer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        if reads_freely(admin.control.read, peer(parts)) {
            return Ok(Self);
        }
        let remedy = match admin.control.can_sign_in() {
            true => "sign in on the page, or send the header `Authorization: Bearer TOKEN`",
            false => "set `admin.viewer_token_file` or `admin.token_file` to sign in, or set `admin.read`",
        };
        match caller(parts, admin).await? {
            Some(_) => Ok(Self),
            None => Err(Refusal::new(StatusCode::UNAUTHORIZED, format!("not signed in; help: {remedy}"))),
        }
    }
}

impl FromRequestParts<Admin> for Approver {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        let control = &admin.control;
        if !control.tokens.iter().any(|file| file.role() == Role::Approver) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "changes are disabled: no token is set; help: set `admin.token_file` to a file with a token of 16 \
                 characters or more, and restart namegate",
            ));
        }
        match caller(parts, admin).await? {
            None => Err(control.refuse(parts, admin, "no token")),
            Some(Caller { role: Role::Viewer, .. }) => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the viewer token may only read; help: use the admin token (`admin.token_file`)",
            )),
            Some(Caller { role: Role::Approver, session }) => {
                // Other sites cannot read what a page answers, so only changes need proof of the sender.
                let session = session.filter(|_| !parts.method.is_safe());
                session.map_or(Ok(()), |session| origin::require_own_page(parts, &session))?;
                Ok(Self { orders: control.orders.clone() })
            }
        }
    }
}

/// True if a client at `peer` reads without a token.
fn reads_freely(read: ReadAccess, peer: Option<SocketAddr>) -> bool {
    match read {
        ReadAccess::Any => true,
        ReadAccess::Loopback => peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
        ReadAccess::Token => false,
    }
}

/// Who sends a request; none without a token and a session.
pub(super) async fn caller(parts: &Parts, admin: &Admin) -> Result<Option<Caller>, Refusal> {
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    if let Some(given) = given {
        let (role, _) = admin.control.check(given.to_vec(), parts, admin).await?;
        return Ok(Some(Caller { role, session: None }));
    }
    let Some((id, session)) = admin.control.sessions.find(&parts.headers, Instant::now()) else {
        return Ok(None);
    };
    // A session ends with the token that it began with.
    let is_its_token = |role: Role, token: &Token| role == session.role && token.digest() == session.token;
    if admin.control.role_of(is_its_token).await?.is_some() {
        return Ok(Some(Caller { role: session.role, session: Some(session) }));
    }
    admin.control.sessions.end(id);
    Ok(None)
}

/// The address of a request's client.
pub(super) fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<AdminPeer>().map(|AdminPeer(address)| *address)
}

/// The client of a request, in whole: an IPv6 host has many addresses.
pub(super) fn whole_peer(parts: &Parts, admin: &Admin) -> Option<WholeClient> {
    peer(parts).map(|peer| admin.state.load().policies.whole_client(peer.ip()))
}

impl Control {
    /// Passes commands to `orders` for requests with the admin token; `read` says who may read.
    pub fn new(tokens: Vec<TokenFile>, read: ReadAccess, orders: ControlHandle) -> Self {
        Self {
            tokens: tokens.into(),
            read,
            orders,
            sessions: Arc::default(),
            guesses: Arc::default(),
            refused: Arc::default(),
            unreadable: Arc::default(),
        }
    }

    /// Files a request for a grant, which needs no token: it changes no decision.
    pub(super) async fn file(&self, request: GrantRequest) -> Result<(), CommandError> {
        self.orders.file(request).await
    }

    /// True if `/metrics` needs a token as well.
    pub(super) fn guards_metrics(&self) -> bool {
        self.read == ReadAccess::Token
    }

    /// True if there is a token to sign in with.
    pub(super) fn can_sign_in(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The role that the token `given` entitles to.
    ///
    /// Errors: it is wrong, the client has tried too many wrong ones, or no token can be read.
    pub(super) async fn check(
        &self,
        given: Vec<u8>,
        parts: &Parts,
        admin: &Admin,
    ) -> Result<(Role, TokenDigest), Refusal> {
        let client = whole_peer(parts, admin);
        if let Some(wait) = client.and_then(|client| self.guesses.wait(client, Instant::now())) {
            admin.metrics.token_refused();
            let text = format!("too many wrong tokens; help: wait {} s", wait.as_secs() + 1);
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        let known = self.role_of(|_, token| token.is(&given)).await;
        if let Ok(Some(known)) = known {
            return Ok(known);
        }
        // A guess counts even if another token cannot be read.
        if let Some(client) = client {
            self.guesses.note(client, Instant::now());
        }
        known?;
        Err(self.refuse(parts, admin, "a wrong token"))
    }

    /// The role and the digest of the first token that `is_meant`, of those that the files have now.
    ///
    /// Errors: there is none, and one of the files cannot be read.
    async fn role_of(
        &self,
        is_meant: impl Fn(Role, &Token) -> bool,
    ) -> Result<Option<(Role, TokenDigest)>, Refusal> {
        let files = Arc::clone(&self.tokens);
        let read = move || files.iter().map(|file| (file.role(), file.read())).collect::<Vec<_>>();
        let mut fault = None;
        for (role, token) in tokio::task::spawn_blocking(read).await.unwrap_or_default() {
            match token {
                Ok(token) if is_meant(role, &token) => return Ok(Some((role, token.digest()))),
                Ok(_) => {}
                Err(error) => fault = Some(error),
            }
        }
        // Details about the file go only to the log, because the client is not authenticated.
        fault.map_or(Ok(None), |error| {
            if self.unreadable.admit(Instant::now()).is_some() {
                log!(TokenUnreadable, "admin request refused: {error}");
            }
            let text = "a token cannot be read; help: see namegate's log for the reason";
            Err(Refusal::new(StatusCode::FORBIDDEN, text))
        })
    }

    /// Counts a request without the right token, and logs it at a limited rate.
    fn refuse(&self, parts: &Parts, admin: &Admin, what: &str) -> Refusal {
        admin.metrics.token_refused();
        if let Some(left_out) = self.refused.admit(Instant::now()) {
            let peer = peer(parts).map_or_else(|| "unknown".to_owned(), |address| address.to_string());
            log!(
                AdminRefused,
                "admin request refused, {what}: {} from {peer}; {left_out} more since the last such line",
                parts.method
            );
        }
        let text = "token missing or wrong; help: send the header `Authorization: Bearer TOKEN`, or sign in";
        Refusal::new(StatusCode::UNAUTHORIZED, text)
    }
}

/// The credentials of `Bearer CREDENTIALS`; the scheme may be in any case (RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_on_this_host_read_freely() {
        for (peer, by_default) in [
            ("127.0.0.1:40000", true),
            ("127.9.9.9:40000", true),
            ("[::1]:40000", true),
            ("[::ffff:127.0.0.1]:40000", true),
            ("10.0.0.4:40000", false),
            ("[::ffff:10.0.0.4]:40000", false),
            ("[fe80::1]:40000", false),
        ] {
            let address = peer.parse().ok();
            let free = [ReadAccess::Loopback, ReadAccess::Token, ReadAccess::Any]
                .map(|read| reads_freely(read, address));
            assert_eq!(free, [by_default, false, true], "{peer}");
        }
        assert!(!reads_freely(ReadAccess::Loopback, None));
    }

    #[test]
    fn bearer_credentials_are_what_follows_the_scheme() {
        for (value, credentials) in [
            ("Bearer 0123456789abcdef", Some("0123456789abcdef")),
            ("bearer x ", Some("x ")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("0123456789abcdef", None),
            ("Basic 0123456789abcdef", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), credentials.map(str::as_bytes), "{value}");
        }
    }
}
