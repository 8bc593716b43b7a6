//! The admin listener: metrics, health, the status page, its JSON, and grants.
//!
//! Handlers that change state use `POST` or `DELETE` and take an `Authorized`, which only a request with the token
//! yields.

mod allowed;
mod api;
mod authorized;
mod canaries;
mod exceptions;
mod headers;
mod host;
pub mod listener;
mod log;
mod page;
mod places;
mod refusal;
mod throttle;
pub mod token;

pub use authorized::Control;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{delete, get};

use crate::engine::State;
use crate::observe::event_log::Losses;
use crate::observe::history::History;
use crate::observe::live_stats::LiveStats;
use crate::observe::metrics_registry::MetricsRegistry;
use crate::policy::temporary::Grant;
use crate::upstream::server::{LATELY, Server};
use crate::util::heartbeat::Health;

/// Data behind the pages.
#[derive(Clone)]
pub struct Admin {
    /// The state that decides queries.
    pub state: Arc<ArcSwap<State>>,
    /// All counters.
    pub metrics: Arc<MetricsRegistry>,
    /// Recent activity.
    pub live: Arc<LiveStats>,
    /// Past lookups, if the history is on.
    pub history: Option<Arc<History>>,
    /// Counts of lost lookups and log lines.
    pub losses: Losses,
    /// Start of the service, on both clocks.
    pub started: (Instant, SystemTime),
    /// Changes state, for requests with the token.
    pub control: Control,
    /// Longest duration of a grant.
    pub max_temporary: Duration,
    /// State of threads and sockets.
    pub health: Health,
}

/// Largest request body in bytes: a name and a reason, with room to spare.
const MAX_BODY: usize = 16 * 1024;

impl Admin {
    /// Routes for `/`, `/metrics`, `/healthz`, `/livez`, `/readyz` and `/api/v1/…`. Health probes may use any host
    /// name; all other pages require an IP address, a single-label name or one of `hosts`.
    pub fn router(self, hosts: &[String]) -> Router {
        let pages = Router::new()
            .route("/", get(page::page))
            .route("/metrics", get(metrics))
            .route("/api/v1/status", get(api::status))
            .route("/api/v1/top", get(api::top))
            .route("/api/v1/recent", get(api::recent))
            .route("/api/v1/blocked", get(api::blocked))
            .route("/api/v1/explain", get(api::explain))
            .route("/api/v1/rules", get(api::rules))
            .route("/api/v1/log", get(log::lookups))
            .route("/api/v1/log/graph", get(log::graph))
            .route("/api/v1/log/clients", get(log::clients))
            .route("/api/v1/log/names", get(log::names))
            .route("/api/v1/shadow", get(exceptions::shadow))
            .route("/api/v1/tunnel-guard", get(exceptions::tunnel_guard))
            .route("/api/v1/canaries", get(canaries::canaries))
            .route("/api/v1/allowed", get(allowed::list).post(allowed::allow))
            .route("/api/v1/allowed/{pattern}", delete(allowed::revoke))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .layer(from_fn_with_state(hosts.into(), host::refuse_other_sites));
        Router::new()
            .route("/healthz", get(healthz))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .merge(pages)
            .layer(map_response(headers::complete))
            .with_state(self)
    }

    /// The current grants.
    fn grants(&self) -> Vec<Grant> {
        self.state.load().policies.temporary().iter().cloned().collect()
    }
}

async fn metrics(Shared(admin): Shared<Admin>) -> impl IntoResponse {
    let text = admin.metrics.render(&admin.state, &admin.live, &admin.losses);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The process runs.
async fn healthz() -> &'static str {
    "ok\n"
}

/// Every thread works and every worker can reply, even without upstreams: blocked names and cache entries still get
/// answers.
async fn livez(Shared(admin): Shared<Admin>) -> (StatusCode, String) {
    match admin.health.fault() {
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("not live: {fault}\n")),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}

/// Every worker can reply and an upstream replied recently. A policy is always loaded before anything listens.
async fn readyz(Shared(admin): Shared<Admin>) -> (StatusCode, String) {
    if let Some(fault) = admin.health.fault() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {fault}\n"));
    }
    let state = admin.state.load();
    let servers = state.upstreams.default().servers();
    let answers = |since: Option<Duration>| since.is_some_and(|since| since <= LATELY);
    let (looping, others): (Vec<_>, Vec<_>) =
        servers.iter().partition(|server| server.stats.loops.is_looping());
    if others.iter().any(|server| answers(server.stats.since_last_reply())) {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let names = |servers: Vec<&Arc<Server>>| {
        servers.iter().map(|server| &**server.name()).collect::<Vec<_>>().join(", ")
    };
    let mut reasons = Vec::new();
    if !looping.is_empty() {
        reasons.push(format!("forwarding loop through {}", names(looping)));
    }
    if !others.is_empty() {
        reasons.push(format!("no reply from {} in the last {} s", names(others), LATELY.as_secs()));
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reasons.join("; ")))
}
