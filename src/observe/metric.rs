//! [`METRICS`]: every metric namegate has; the registry's help texts and the list in the documentation come from here.

use std::fmt::{self, Write};

use metrics::{Unit, describe_counter, describe_gauge};
use strum::VariantNames;

use self::LabelValues::{Of, Words};
use crate::events::counters::{Dropped, Limited};
use crate::events::outcome::{AnswerSource, Decision};
use crate::listen::connections::Crowded;
use crate::net::reply_socket::SendDrop;
use crate::observe::canary::CanaryExpect;
use crate::policy::Mode;
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
    /// What its values are.
    pub kind: MetricKind,
    /// Labels, each with the values it can have.
    pub labels: &'static [(&'static str, LabelValues)],
    /// What it tells.
    pub help: &'static str,
}

/// The values that a label can have.
#[derive(Clone, Copy, Debug)]
pub enum LabelValues {
    /// These.
    Of(&'static [&'static str]),
    /// In words.
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

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum MetricKind {
    /// A count since the start.
    Counter,
    /// A value now.
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
const UPSTREAM: (&str, LabelValues) = ("upstream", Words("as written in the settings"));

/// Every metric but those of the process, which Prometheus' client libraries define.
pub const METRICS: &[Metric] = &[
    gauge("namegate_build_info", &[("version", Words("of the program"))], "The running version; always 1."),
    gauge(
        "namegate_policy_info",
        &[("hash", Words("first digits of the policy's hash")), ("mode", Of(Mode::VARIANTS))],
        "Hash and mode of the policy in force; always 1.",
    ),
    gauge(
        "namegate_client_group_info",
        &[
            ("group", Words("default, and the groups of the settings")),
            ("hash", Words("first digits of the hash of the group's rules")),
            ("mode", Of(Mode::VARIANTS)),
        ],
        "Hash and mode of the rules of each client group; always 1.",
    ),
    gauge(
        "namegate_policy_rules",
        &[("zone", Words("the zone files in force, and settings"))],
        "Rules in force, by the zone they come from.",
    ),
    counter(
        "namegate_policy_reloads_total",
        &[("result", Words("success, failure"))],
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
        &[
            ("proto", Of(Transport::VARIANTS)),
            ("type", Words("A, AAAA, HTTPS and other common types; other")),
        ],
        "Messages received, by transport and type.",
    ),
    counter(
        "namegate_responses_total",
        &[DECISION, ("rcode", Words("noerror, nxdomain, servfail and other common codes; other"))],
        "Replies made, by decision and response code.",
    ),
    counter(
        "namegate_dropped_total",
        &[("reason", Of(Dropped::VARIANTS))],
        "Messages left without a reply, by reason.",
    ),
    counter(
        "namegate_udp_receive_drops_total",
        &[],
        "Datagrams that the kernel dropped because they came faster than they were read.",
    ),
    counter(
        "namegate_udp_send_drops_total",
        &[("reason", Of(SendDrop::VARIANTS))],
        "Replies over UDP that were not sent, by reason; they count as responses.",
    ),
    counter(
        "namegate_rate_limited_total",
        &[("action", Of(Limited::VARIANTS))],
        "Datagrams of clients beyond [rate_limit], by what became of them.",
    ),
    gauge("namegate_tcp_connections", &[], "TCP connections of clients open."),
    counter(
        "namegate_tcp_connections_refused_total",
        &[("reason", Of(Crowded::VARIANTS))],
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
        &[("reason", Of(BlockReason::VARIANTS))],
        "Names found not to be allowed, by reason.",
    ),
    counter(
        "namegate_allowed_total",
        &[("zone", Words("the first 63 zones this process had; other"))],
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
        &[("expect", Words("private, public"))],
        "Answers with an address of another kind than their rule expects, by what it expects.",
    ),
    counter(
        "namegate_shadow_differences_total",
        &[("change", Of(ShadowChange::VARIANTS))],
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
        &[("name", Words("the most blocked names: `admin.top` at once, twice as many in an hour"))],
        "Blocked lookups of a name within the last hour; only names that stand out, without noise.",
    ),
    gauge(
        "namegate_top_blocked_clients",
        &[(
            "client",
            Words("the clients with most blocked lookups: `admin.top` at once, twice as many in an hour"),
        )],
        "Blocked lookups of a client within the last hour; only clients that stand out, without noise.",
    ),
    histogram(
        "namegate_request_duration_seconds",
        &[DECISION, ("source", Of(AnswerSource::VARIANTS))],
        "Time from a query's arrival to its reply.",
    ),
    counter(
        "namegate_upstream_queries_total",
        &[UPSTREAM, ("result", Of(ExchangeResult::VARIANTS))],
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
        &[UPSTREAM, ("reason", Of(Shed::VARIANTS))],
        "Queries an upstream was not asked for want of budget.",
    ),
    counter(
        "namegate_upstream_replies_rejected_total",
        &[("reason", Of(Rejection::VARIANTS))],
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
        &[("name", Words("of [prove] in the settings")), ("expect", Of(CanaryExpect::VARIANTS))],
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
