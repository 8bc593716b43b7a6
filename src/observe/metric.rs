//! [`METRICS`]: every metric of namegate; source of the registry's help texts and of the table in docs/metrics.md.

use std::fmt::{self, Write};

use metrics::{Unit, describe_counter, describe_gauge};
use strum::VariantNames;

use self::LabelValues::{Of, Words};
use crate::control::requests::RequestState;
use crate::events::counters::{Dropped, Limited};
use crate::events::outcome::{AnswerSource, Decision};
use crate::listen::connections::RefusedConnection;
use crate::net::reply_socket::SendDrop;
use crate::observe::canary::CanaryExpect;
use crate::observe::webhook_results::WebhookResult;
use crate::policy::Mode;
use crate::policy::rule::Action;
use crate::policy::shadow::ShadowChange;
use crate::policy::verdict::BlockReason;
use crate::upstream::budget::Shed;
use crate::upstream::server_stats::{ExchangeResult, Rejection};
use crate::util::label::Label;
use crate::wire::reply::Transport;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name as scraped.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Labels, each with its possible values.
    pub labels: &'static [(&'static str, LabelValues)],
    /// Help text.
    pub help: &'static str,
}

/// Possible values of a label.
#[derive(Clone, Copy, Debug)]
pub enum LabelValues {
    /// A fixed list.
    Of(&'static [&'static str]),
    /// A description, for values that depend on settings or traffic.
    Words(&'static str),
}

impl fmt::Display for LabelValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(values) => f.write_str(&values.join(", ")),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Prometheus' type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MetricKind {
    /// A count since the start.
    Counter,
    /// A current value.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

