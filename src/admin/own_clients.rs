//! Registers the sockets of `namegate prove`, so that its lookups are not counted as a client's. Needs the token.

use std::net::SocketAddr;
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
use crate::util::log_event::log;

type Body = Result<Json<OwnClientsJson>, JsonRejection>;

/// Registers sockets, or renews them.
pub(super) async fn register(
    _: Approver,
    Shared(admin): Shared<Admin>,
    Extension(AdminPeer(peer)): Extension<AdminPeer>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let clients = clients(body)?;
    let new = admin.own_clients.lease(&clients, Instant::now() + LEASE);
    for client in new.map_err(|error| Refusal::unfit(error.to_string()))? {
        log!(OwnClients, %client, "lookups from {client} are not counted as a client's: registered by {peer}");
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
    note_end(&admin.own_clients.end(&clients(body)?));
    Ok(StatusCode::NO_CONTENT)
}

fn clients(body: Body) -> Result<Vec<SocketAddr>, Refusal> {
    let Json(body) = body.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    Ok(body.clients)
}

fn note_end(clients: &[SocketAddr]) {
    for client in clients {
        log!(OwnClients, %client, "lookups from {client} are counted again");
    }
}
