//! [`problems`]: what is wrong at the moment, for the status page and `namegate top`.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strum::VariantArray;

use super::canary::CanaryExpect;
use super::canary_results::{CanaryOutcome, CanaryResult};
use super::live_stats::RecentActivity;
use super::metrics_registry::MetricsRegistry;
use super::readiness::silent_upstreams;
use crate::engine::State;
use crate::policy::Mode;
use crate::util::label::Label;

/// SERVFAIL replies in a minute below which they say nothing, as in the alert `NamegateServfail`.
const MIN_SERVFAIL: u64 = 3;

/// Their share of the lookups of allowed names, in percent, that is reported.
const SERVFAIL_PERCENT: u64 = 5;

/// Names listed in one message.
const MAX_LISTED: usize = 4;

/// A kind of problem, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProblemKind {
    /// `/livez` fails.
    NotLive,
    /// Clients get SERVFAIL.
    Servfail,
    /// No upstream of a route is up.
    UpstreamsDown,
    /// `/readyz` fails because of the upstreams.
    NotReady,
    /// A canary that must not resolve was not blocked.
    CanaryNotBlocked,
    /// The last reload failed.
    ReloadFailed,
    /// A canary that must resolve has no address.
    CanaryNotResolved,
    /// Some upstreams are down.
    UpstreamDown,
    /// Lookups are missing from the query log.
    LogLost,
    /// dnstap frames are lost.
    DnstapLost,
    /// Lookups are not written to the history.
    HistoryFailed,
    /// Names that no rule allows are forwarded.
    ObserveMode,
}

/// How urgent a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ProblemSeverity {
    /// Clients get no or wrong answers, or a change has no effect.
    Error,
    /// Something needs attention.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// What is wrong, and what to do.
    pub message: String,
    /// Since when, if known.
    pub since: Option<SystemTime>,
}

impl ProblemKind {
    /// How urgent it is.
    pub const fn severity(self) -> ProblemSeverity {
        match self {
            Self::NotLive
            | Self::Servfail
            | Self::UpstreamsDown
            | Self::NotReady
            | Self::CanaryNotBlocked
            | Self::ReloadFailed => ProblemSeverity::Error,
            Self::CanaryNotResolved
            | Self::UpstreamDown
            | Self::LogLost
            | Self::DnstapLost
            | Self::HistoryFailed
            | Self::ObserveMode => ProblemSeverity::Warning,
        }
    }

    /// When it is reported, for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotLive => "`/livez` fails: a thread makes no progress, or a worker cannot send replies",
            Self::Servfail => {
                "In the last minute, at least 3 lookups and 5 % of those of allowed names got SERVFAIL"
            }
            Self::UpstreamsDown => "All upstreams of a route, or of names without a route, are down",
            Self::NotReady => {
                "`/readyz` fails: no upstream in `upstream.servers` replied within the last 15 s"
            }
            Self::CanaryNotBlocked => {
                "A canary in `prove.must_not_resolve` was not blocked in the last round"
            }
            Self::ReloadFailed => "The last reload failed; the previous policy stays active",
            Self::CanaryNotResolved => "A canary in `prove.must_resolve` got no address in the last round",
            Self::UpstreamDown => "An upstream is down, but another one of its route is up",
            Self::LogLost => "In the last minute, lookups were not written to the query log",
            Self::DnstapLost => "In the last minute, dnstap frames were lost",
            Self::HistoryFailed => "Lookups are not written to the history",
            Self::ObserveMode => "The clients of a group are in observe mode",
        }
    }
}

/// The table of problems in docs/operations.md.
pub fn markdown() -> String {
    let mut text = String::from("| kind | severity | reported when |\n|---|---|---|\n");
    for kind in ProblemKind::VARIANTS.iter().copied() {
        let _ = writeln!(text, "| `{}` | {} | {} |", kind.label(), kind.severity().label(), kind.meaning());
    }
    text
}

