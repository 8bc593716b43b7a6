//! Registers the sockets of `namegate prove`, so that its lookups are not counted as a client's. Needs the token.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State as Shared;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};

use super::Admin;
use super::access::{AdminPeer, Approver};
use super::refusal::Refusal;
use crate::api::own_clients::{LEASE, OwnClientsJson};
use crate::events::own_clients::OwnSocket;
use crate::util::label::Label;
use crate::util::log_event::log;
use crate::wire::reply::Transport;

type Body = Result<Json<OwnClientsJson>, JsonRejection>;

/// Registers sockets, or renews them.
pub(super) async fn register(
    _: Approver,
    Shared(admin): Shared<Admin>,
    Extension(AdminPeer(peer)): Extension<AdminPeer>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let sockets = sockets(body)?;
    let new = admin.own_clients.lease(&sockets, Instant::now() + LEASE);
    for (client, transport) in new.map_err(|error| Refusal::unfit(error.to_string()))? {
        log!(OwnClients, %client, "lookups from {client} ({}) are not counted as a client's: registered by {peer}", transport.label());
    }
    let own_clients = Arc::clone(&admin.own_clients);
    tokio::spawn(async move {
        tokio::time::sleep(LEASE).await;
        note_end(&own_clients.expire(Instant::now()));
    });
    Ok(StatusCode::NO_CONTENT)
}

/// Withdraws sockets.
pub(super) async fn withdraw(
    _: Approver,
    Shared(admin): Shared<Admin>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    note_end(&admin.own_clients.end(&sockets(body)?));
    Ok(StatusCode::NO_CONTENT)
}

fn sockets(body: Body) -> Result<Vec<OwnSocket>, Refusal> {
    let Json(body) = body.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let OwnClientsJson { udp, tcp } = body;
    let of = |transport| move |address| (address, transport);
    Ok(udp.into_iter().map(of(Transport::Udp)).chain(tcp.into_iter().map(of(Transport::Tcp))).collect())
}

fn note_end(sockets: &[OwnSocket]) {
    for (client, transport) in sockets {
        log!(OwnClients, %client, "lookups from {client} ({}) are counted again", transport.label());
    }
}
