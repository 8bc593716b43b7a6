//! `/api/v1/session`: signs in, says who is signed in, and signs out.

use std::time::Instant;

use axum::Json;
use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};

use super::Admin;
use super::access::{Caller, caller, peer, whole_peer};
use super::origin::{is_tls, require_own_page, require_same_origin};
use super::refusal::Refusal;
use super::sessions::set_cookie;
use crate::api::session::{SessionJson, SignInJson};
use crate::util::label::Label;
use crate::util::log_event::log;

type Cookie = [(HeaderName, String); 1];

/// Who sends the request.
pub(super) async fn show(Shared(admin): Shared<Admin>, parts: Parts) -> Result<Json<SessionJson>, Refusal> {
    let caller = caller(&parts, &admin).await?;
    Ok(Json(SessionJson {
        role: caller.as_ref().map_or("none", |caller| caller.role.label()).to_owned(),
        can_sign_in: admin.control.can_sign_in(),
        csrf: caller.and_then(|caller| caller.session).map(|session| session.csrf.into()),
    }))
}

/// Begins a session for the right token.
pub(super) async fn sign_in(
    Shared(admin): Shared<Admin>,
    parts: Parts,
    body: Result<Json<SignInJson>, JsonRejection>,
) -> Result<(Cookie, Json<SessionJson>), Refusal> {
    require_same_origin(&parts)?;
    // The rejection would repeat the body, which may contain a token.
    let Json(SignInJson { token }) = body.map_err(|rejection| {
        Refusal::new(
            rejection.status(),
            "not a sign-in; help: send `{\"token\": \"TOKEN\"}` as application/json",
        )
    })?;
    if !admin.control.can_sign_in() {
        let text = "no token to sign in with; help: set `admin.token_file` or `admin.viewer_token_file`, and restart \
                    namegate";
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    let (role, token) = admin.control.check(token.into_bytes(), &parts, &admin).await?;
    let begun = admin.control.sessions.begin((role, token), whole_peer(&parts, &admin), Instant::now());
    let (cookie, session) =
        begun.map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    if let Some(peer) = peer(&parts) {
        log!(SignedIn, "signed in as {} from {peer}", role.label());
    }
    let cookie = [(SET_COOKIE, set_cookie(&cookie, is_tls(&parts.headers)))];
    let csrf = Some(session.csrf.into());
    Ok((cookie, Json(SessionJson { role: role.label().to_owned(), can_sign_in: true, csrf })))
}

/// Ends the session of the request.
pub(super) async fn sign_out(
    Shared(admin): Shared<Admin>,
    parts: Parts,
) -> Result<(StatusCode, Cookie), Refusal> {
    if let Some(Caller { session: Some(session), .. }) = caller(&parts, &admin).await? {
        require_own_page(&parts, &session)?;
    }
    if let Some((id, _)) = admin.control.sessions.find(&parts.headers, Instant::now()) {
        admin.control.sessions.end(id);
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, set_cookie("", is_tls(&parts.headers)))]))
}
