//! [`METRICS`]: every metric namegate has; the registry's help texts and the list in the documentation come from here.

use std::fmt::Write;

use metrics::{Unit, describe_counter, describe_gauge};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name as scraped.
    pub name: &'static str,
    /// What its values are.
    pub kind: MetricKind,
    /// Labels, each with the values it can have.
    pub labels: &'static [(&'static str, &'static str)],
    /// What it tells.
    pub help: &'static str,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A count since the start.
    Counter,
    /// A value now.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl MetricKind {
    /// The word for it in the text format.
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(name: &'static str, labels: &'static [(&str, &str)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [(&str, &str)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [(&str, &str)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

const DECISION: (&str, &str) = ("decision", "allowed, blocked, observed, local, refused, error");
const UPSTREAM: (&str, &str) = ("upstream", "as written in the settings");

/// Every metric but those of the process, which Prometheus' client libraries define.
pub const METRICS: &[Metric] = &[
    gauge("namegate_build_info", &[("version", "of the program")], "The running version; always 1."),
    gauge(
        "namegate_policy_info",
        &[("hash", "first digits of the policy's hash"), ("mode", "enforce, observe")],
        "Hash and mode of the policy in force; always 1.",
    ),
    gauge(
        "namegate_client_group_info",
        &[
            ("group", "default, and the groups of the settings"),
            ("hash", "first digits of the hash of the group's rules"),
            ("mode", "enforce, observe"),
        ],
        "Hash and mode of the rules of each client group; always 1.",
    ),
    gauge(
        "namegate_policy_rules",
        &[("zone", "the zone files in force, and settings")],
        "Rules in force, by the zone they come from.",
    ),
    counter(
        "namegate_policy_reloads_total",
        &[("result", "success, failure")],
        "Reloads since the start, by result.",
    ),
    gauge("namegate_policy_last_reload_success", &[], "1 where the last reload succeeded or there was none."),
    gauge(
        "namegate_policy_last_reload_timestamp_seconds",
        &[],
        "Unix time when the policy in force was loaded.",
    ),
    counter(
        "namegate_queries_total",
        &[("proto", "udp, tcp"), ("type", "A, AAAA, HTTPS and other common types; other")],
        "Messages received, by transport and type.",
    ),
    counter(
        "namegate_responses_total",
        &[DECISION, ("rcode", "noerror, nxdomain, servfail and other common codes; other")],
        "Replies made, by decision and response code.",
    ),
    counter(
        "namegate_dropped_total",
        &[("reason", "short, long, response, overload, client_overload, rate_limit, not_allowed")],
        "Messages left without a reply, by reason.",
    ),
    counter(
        "namegate_udp_receive_drops_total",
        &[],
        "Datagrams that the kernel dropped because they came faster than they were read.",
    ),
    counter(
        "namegate_udp_send_drops_total",
        &[("reason", "buffer_full, refused")],
        "Replies over UDP that were not sent, by reason; they count as responses.",
    ),
    counter(
        "namegate_rate_limited_total",
        &[("action", "dropped, truncated, badcookie")],
        "Datagrams of clients beyond [rate_limit], by what became of them.",
    ),
    gauge("namegate_tcp_connections", &[], "TCP connections of clients open."),
    counter(
        "namegate_tcp_connections_refused_total",
        &[("reason", "total, client, not_allowed")],
        "TCP connections closed at once: all places, all of the client's or all for clients outside allow_clients are taken.",
    ),
    counter(
        "namegate_tcp_connections_evicted_total",
        &[],
        "TCP connections closed because all places were taken and a client with fewer connections needed one.",
    ),
    gauge("namegate_queries_in_flight", &[], "Queries waiting for an upstream or a local zone."),
    counter(
        "namegate_blocked_total",
        &[("reason", "not_listed, denied, noise, bypass, alias, tunnel, unexpected, ancestor")],
        "Names found not to be allowed, by reason.",
    ),
    counter(
        "namegate_allowed_total",
        &[("zone", "the first 63 zones this process had; other")],
        "Names allowed, by the zone of the rule, `temporary`, `followed`, or `ancestors`.",
    ),
    gauge("namegate_temporary_allowances", &[], "Temporary allowances in force."),
    gauge("namegate_followed_names", &[], "Names allowed because an answer led to them."),
    counter(
        "namegate_followed_refused_total",
        &[],
        "Names that an answer led to and that were not allowed because the rule or client has its share.",
    ),
    counter(
        "namegate_unexpected_answers_total",
        &[("expect", "private, public")],
        "Answers with an address of another kind than their rule expects, by what it expects.",
    ),
    counter(
        "namegate_shadow_differences_total",
        &[("change", "would_block, would_allow")],
        "Lookups that the policy to come would decide otherwise.",
    ),
    counter(
        "namegate_tunnel_guard_exceeded_total",
        &[],
        "New names beyond a client's budget below one rule.",
    ),
    gauge(
        "namegate_tunnel_guard_suspects",
        &[],
        "Clients and rules beyond their budget of new names in the present window.",
    ),
    gauge(
        "namegate_top_blocked_queries",
        &[("name", "the most blocked names: `admin.top` at once, twice as many in an hour")],
        "Blocked lookups of a name within the last hour; only names that stand out, without noise.",
    ),
    gauge(
        "namegate_top_blocked_clients",
        &[("client", "the clients with most blocked lookups: `admin.top` at once, twice as many in an hour")],
        "Blocked lookups of a client within the last hour; only clients that stand out, without noise.",
    ),
    histogram(
        "namegate_request_duration_seconds",
        &[DECISION, ("source", "cache, upstream, local, policy")],
        "Time from a query's arrival to its reply.",
    ),
    counter(
        "namegate_upstream_queries_total",
        &[UPSTREAM, ("result", "answered, failed, timeout, network_error, unusable, overtaken")],
        "Exchanges with upstreams, by how they ended.",
    ),
    histogram(
        "namegate_upstream_duration_seconds",
        &[UPSTREAM],
        "Time from asking an upstream to its reply.",
    ),
    gauge(
        "namegate_upstream_up",
        &[UPSTREAM],
        "0 after too many failures in a row, until the next reply, and while it forwards queries back here.",
    ),
    gauge("namegate_upstream_in_flight", &[UPSTREAM], "Exchanges with an upstream that have not ended."),
    gauge("namegate_upstream_max_in_flight", &[UPSTREAM], "Exchanges with an upstream allowed at once."),
    gauge(
        "namegate_upstream_max_qps",
        &[UPSTREAM],
        "Exchanges with an upstream allowed per second; 0 is no limit.",
    ),
    counter(
        "namegate_upstream_shed_total",
        &[UPSTREAM, ("reason", "in_flight, rate, queue")],
        "Queries an upstream was not asked for want of budget.",
    ),
    counter(
        "namegate_upstream_replies_rejected_total",
        &[("reason", "what gave them away")],
        "Messages from upstreams' addresses that were not the answer, by what gave them away.",
    ),
    counter("namegate_cache_hits_total", &[], "Answers found in the cache."),
    counter("namegate_cache_misses_total", &[], "Answers not found in the cache."),
    gauge("namegate_cache_entries", &[], "Answers kept."),
    gauge("namegate_cache_bytes", &[], "Bytes of answers kept."),
    gauge("namegate_cache_max_bytes", &[], "Bytes of answers allowed."),
    counter("namegate_cache_evictions_total", &[], "Answers dropped for want of room."),
    counter(
        "namegate_query_log_lost_total",
        &[],
        "Lookups missing in the query log, dnstap and the most blocked because a queue was full.",
    ),
    counter("namegate_query_log_errors_total", &[], "Lines of the query log that could not be written."),
    counter("namegate_dnstap_frames_total", &[], "Frames handed to the dnstap reader."),
    counter(
        "namegate_dnstap_lost_total",
        &[],
        "Frames the dnstap reader was not there for, or did not take.",
    ),
    gauge(
        "namegate_canary_ok",
        &[("name", "of [prove] in the settings"), ("expect", "resolve, not_resolve")],
        "1 where the gate, asked by itself, does with a name what it must.",
    ),
    gauge(
        "namegate_canary_last_run_timestamp_seconds",
        &[],
        "Unix time when the gate last had asked itself for all names of [prove].",
    ),
    counter(
        "namegate_admin_tokens_refused_total",
        &[],
        "Admin requests that would change something, without the token or with a wrong one.",
    ),
    gauge("namegate_dnstap_connected", &[], "1 where a dnstap reader has accepted the stream."),
];

/// Tells the registry the help texts. Histograms are written by themselves.
pub(super) fn describe() {
    for metric in METRICS {
        let unit = match metric.name.trim_end_matches("_total") {
            name if name.ends_with("_seconds") => Unit::Seconds,
            name if name.ends_with("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, unit, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            MetricKind::Histogram => {}
        }
    }
}

/// The help text of a metric.
pub(super) fn help(name: &str) -> &'static str {
    METRICS.iter().find(|metric| metric.name == name).map_or("", |metric| metric.help)
}

/// The list of metrics as a Markdown table.
pub fn markdown() -> String {
    let mut text = String::from("| metric | kind | labels | tells |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in METRICS.iter().copied() {
        let labels: Vec<String> =
            labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
        let _ = writeln!(text, "| `{name}` | {} | {} | {help} |", kind.label(), labels.join("<br>"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::events::counters::{Dropped, Limited};
    use crate::events::outcome::{AnswerSource, Decision};
    use crate::listen::connections::Crowded;
    use crate::net::reply_socket::SendDrop;
    use crate::policy::shadow::ShadowChange;
    use crate::policy::verdict::BlockReason;
    use crate::upstream::budget::Shed;
    use crate::upstream::server_stats::ExchangeResult;

    fn labels<T: Copy>(all: &[T], label: impl Fn(T) -> &'static str) -> String {
        all.iter().map(|one| label(*one)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn documented_values_of_labels_are_the_ones_in_use() {
        for (name, label, values) in [
            ("namegate_responses_total", "decision", labels(&Decision::ALL, Decision::label)),
            ("namegate_dropped_total", "reason", labels(&Dropped::ALL, Dropped::label)),
            ("namegate_udp_send_drops_total", "reason", labels(&SendDrop::ALL, SendDrop::label)),
            ("namegate_rate_limited_total", "action", labels(&Limited::ALL, Limited::label)),
            ("namegate_tcp_connections_refused_total", "reason", labels(&Crowded::ALL, Crowded::label)),
            ("namegate_blocked_total", "reason", labels(&BlockReason::ALL, BlockReason::label)),
            ("namegate_shadow_differences_total", "change", labels(&ShadowChange::ALL, ShadowChange::label)),
            ("namegate_request_duration_seconds", "source", labels(&AnswerSource::ALL, AnswerSource::label)),
            (
                "namegate_upstream_queries_total",
                "result",
                labels(&ExchangeResult::ALL, ExchangeResult::label),
            ),
            ("namegate_upstream_shed_total", "reason", labels(&Shed::ALL, Shed::label)),
        ] {
            let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
            let documented = metric.labels.iter().find(|(key, _)| *key == label).unwrap().1;
            assert_eq!(documented, values, "{name}");
        }
    }
}