/// The current problems, most severe first. `fault` is the watchdog's finding, `minute` the counts of the last minute.
pub fn problems(
    state: &State,
    metrics: &MetricsRegistry,
    minute: &RecentActivity,
    fault: Option<String>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |kind, message, since| found.push(Problem { kind, message, since });
    if let Some(fault) = fault {
        add(ProblemKind::NotLive, format!("{fault}; restart namegate, and keep its log"), None);
    }
    let (servfail, resolved) = (minute.results.servfail, minute.results.resolved());
    if servfail >= MIN_SERVFAIL && servfail * 100 >= resolved * SERVFAIL_PERCENT {
        let message = format!(
            "clients get SERVFAIL: {servfail} of {resolved} lookups of allowed names in the last minute; check the \
             upstreams"
        );
        add(ProblemKind::Servfail, message, None);
    }
    upstreams(state, &mut add);
    if let Some(reason) = silent_upstreams(state) {
        add(ProblemKind::NotReady, format!("not ready: {reason}; check the network to the upstreams"), None);
    }
    canaries(metrics, &mut add);
    if let Some((time, error)) = metrics.failed_reload() {
        let message = format!(
            "the last reload failed, the previous policy stays active: {error}; run `namegate check`"
        );
        add(ProblemKind::ReloadFailed, message, Some(UNIX_EPOCH + Duration::from_secs(time)));
    }
    if minute.log_lost > 0 {
        let message = format!(
            "{} lookups of the last minute are missing from the query log; check `log.file` and its disk",
            minute.log_lost
        );
        add(ProblemKind::LogLost, message, None);
    }
    if minute.dnstap_lost > 0 {
        let message =
            format!("{} dnstap frames were lost in the last minute; check the reader", minute.dnstap_lost);
        add(ProblemKind::DnstapLost, message, None);
    }
    if let Some((problem, since)) = metrics.history_problem() {
        let message =
            format!("lookups are not written to the history: {}", problem.replace("\n  help: ", "; "));
        add(ProblemKind::HistoryFailed, message, Some(since));
    }
    let groups = state.policies.groups().iter();
    let observed: Vec<String> =
        groups.filter(|group| group.policy.mode() == Mode::Observe).map(|group| group.name.clone()).collect();
    if !observed.is_empty() {
        let message = format!(
            "observe mode forwards names that no rule allows, for client groups {}; set `mode` to \"enforce\" to block \
             them",
            listed(&observed)
        );
        add(ProblemKind::ObserveMode, message, None);
    }
    found.sort_by_key(|problem| problem.kind);
    found
}

fn upstreams(state: &State, add: &mut impl FnMut(ProblemKind, String, Option<SystemTime>)) {
    let mut partly_down: Vec<String> = Vec::new();
    for servers in state.upstreams.lists() {
        let down: Vec<String> =
            servers.iter().filter(|server| !server.is_up()).map(|server| server.name().to_string()).collect();
        if down.len() < servers.len() {
            partly_down.extend(down);
        } else if !down.is_empty() {
            let message =
                format!("all upstreams are down: {}; check them and the network to them", listed(&down));
            add(ProblemKind::UpstreamsDown, message, None);
        }
    }
    partly_down.sort_unstable();
    partly_down.dedup();
    if !partly_down.is_empty() {
        let message = format!("upstream down: {}; others answer in its place", listed(&partly_down));
        add(ProblemKind::UpstreamDown, message, None);
    }
}

fn canaries(metrics: &MetricsRegistry, add: &mut impl FnMut(ProblemKind, String, Option<SystemTime>)) {
    let Some(round) = metrics.standing().last() else { return };
    for (expect, kind, what) in [
        (
            CanaryExpect::NotResolve,
            ProblemKind::CanaryNotBlocked,
            "names that must not resolve are not blocked",
        ),
        (CanaryExpect::Resolve, ProblemKind::CanaryNotResolved, "names that must resolve do not"),
    ] {
        let failed = |outcome: &&CanaryOutcome| {
            outcome.canary.expect == expect && matches!(outcome.result, CanaryResult::Failed(_))
        };
        let names: Vec<String> =
            round.canaries.iter().filter(failed).map(|outcome| outcome.canary.name.to_string()).collect();
        if !names.is_empty() {
            let message = format!("{what}: {}; see `/api/v1/canaries`", listed(&names));
            add(kind, message, None);
        }
    }
}

/// The first names, and the number of further ones.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(MAX_LISTED)].join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
