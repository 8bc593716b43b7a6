//! [`MetricsRegistry`]: all counters of the process, and the text of `/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use strum::VariantArray;

use super::metric;
use super::publish::{
    publish_cache, publish_connections, publish_exceptions, publish_history, publish_losses,
    publish_requests, publish_top, publish_upstream,
};
use crate::control::requests::SharedRequests;
use crate::engine::State;
use crate::events::counters::{Counters, Dropped, Limited, RCODES, TYPES, Totals, ZONES};
use crate::events::histogram::{HistogramSnapshot, render_head};
use crate::events::outcome::{AnswerSource, Decision};
use crate::listen::connections::Connections;
use crate::net::reply_socket::{ReplySocket, SendDrop};
use crate::observe::canary_results::CanaryResults;
use crate::observe::event_log::Losses;
use crate::observe::history::History;
use crate::observe::live_stats::{LiveStats, RecentActivity};
use crate::observe::rule_uses::RuleUses;
use crate::observe::webhook_results::WebhookResults;
use crate::policy::expect::Expect;
use crate::policy::verdict::BlockReason;
use crate::util::escape::on_one_line;
use crate::util::label::Label;
use crate::util::sync::lock;
use crate::wire::code::Rcode;
use crate::wire::reply::Transport;

/// Label value for everything without a series of its own.
const OTHER: &str = "other";

/// Response codes whose series exist from the start, for all decisions; other series begin at first use.
const FROM_THE_START: [Rcode; 3] = [Rcode::NOERROR, Rcode::NXDOMAIN, Rcode::SERVFAIL];

/// Duration series that exist from the start: one per source.
const USUAL: [(Decision, AnswerSource); 4] = [
    (Decision::Allowed, AnswerSource::Cache),
    (Decision::Allowed, AnswerSource::Upstream),
    (Decision::Blocked, AnswerSource::Policy),
    (Decision::Local, AnswerSource::Local),
];

/// All counters of the process, and the Prometheus registry that renders them.
pub struct MetricsRegistry {
    registry: PrometheusHandle,
    process: metrics_process::Collector,
    counters: Mutex<Vec<Arc<Counters>>>,
    /// Counts namegate's own queries.
    own: Arc<Counters>,
    sockets: Mutex<Vec<Weak<ReplySocket>>>,
    connections: OnceLock<Arc<Connections>>,
    history: OnceLock<Arc<History>>,
    zones: Mutex<Vec<String>>,
    reloads: Reloads,
    tokens_refused: AtomicU64,
    requests: OnceLock<SharedRequests>,
    webhook: Arc<WebhookResults>,
    standing: Arc<CanaryResults>,
    rule_uses: Arc<RuleUses>,
}

#[derive(Debug, Default)]
struct Reloads {
    success: AtomicU64,
    failure: AtomicU64,
    /// Unix time in seconds of the last attempt that succeeded.
    last_success: AtomicU64,
    /// Time in Unix seconds and error of the last attempt, if it failed.
    last_failure: Mutex<Option<(u64, String)>>,
}

impl MetricsRegistry {
    /// Installs the registry for this process; fails if one is installed already.
    pub fn install() -> Result<Self, BuildError> {
        let registry = PrometheusBuilder::new()
            // Every gauge in use is set just before rendering. A gauge that was not set belongs to a policy or an
            // upstream that no longer exists.
            .idle_timeout(MetricKindMask::GAUGE, Some(Duration::from_nanos(1)))
            .install_recorder()?;
        metric::describe();
        let process = metrics_process::Collector::default();
        process.describe();
        let reloads = Reloads::default();
        reloads.last_success.store(unix_seconds(), Ordering::Relaxed);
        let (counters, sockets, connections) = (Mutex::default(), Mutex::default(), OnceLock::new());
        let history = OnceLock::new();
        let (zones, tokens_refused, standing) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        let (own, rule_uses) = (Arc::new(Counters::shared()), Arc::default());
        Ok(Self {
            registry,
            process,
            counters,
            own,
            history,
            sockets,
            connections,
            zones,
            reloads,
            tokens_refused,
            requests: OnceLock::new(),
            webhook: Arc::default(),
            standing,
            rule_uses,
        })
    }

