//! Updates gauges and counters from their sources just before `/metrics` is rendered.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use strum::VariantArray;

use crate::control::requests::{RequestState, SharedRequests};
use crate::engine::State;
use crate::events::counters::Totals;
use crate::listen::connections::Connections;
use crate::observe::event_log::Losses;
use crate::observe::history::HistoryStatus;
use crate::observe::live_stats::LiveStats;
use crate::policy::shadow::ShadowChange;
use crate::upstream::UpstreamConfig;
use crate::util::label::Label;
use crate::util::sync::lock;

/// Grants, followed names, the candidate policy and the tunnel guard.
pub(super) fn publish_exceptions(state: &State, totals: &Totals) {
    let now = Instant::now();
    gauge!("namegate_temporary_allowances").set(state.policies.temporary().in_force(now) as f64);
    gauge!("namegate_followed_names").set(state.policies.followed().len() as f64);
    counter!("namegate_followed_refused_total").absolute(state.policies.followed().refused());
    for (change, count) in ShadowChange::VARIANTS.iter().copied().zip(totals.shadow_differences) {
        counter!("namegate_shadow_differences_total", "change" => change.label()).absolute(count);
    }
    counter!("namegate_tunnel_guard_exceeded_total").absolute(totals.tunnel_exceeded);
    if let Some(guard) = &state.tunnel_guard {
        gauge!("namegate_tunnel_guard_suspects").set(guard.suspects(now).len() as f64);
    }
}

pub(super) fn publish_requests(requests: &SharedRequests) {
    let (requests, now) = (lock(requests), SystemTime::now());
    for state in RequestState::VARIANTS.iter().copied() {
        gauge!("namegate_requests", "state" => state.label()).set(requests.count(state, now) as f64);
    }
}

pub(super) fn publish_cache(state: &State, totals: &Totals) {
    counter!("namegate_cache_hits_total").absolute(totals.cache_hits);
    counter!("namegate_cache_misses_total").absolute(totals.cache_misses);
    gauge!("namegate_cache_entries").set(state.cache.len() as f64);
    gauge!("namegate_cache_bytes").set(state.cache.bytes() as f64);
    gauge!("namegate_cache_max_bytes").set(state.cache.max_bytes() as f64);
    counter!("namegate_cache_evictions_total").absolute(state.cache.evictions());
}

pub(super) fn publish_connections(connections: &Connections) {
    gauge!("namegate_tcp_connections").set(connections.len() as f64);
    for (reason, count) in connections.refused() {
        counter!("namegate_tcp_connections_refused_total", "reason" => reason.label()).absolute(count);
    }
    counter!("namegate_tcp_connections_evicted_total").absolute(connections.evicted());
}

pub(super) fn publish_top(live: &LiveStats) {
    let now = Instant::now();
    for (name, count) in live.name_series(now) {
        gauge!("namegate_top_blocked_queries", "name" => name).set(count as f64);
    }
    for (client, count) in live.client_series(now) {
        gauge!("namegate_top_blocked_clients", "client" => client).set(count as f64);
    }
}

pub(super) fn publish_losses(losses: &Losses) {
    counter!("namegate_query_log_lost_total").absolute(losses.queue.load(Ordering::Relaxed));
    counter!("namegate_query_log_errors_total").absolute(losses.log.load(Ordering::Relaxed));
    if let Some(dnstap) = &losses.dnstap {
        counter!("namegate_dnstap_frames_total").absolute(dnstap.frames.load(Ordering::Relaxed));
        counter!("namegate_dnstap_lost_total").absolute(dnstap.lost.load(Ordering::Relaxed));
        let connected = dnstap.connected.load(Ordering::Relaxed);
        gauge!("namegate_dnstap_connected").set(if connected { 1 } else { 0 });
    }
}

pub(super) fn publish_history(history: &HistoryStatus) {
    gauge!("namegate_history_rows").set(history.rows as f64);
    gauge!("namegate_history_bytes").set(history.bytes as f64);
    if let Some(oldest) = history.oldest.and_then(|oldest| oldest.duration_since(UNIX_EPOCH).ok()) {
        gauge!("namegate_history_oldest_timestamp_seconds").set(oldest.as_secs_f64());
    }
    gauge!("namegate_history_ok").set(if history.problem.is_none() { 1 } else { 0 });
    counter!("namegate_history_lost_total").absolute(history.lost);
}

pub(super) fn publish_upstream(state: &State) {
    let mut rejections = std::collections::BTreeMap::<&'static str, u64>::new();
    for (name, stats) in state.upstreams.known() {
        for (result, count) in stats.results() {
            counter!("namegate_upstream_queries_total", "upstream" => name.to_owned(), "result" => result.label())
                .absolute(count);
        }
        for (reason, count) in stats.sheds() {
            counter!("namegate_upstream_shed_total", "upstream" => name.to_owned(), "reason" => reason.label())
                .absolute(count);
        }
        for (reason, count) in stats.rejections() {
            *rejections.entry(reason.label()).or_default() += count;
        }
    }
    for (reason, count) in rejections {
        counter!("namegate_upstream_replies_rejected_total", "reason" => reason).absolute(count);
    }
    for server in state.upstreams.servers() {
        let name = || server.name().to_string();
        let UpstreamConfig { max_in_flight, max_qps, .. } = state.upstreams.config();
        gauge!("namegate_upstream_max_in_flight", "upstream" => name()).set(*max_in_flight as f64);
        gauge!("namegate_upstream_max_qps", "upstream" => name()).set(f64::from(*max_qps));
        gauge!("namegate_upstream_up", "upstream" => name()).set(if server.is_up() { 1 } else { 0 });
        gauge!("namegate_upstream_in_flight", "upstream" => name()).set(server.budget.in_flight() as f64);
    }
}
