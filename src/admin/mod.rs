//! The admin listener: metrics, health, the status page, its JSON, sign-in, and grants.
//!
//! Handlers that change state use `POST` or `DELETE` and take an `Approver`, which only a request with the admin token,
//! or a session that began with it, yields.

mod access;
mod allowed;
mod api;
mod canaries;
mod exceptions;
mod guesses;
mod headers;
mod host;
pub mod listener;
mod log;
mod origin;
mod own_clients;
mod page;
mod places;
mod refusal;
mod reload;
mod requests;
mod session;
mod sessions;
mod throttle;
pub mod token;

pub use access::Control;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{from_extractor_with_state, from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};

use access::Viewer;

use crate::control::requests::SharedRequests;
use crate::engine::State;
use crate::events::own_clients::OwnClients;
use crate::observe::event_log::Losses;
use crate::observe::history::History;
use crate::observe::live_stats::LiveStats;
use crate::observe::metrics_registry::MetricsRegistry;
use crate::observe::readiness::silent_upstreams;
use crate::policy::temporary::Grant;
use crate::util::heartbeat::Health;
use crate::wire::name::Name;

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
    /// Requests for grants; `None` if they are disabled.
    pub requests: Option<SharedRequests>,
    /// Sockets whose lookups are not counted as a client's.
    pub own_clients: Arc<OwnClients>,
    /// State of threads and sockets.
    pub health: Health,
    /// Names that must not resolve (`prove.must_not_resolve`).
    pub canaries: Arc<[Name]>,
    /// The settings file, as displayed.
    pub settings_file: Arc<str>,
}

impl Admin {
    /// Routes for `/`, `/request`, `/metrics`, `/healthz`, `/livez`, `/readyz` and `/api/v1/…`. Health probes may use
    /// any host name; all other pages require an IP address, a single-label name or one of `hosts`. All pages with data require
    /// a `Viewer`; filing a request and reading it by its id does not.
    pub fn router(self, hosts: &[String]) -> Router {
        let with_data = Router::new()
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
            .route("/api/v1/requests", get(requests::list))
            .route("/api/v1/requests/{id}/approve", post(requests::approve))
            .route("/api/v1/requests/{id}/deny", post(requests::deny))
            .route("/api/v1/requests/{id}/rule", get(requests::rule))
            .route("/api/v1/own-clients", post(own_clients::register).delete(own_clients::withdraw))
            .route("/api/v1/reload", post(reload::reload));
        let metrics = Router::new().route("/metrics", get(metrics));
        let (with_data, open) = match self.control.guards_metrics() {
            true => (with_data.merge(metrics), Router::new()),
            false => (with_data, metrics),
        };
        let session = get(session::show).post(session::sign_in).delete(session::sign_out);
        let pages = open
            .route("/", get(page::page))
            .route("/request", get(page::page))
            .route("/api/v1/session", session)
            .route("/api/v1/requests", post(requests::file))
            .route("/api/v1/requests/{id}", get(requests::show))
            .merge(with_data.route_layer(from_extractor_with_state::<Viewer, _>(self.clone())))
            .layer(DefaultBodyLimit::max(listener::MAX_BODY))
            .layer(from_fn_with_state(hosts.into(), host::refuse_other_sites));
        Router::new()
            .route("/healthz", get(healthz))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .merge(pages)
            .layer(map_response(headers::complete))
            .with_state(self)
    }

    /// Why it is not ready, if it is not.
    fn not_ready(&self) -> Option<String> {
        self.health.fault().or_else(|| silent_upstreams(&self.state.load()))
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
    match admin.not_ready() {
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}