    /// Adds `counters` to the sum.
    pub fn watch(&self, counters: Counters) -> Arc<Counters> {
        let mut known = lock(&self.counters);
        let counters = Arc::new(counters.numbered(known.len()).beside(&self.own));
        known.push(Arc::clone(&counters));
        counters
    }

    /// Includes the drops of `socket` in the metrics while it is open.
    pub fn watch_socket(&self, socket: &Arc<ReplySocket>) {
        lock(&self.sockets).push(Arc::downgrade(socket));
    }

    /// Includes the TCP connections of clients in the metrics.
    pub fn watch_connections(&self, connections: &Arc<Connections>) {
        // A process serves once; a second call is ignored.
        let _ = self.connections.set(Arc::clone(connections));
    }

    /// Why lookups are not written to the history, and since when.
    pub fn history_problem(&self) -> Option<(String, SystemTime)> {
        self.history.get()?.status().problem
    }

    /// Includes the history in the metrics.
    pub fn watch_history(&self, history: &Arc<History>) {
        let _ = self.history.set(Arc::clone(history));
    }

    /// The counter index of an allowlist; it stays the same across all reloads.
    pub fn zone_place(&self, zone: &str) -> usize {
        let mut zones = lock(&self.zones);
        if let Some(place) = zones.iter().position(|known| known == zone) {
            return place;
        }
        if zones.len() == ZONES - 1 {
            return ZONES - 1;
        }
        zones.push(zone.to_owned());
        zones.len() - 1
    }

    /// Results of the canary queries.
    pub fn standing(&self) -> &Arc<CanaryResults> {
        &self.standing
    }

    /// The uses of rules.
    pub fn rule_uses(&self) -> &Arc<RuleUses> {
        &self.rule_uses
    }

    /// Records a reload that succeeded.
    pub fn reloaded(&self) {
        *lock(&self.reloads.last_failure) = None;
        self.reloads.success.fetch_add(1, Ordering::Relaxed);
        self.reloads.last_success.store(unix_seconds(), Ordering::Relaxed);
    }

    /// Records a reload that failed with `error`.
    pub fn reload_failed(&self, error: &str) {
        *lock(&self.reloads.last_failure) = Some((unix_seconds(), brief(error)));
        self.reloads.failure.fetch_add(1, Ordering::Relaxed);
    }

    /// Unix time in seconds and error of the last reload, if it failed.
    pub fn failed_reload(&self) -> Option<(u64, String)> {
        lock(&self.reloads.last_failure).clone()
    }

