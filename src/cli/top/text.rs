//! A snapshot as plain text, for pipes, files and terminals without cursor control.

use std::fmt::Write;

use super::quantity::{bytes, count, percent, rate, seconds};
use super::snapshot::TopSnapshot;
use crate::api::pages::{CountJson, LookupJson, ProblemJson, UpstreamJson};

/// Number of newest blocked lookups shown.
const LOOKUPS: usize = 20;

/// The snapshot, one fact per line.
pub(super) fn text(snapshot: &TopSnapshot, url: &str) -> String {
    let TopSnapshot { status, top, recent } = snapshot;
    let (policy, totals, rates, cache) = (&status.policy, &status.totals, &status.rates, &status.cache);
    let mut lines = vec![
        format!("namegate {} at {url}, up {}", status.version, seconds(Some(status.uptime_seconds))),
        format!("policy {}: {} rules, loaded {}", policy.hash, count(policy.rules as u64), policy.loaded),
        format!(
            "queries {}: allowed {}, blocked {}, observed {} (noise {}), errors {}, refused {}, dropped {}",
            count(totals.queries),
            count(totals.allowed),
            count(totals.blocked),
            count(totals.observed),
            count(totals.noise),
            count(totals.errors),
            count(totals.refused),
            count(totals.dropped),
        ),
        format!(
            "per second: allowed {}, blocked {}, errors {}, other {}",
            rate(&rates.allowed),
            rate(&rates.blocked),
            rate(&rates.errors),
            rate(&rates.other)
        ),
        format!(
            "cache {} entries, {} of {}, hit rate {}",
            count(cache.entries as u64),
            bytes(cache.bytes),
            bytes(cache.max_bytes),
            percent(cache.hits, cache.hits.saturating_add(cache.misses)),
        ),
    ];
    let mode = if policy.mode == "observe" { "observe: not enforcing" } else { &policy.mode };
    lines.insert(1, format!("mode {mode}"));
    let problem = |problem: &ProblemJson| format!("{}: {}", problem.severity.to_uppercase(), problem.message);
    lines.splice(1..1, status.problems.iter().map(problem));
    if status.log_lost > 0 {
        lines.push(format!("{} lookups missing from the query log", count(status.log_lost)));
    }
    lines.extend(status.upstreams.iter().map(upstream));
    let mut text = lines.join("\n");
    let window = seconds(Some(top.window_seconds as f64));
    counts(&mut text, &format!("most blocked names, last {window}"), &top.names);
    counts(&mut text, &format!("clients most often blocked, last {window}"), &top.clients);
    lookups(&mut text, &recent.lookups);
    text
}

fn upstream(upstream: &UpstreamJson) -> String {
    let budget = match upstream.max_qps {
        0 => String::new(),
        limit => format!(", at most {} per second", count(u64::from(limit))),
    };
    format!(
        "upstream {} {}{}: last reply {} ago, {}/{} in flight{budget}, {} answered, {} failed, {} shed, mean {}",
        upstream.name,
        if upstream.up { "up" } else { "DOWN" },
        if upstream.edns { "" } else { " (no EDNS)" },
        seconds(upstream.seconds_since_reply),
        upstream.in_flight,
        upstream.max_in_flight,
        count(upstream.answered),
        count(upstream.failed),
        count(upstream.shed),
        seconds(upstream.mean_seconds),
    )
}

fn counts(text: &mut String, title: &str, counts: &[CountJson]) {
    let _ = write!(text, "\n\n{title}");
    if counts.is_empty() {
        text.push_str(": none");
    }
    for CountJson { key, count: number } in counts {
        let _ = write!(text, "\n{:>10}  {key}", count(*number));
    }
}

fn lookups(text: &mut String, lookups: &[LookupJson]) {
    text.push_str("\n\nblocked recently");
    if lookups.is_empty() {
        text.push_str(": none");
    }
    for lookup in &lookups[lookups.len().saturating_sub(LOOKUPS)..] {
        let client = lookup.client.as_deref().unwrap_or("-");
        let LookupJson { time, name, qtype, decision, reason, .. } = lookup;
        let _ = write!(text, "\n  {time}  {client:<15}  {decision:<8}  {reason:<10}  {qtype:<5}  {name}");
        for detail in lookup.rule.iter().chain(&lookup.place) {
            let _ = write!(text, "  {detail}");
        }
    }
}