const fn counter(name: &'static str, labels: &'static [(&str, LabelValues)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [(&str, LabelValues)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [(&str, LabelValues)], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

const DECISION: (&str, LabelValues) = ("decision", Of(Decision::VARIANTS));
const ZONE: (&str, LabelValues) = ("zone", Words("allowlists in force; settings"));
const RULE: (&str, LabelValues) = ("rule", Words("patterns of rules in force"));
const UPSTREAM: (&str, LabelValues) = ("upstream", Words("as written in the settings"));

/// Every metric except the `process_*` ones, which Prometheus defines for all client libraries.
pub const METRICS: &[Metric] = &[
    gauge("namegate_build_info", &[("version", Words("running version"))], "Running version; always 1."),
    gauge(
        "namegate_policy_info",
        &[("hash", Words("first digits of the policy's hash")), ("mode", Of(Mode::VARIANTS))],
        "Hash and mode of the policy in force; always 1.",
    ),
    gauge(
        "namegate_client_group_info",
        &[
            ("group", Words("default; names of the client groups")),
            ("hash", Words("first digits of the hash of the group's rules")),
            ("mode", Of(Mode::VARIANTS)),
        ],
        "Hash and mode of the rules of each client group; always 1.",
    ),
    gauge("namegate_policy_rules", &[ZONE], "Rules in force, by the allowlist they come from."),
    counter(
        "namegate_policy_reloads_total",
        &[("result", Words("success, failure"))],
        "Reloads since the start, by result.",
    ),
    gauge(
        "namegate_policy_last_reload_success",
        &[],
        "1 if the last reload succeeded or none was attempted.",
    ),
    gauge(
        "namegate_policy_last_reload_timestamp_seconds",
        &[],
        "Unix time when the policy in force was loaded.",
    ),
    counter(
        "namegate_queries_total",
        &[
            ("proto", Of(Transport::VARIANTS)),
            ("type", Words("A, AAAA, HTTPS and other common types; other")),
        ],
        "Messages received, by transport and type.",
    ),
    counter(
        "namegate_responses_total",
        &[DECISION, ("rcode", Words("noerror, nxdomain, servfail and other common codes; other"))],
        "Replies, by decision and response code.",
    ),
    counter(
        "namegate_dropped_total",
        &[("reason", Of(Dropped::VARIANTS))],
        "Messages dropped without a reply, by reason.",
    ),
    counter(
        "namegate_own_queries_total",
        &[],
        "Queries of canaries and registered runs of `namegate prove`; other metrics of queries leave them out.",
    ),
    counter(
        "namegate_udp_receive_drops_total",
        &[],
        "Datagrams dropped by the kernel (receive buffer full); not part of namegate_queries_total.",
    ),
    counter(
        "namegate_udp_send_drops_total",
        &[("reason", Of(SendDrop::VARIANTS))],
        "UDP replies that could not be sent, by reason; namegate_responses_total includes them.",
    ),
    counter(
        "namegate_rate_limited_total",
        &[("action", Of(Limited::VARIANTS))],
        "UDP queries from clients over their rate limit: dropped, or answered truncated or with BADCOOKIE.",
    ),
    gauge("namegate_tcp_connections", &[], "Open TCP connections from clients."),
    counter(
        "namegate_tcp_connections_refused_total",
        &[("reason", Of(RefusedConnection::VARIANTS))],
        "TCP connections refused, by limit: total, per client, or for clients outside allow_clients.",
    ),
    counter(
        "namegate_tcp_connections_evicted_total",
        &[],
        "TCP connections closed at the total limit to admit a client with fewer connections.",
    ),
    gauge("namegate_queries_in_flight", &[], "Queries waiting for an upstream or a local zone."),
    counter(
        "namegate_blocked_total",
        &[("reason", Of(BlockReason::VARIANTS))],
        "Lookups of names that are not allowed, by reason.",
    ),
    counter(
        "namegate_allowed_total",
        &[("zone", Words("the first 63 of: allowlists, settings, temporary, followed, ancestors; other"))],
        "Allowed lookups, by the allowlist of the rule, or `temporary` (grants), `followed` or `ancestors`.",
    ),
    gauge("namegate_temporary_allowances", &[], "Grants (temporary allows) in force."),
    gauge(
        "namegate_requests",
        &[("state", Of(RequestState::VARIANTS))],
        "Requests for grants held, by state.",
    ),
    gauge("namegate_followed_names", &[], "CNAME targets allowed at the moment (followed names)."),
    counter(
        "namegate_followed_refused_total",
        &[],
        "CNAME targets that stayed blocked because a rule or client had used up its share of followed names.",
    ),
    counter(
        "namegate_unexpected_answers_total",
        &[("expect", Words("private, public"))],
        "Answers with an address that the rule does not expect, by the expected kind.",
    ),
    counter(
        "namegate_shadow_differences_total",
        &[("change", Of(ShadowChange::VARIANTS))],
        "Lookups that the candidate policy would decide differently.",
    ),
    counter(
        "namegate_tunnel_guard_exceeded_total",
        &[],
        "New names above the limits of `tunnel_guard`, for all clients and rules.",
    ),
    gauge(
        "namegate_tunnel_guard_suspects",
        &[],
        "Pairs of client and rule that are above the limits of `tunnel_guard` in the current window.",
    ),
    counter(
        "namegate_rule_hits_total",
        &[ZONE, ("action", Of(Action::VARIANTS)), RULE],
        "Queries that a rule decided, across reloads and restarts; only rules with hits, of allowlists with at most 500 rules.",
    ),
    gauge(
        "namegate_rule_last_used_timestamp_seconds",
        &[ZONE, ("action", Of(Action::VARIANTS)), RULE],
        "Unix time of the last query that a rule decided, to ten seconds; for the same rules.",
    ),
    gauge(
        "namegate_top_blocked_queries",
        &[(
            "name",
            Words("the most blocked names: at most `admin.top` at once and twice as many in an hour"),
        )],
        "Blocked lookups of a name in the last hour; only names that stand out, noise excluded.",
    ),
    gauge(
        "namegate_top_blocked_clients",
        &[(
            "client",
            Words("the most blocked clients: at most `admin.top` at once and twice as many in an hour"),
        )],
        "Blocked lookups by a client in the last hour; only clients that stand out, noise excluded.",
    ),
    histogram(
        "namegate_request_duration_seconds",
        &[DECISION, ("source", Of(AnswerSource::VARIANTS))],
        "Time from receiving a query to replying.",
    ),
    counter(
        "namegate_upstream_queries_total",
        &[UPSTREAM, ("result", Of(ExchangeResult::VARIANTS))],
        "Upstream queries, by result; `overtaken`: another attempt for the same query was answered first.",
    ),
    histogram(
        "namegate_upstream_duration_seconds",
        &[UPSTREAM],
        "Time from querying an upstream to its reply.",
    ),
    gauge(
        "namegate_upstream_up",
        &[UPSTREAM],
        "1 if the upstream is up; 0 after three failures in a row, or during a forwarding loop.",
    ),
    gauge("namegate_upstream_in_flight", &[UPSTREAM], "Queries sent to an upstream and not answered yet."),
    gauge(
        "namegate_upstream_max_in_flight",
        &[UPSTREAM],
        "Most queries in flight to an upstream at once (`upstream.max_in_flight`).",
    ),
    gauge(
        "namegate_upstream_max_qps",
        &[UPSTREAM],
        "Most queries per second to an upstream (`upstream.max_qps`); 0: no limit.",
    ),
    counter(
        "namegate_upstream_shed_total",
        &[UPSTREAM, ("reason", Of(Shed::VARIANTS))],
        "Queries not sent: `max_in_flight` or `max_qps` was reached, or the wait queue was full.",
    ),
    counter(
        "namegate_upstream_replies_rejected_total",
        &[("reason", Of(Rejection::VARIANTS))],
        "Upstream replies rejected, by reason.",
    ),
    counter("namegate_cache_hits_total", &[], "Cache hits."),
    counter("namegate_cache_misses_total", &[], "Cache misses."),
    gauge("namegate_cache_entries", &[], "Cache entries."),
    gauge("namegate_cache_bytes", &[], "Bytes used by cache entries."),
    gauge("namegate_cache_max_bytes", &[], "Most bytes that cache entries may use (`cache.max_bytes`)."),
    counter("namegate_cache_evictions_total", &[], "Cache entries evicted to make room."),
    counter(
        "namegate_query_log_lost_total",
        &[],
        "Lookups not written to the query log, dnstap and the most blocked names because a queue was full.",
    ),
    counter("namegate_query_log_errors_total", &[], "Query log lines that could not be written."),
    counter("namegate_dnstap_frames_total", &[], "Frames sent to the dnstap reader."),
    counter(
        "namegate_dnstap_lost_total",
        &[],
        "Frames lost because no dnstap reader was connected or it was too slow.",
    ),
    gauge(
        "namegate_history_rows",
        &[],
        "Rows in the history of lookups; a row stands for one lookup or equal ones.",
    ),
    gauge("namegate_history_bytes", &[], "Size of the database with the history of lookups."),
    gauge(
        "namegate_history_oldest_timestamp_seconds",
        &[],
        "Unix time of the oldest lookup in the history; only if there is one.",
    ),
    gauge("namegate_history_ok", &[], "1 if the history of lookups could be written at the last attempt."),
    counter(
        "namegate_history_lost_total",
        &[],
        "Lookups missing from the history because its queue was full or nothing could be written.",
    ),
    gauge(
        "namegate_canary_ok",
        &[("name", Words("names in [prove]")), ("expect", Of(CanaryExpect::VARIANTS))],
        "1 if the canary got the expected result in the last round; absent if observe mode forwards a name that must not resolve.",
    ),
    gauge(
        "namegate_canary_last_run_timestamp_seconds",
        &[],
        "Unix time when the last round of canary queries ended.",
    ),
    counter(
        "namegate_admin_tokens_refused_total",
        &[],
        "Refused admin requests: a wrong token, or a change without one.",
    ),
    counter(
        "namegate_webhook_messages_total",
        &[("result", Of(WebhookResult::VARIANTS))],
        "Webhook messages: delivered, failed (refused, or all attempts failed) or lost (queue full).",
    ),
    gauge("namegate_dnstap_connected", &[], "1 if a dnstap reader is connected and has accepted the stream."),
];

/// Registers the help texts of counters and gauges. Histograms are rendered separately.
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

/// The table of metrics in docs/metrics.md.
pub fn markdown() -> String {
    let mut text = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help } in METRICS.iter().copied() {
        let labels: Vec<String> =
            labels.iter().map(|(label, values)| format!("`{label}`: {values}")).collect();
        let _ = writeln!(text, "| `{name}` | {} | {} | {help} |", kind.label(), labels.join("<br>"));
    }
    text
}