    /// Counts an admin request to change something that was refused for its token.
    pub fn token_refused(&self) {
        self.tokens_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts these requests for grants from now on.
    pub fn watch_requests(&self, requests: SharedRequests) {
        // Set once, at the start.
        let _ = self.requests.set(requests);
    }

    /// The counts of webhook messages.
    pub fn webhook(&self) -> &Arc<WebhookResults> {
        &self.webhook
    }

    /// How many reloads failed.
    pub fn failed_reloads(&self) -> u64 {
        self.reloads.failure.load(Ordering::Relaxed)
    }

    /// The current sums of all counters of clients' queries.
    pub fn totals(&self) -> Totals {
        let counters = lock(&self.counters);
        Totals::of(counters.iter().map(AsRef::as_ref))
    }

    /// Unix time in seconds when the policy in force was loaded, and whether every reload since then succeeded.
    pub fn last_reload(&self) -> (u64, bool) {
        let last = self.reloads.last_success.load(Ordering::Relaxed);
        (last, lock(&self.reloads.last_failure).is_none())
    }

    /// Renders `/metrics` with the current counts.
    pub fn render(&self, state: &ArcSwap<State>, live: &LiveStats, losses: &Losses) -> String {
        let state = state.load();
        // Held until the end: a concurrent scrape would treat the gauges of this one as idle.
        let counters = lock(&self.counters);
        let totals = Totals::of(counters.iter().map(AsRef::as_ref));
        self.publish_policy(&state);
        self.publish_totals(&totals);
        let own = Totals::of(std::iter::once(&*self.own));
        counter!("namegate_own_queries_total").absolute(own.queries.iter().flatten().sum());
        self.publish_sockets();
        publish_exceptions(&state, &totals);
        publish_cache(&state, &totals);
        publish_upstream(&state);
        publish_top(live);
        publish_losses(losses);
        if let Some(history) = self.history.get() {
            publish_history(&history.status());
        }
        counter!("namegate_admin_tokens_refused_total").absolute(self.tokens_refused.load(Ordering::Relaxed));
        if let Some(requests) = self.requests.get() {
            publish_requests(requests);
        }
        self.webhook.publish();
        self.standing.publish();
        self.rule_uses.collect(&state, SystemTime::now());
        self.rule_uses.publish(&state);
        self.process.collect();
        self.registry.run_upkeep();
        let mut out = self.registry.render();
        render_durations(&mut out, &totals, &state);
        out
    }

    fn publish_sockets(&self) {
        let sockets = lock(&self.sockets);
        let sockets: Vec<Arc<ReplySocket>> = sockets.iter().filter_map(Weak::upgrade).collect();
        let dropped = sockets.iter().filter_map(|socket| socket.receive_drops()).sum();
        counter!("namegate_udp_receive_drops_total").absolute(dropped);
        let mut unsent = [0; SendDrop::VARIANTS.len()];
        for (reason, count) in sockets.iter().flat_map(|socket| socket.drops()) {
            unsent[reason as usize] += count;
        }
        for (reason, count) in SendDrop::VARIANTS.iter().copied().zip(unsent) {
            counter!("namegate_udp_send_drops_total", "reason" => reason.label()).absolute(count);
        }
        if let Some(connections) = self.connections.get() {
            publish_connections(connections);
        }
    }

    fn publish_policy(&self, state: &State) {
        let policy = state.policies.default();
        gauge!("namegate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        let mode = policy.mode().label();
        gauge!("namegate_policy_info", "hash" => policy.hash(), "mode" => mode).set(1);
        for group in state.policies.groups() {
            let (name, hash) = (group.name.clone(), group.policy.hash());
            gauge!("namegate_client_group_info", "group" => name, "hash" => hash, "mode" => group.policy.mode().label()).set(1);
        }
        let mut zones = std::collections::BTreeMap::new();
        for group in state.policies.groups() {
            for (source, rules) in group.policy.sources() {
                let most = zones.entry(&source.zone).or_insert(rules);
                *most = rules.max(*most);
            }
        }
        for (zone, rules) in zones {
            gauge!("namegate_policy_rules", "zone" => zone.clone()).set(rules as f64);
        }
        counter!("namegate_policy_reloads_total", "result" => "success")
            .absolute(self.reloads.success.load(Ordering::Relaxed));
        counter!("namegate_policy_reloads_total", "result" => "failure")
            .absolute(self.reloads.failure.load(Ordering::Relaxed));
        let (last, succeeded) = self.last_reload();
        gauge!("namegate_policy_last_reload_success").set(if succeeded { 1 } else { 0 });
        gauge!("namegate_policy_last_reload_timestamp_seconds").set(last as f64);
    }

    fn publish_totals(&self, totals: &Totals) {
        for (transport, row) in Transport::VARIANTS.iter().zip(&totals.queries) {
            for (place, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
                let qtype = TYPES.get(place).and_then(|qtype| qtype.mnemonic()).unwrap_or(OTHER);
                counter!("namegate_queries_total", "proto" => transport.label(), "type" => qtype)
                    .absolute(*count);
            }
        }
        for (decision, row) in Decision::VARIANTS.iter().copied().zip(&totals.responses) {
            for (place, count) in row.iter().enumerate() {
                let rcode = RCODES.get(place).copied();
                // Prometheus sees no increase in a series that begins with its first SERVFAIL.
                if *count == 0 && !rcode.is_some_and(|rcode| FROM_THE_START.contains(&rcode)) {
                    continue;
                }
                let rcode = rcode.map_or(OTHER, Rcode::label);
                counter!("namegate_responses_total", "decision" => decision.label(), "rcode" => rcode)
                    .absolute(*count);
            }
        }
        for (reason, count) in Dropped::VARIANTS.iter().copied().zip(totals.dropped) {
            counter!("namegate_dropped_total", "reason" => reason.label()).absolute(count);
        }
        for (reason, count) in BlockReason::VARIANTS.iter().copied().zip(totals.blocked) {
            counter!("namegate_blocked_total", "reason" => reason.label()).absolute(count);
        }
        let zones = lock(&self.zones);
        for (place, count) in totals.allowed.iter().enumerate() {
            match zones.get(place) {
                Some(zone) => counter!("namegate_allowed_total", "zone" => zone.clone()).absolute(*count),
                None if *count > 0 => counter!("namegate_allowed_total", "zone" => OTHER).absolute(*count),
                None => {}
            }
        }
        for expect in [Expect::Private, Expect::Public] {
            let count = totals.unexpected[expect as usize];
            counter!("namegate_unexpected_answers_total", "expect" => expect.label()).absolute(count);
        }
        for (limited, count) in Limited::VARIANTS.iter().copied().zip(totals.rate_limited) {
            counter!("namegate_rate_limited_total", "action" => limited.label()).absolute(count);
        }
        gauge!("namegate_queries_in_flight").set(totals.in_flight as f64);
    }
}

fn render_durations(out: &mut String, totals: &Totals, state: &State) {
    let name = "namegate_request_duration_seconds";
    render_head(out, name, metric::help(name));
    for (decision, row) in Decision::VARIANTS.iter().copied().zip(&totals.durations) {
        let is_shown = |(source, durations): &(AnswerSource, &HistogramSnapshot)| {
            durations.count() > 0 || USUAL.contains(&(decision, *source))
        };
        for (source, durations) in AnswerSource::VARIANTS.iter().copied().zip(row).filter(is_shown) {
            let labels = format!("decision=\"{}\",source=\"{}\"", decision.label(), source.label());
            durations.render(out, name, &labels);
        }
    }
    let name = "namegate_upstream_duration_seconds";
    render_head(out, name, metric::help(name));
    for server in state.upstreams.servers() {
        let mut labels = String::new();
        // An upstream's name is an address and needs no escaping.
        let _ = write!(labels, "upstream=\"{}\"", server.name());
        server.stats.durations.snapshot().render(out, name, &labels);
    }
}

/// The first error of a report on one line: its message and its place.
fn brief(report: &str) -> String {
    let mut lines = report.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_default();
    let place = lines.find_map(|line| line.strip_prefix("--> "));
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    on_one_line(&format!("{}{place}", message.strip_prefix("error: ").unwrap_or(message)))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Updates the queries-per-second history of `live` once a second.
pub async fn keep_rates(metrics: Arc<MetricsRegistry>, live: Arc<LiveStats>, losses: Losses) {
    let second = Duration::from_secs(1);
    let mut seconds = tokio::time::interval_at(tokio::time::Instant::now() + second, second);
    loop {
        seconds.tick().await;
        let dnstap_lost = losses.dnstap.as_ref().map_or(0, |dnstap| dnstap.lost.load(Ordering::Relaxed));
        let results = metrics.totals().results();
        live.tick(RecentActivity { results, log_lost: losses.log(), dnstap_lost });
    }
}
