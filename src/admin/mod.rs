//! The HTTP side: metrics and health. Nothing here changes state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::gate::State;
use crate::telemetry::catalogue::Catalogue;
use crate::telemetry::query_log::QueryLog;
use crate::upstream::probe::LATELY;

/// What the pages show.
#[derive(Clone)]
pub struct Admin {
    /// What queries are judged by.
    pub state: Arc<ArcSwap<State>>,
    /// All counts.
    pub catalogue: Arc<Catalogue>,
    /// Only for what it lost.
    pub log: QueryLog,
}

impl Admin {
    /// `/metrics`, `/healthz` and `/readyz`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

async fn metrics(Shared(admin): Shared<Admin>) -> impl IntoResponse {
    let text = admin.catalogue.render(&admin.state, &admin.log);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// A policy is loaded (or nothing would listen) and an upstream replied lately.
async fn readyz(Shared(admin): Shared<Admin>) -> (StatusCode, String) {
    let state = admin.state.load();
    let answers = |since: Option<std::time::Duration>| since.is_some_and(|since| since <= LATELY);
    if state.upstream.servers().iter().any(|server| answers(server.stats.since_last_reply())) {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let servers: Vec<&str> = state.upstream.servers().iter().map(|server| server.name()).collect();
    let seconds = LATELY.as_secs();
    let reason = format!("not ready: no reply from {} in the last {seconds} s\n", servers.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, reason)
}
