//! The JSON pages that only read; they need no token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::api::pages::{
    self, BlockedJson, BlockedNameJson, CountJson, ExplanationJson, GrantJson, LookupJson, RecentJson,
    RuleJson, RuleTextJson, RulesJson, StatusJson, TopJson, TotalsJson,
};
use crate::api::requests::RuleEntryJson;
use crate::assemble::explain::{AllowEntry, entry, host_of, judge, snippet};
use crate::engine::State;
use crate::events::counters::{ResultCounts, Totals as Counts};
use crate::events::event;
use crate::observe::blocked_names::Sighting;
use crate::observe::client::ShownClient;
use crate::observe::problems::{Problem, problems};
use crate::observe::top::WINDOW;
use crate::policy::temporary::Grant;
use crate::policy::verdict::BlockReason;
use crate::policy::{Policy, RuleRef, RuleText};
use crate::upstream::server::Server;
use crate::upstream::server_stats::ExchangeResult;
use crate::util::label::Label;
use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::presentation::read_name;
use crate::wire::query::Question;

/// Version, policy, counts, cache and upstreams.
pub(super) async fn status(Shared(admin): Shared<Admin>) -> Json<StatusJson> {
    let state = admin.state.load();
    let totals = admin.metrics.totals();
    let rates = admin.live.rates();
    let (since, started) = admin.started;
    let problems = problems(&state, &admin.metrics, &admin.live.last_minute(), admin.health.fault());
    Json(StatusJson {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: time(started),
        uptime_seconds: since.elapsed().as_secs_f64(),
        policy: policy(&admin, &state),
        ready: admin.not_ready().is_none(),
        problems: problems.iter().map(problem).collect(),
        totals: counts(&totals),
        rates: pages::RatesJson {
            allowed: rates.iter().map(|second| second.allowed).collect(),
            blocked: rates.iter().map(|second| second.blocked + second.observed).collect(),
            errors: rates.iter().map(|second| second.errors).collect(),
            other: rates.iter().map(|second| second.refused + second.dropped).collect(),
        },
        cache: pages::CacheJson {
            entries: state.cache.len(),
            bytes: state.cache.bytes(),
            max_bytes: state.cache.max_bytes(),
            hits: totals.cache_hits,
            misses: totals.cache_misses,
        },
        upstreams: state.upstreams.servers().iter().map(|server| upstream(server, &state)).collect(),
        log_lost: admin.losses.log(),
    })
}

fn policy(admin: &Admin, state: &State) -> pages::PolicyJson {
    let policy = state.policies.default();
    let (loaded, last_reload_succeeded) = admin.metrics.last_reload();
    let zone = |(source, rules): (&crate::policy::RuleSource, usize)| pages::AllowlistJson {
        name: source.zone.clone(),
        file: source.file.clone(),
        rules,
    };
    pages::PolicyJson {
        hash: policy.hash(),
        mode: policy.mode().label().to_owned(),
        rules: policy.rules(),
        zones: policy.sources().map(zone).collect(),
        loaded: time(UNIX_EPOCH + Duration::from_secs(loaded)),
        last_reload_succeeded,
    }
}

fn counts(totals: &Counts) -> TotalsJson {
    let ResultCounts { allowed, blocked, observed, refused, errors, dropped, .. } = totals.results();
    let queries = totals.queries.iter().flatten().sum();
    let noise = totals.blocked[BlockReason::Noise as usize];
    TotalsJson { queries, allowed, blocked, noise, observed, refused, errors, dropped }
}

fn problem(problem: &Problem) -> pages::ProblemJson {
    pages::ProblemJson {
        kind: problem.kind.label().to_owned(),
        severity: problem.kind.severity().label().to_owned(),
        message: problem.message.clone(),
        since: problem.since.map(time),
    }
}

fn upstream(server: &Server, state: &State) -> pages::UpstreamJson {
    let config = state.upstreams.config();
    let results = |wanted: fn(ExchangeResult) -> bool| -> u64 {
        server.stats.results().filter(|(result, _)| wanted(*result)).map(|(_, count)| count).sum()
    };
    pages::UpstreamJson {
        name: server.name().to_string(),
        up: server.is_up(),
        edns: server.stats.has_edns(Instant::now().into()),
        seconds_since_reply: server.stats.since_last_reply().map(|since| since.as_secs_f64()),
        in_flight: server.budget.in_flight(),
        max_in_flight: config.max_in_flight,
        max_qps: config.max_qps,
        answered: results(|result| result == ExchangeResult::Answered),
        failed: results(|result| !matches!(result, ExchangeResult::Answered | ExchangeResult::Overtaken)),
        shed: server.stats.sheds().map(|(_, count)| count).sum(),
        mean_seconds: server.stats.durations.snapshot().mean().map(|mean| mean.as_secs_f64()),
    }
}

/// The names and clients with the most blocked lookups.
pub(super) async fn top(Shared(admin): Shared<Admin>) -> Json<TopJson> {
    let now = Instant::now();
    let count = |(key, count)| CountJson { key, count };
    Json(TopJson {
        window_seconds: WINDOW.as_secs(),
        names: admin.live.names(now).into_iter().map(count).collect(),
        clients: admin.live.clients(now).into_iter().map(count).collect(),
    })
}

/// Blocked names with their clients.
pub(super) async fn blocked(Shared(admin): Shared<Admin>) -> Json<BlockedJson> {
    let (names, forgotten, no_hosts) = {
        let blocked = admin.live.blocked();
        let names: Vec<(Name, Sighting)> = blocked.iter().map(|(name, seen)| (name, seen.clone())).collect();
        (names, blocked.forgotten(), blocked.no_hosts())
    };
    let mut names: Vec<BlockedNameJson> = names.iter().map(|(name, seen)| blocked_name(name, seen)).collect();
    names.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    Json(BlockedJson { since: time(admin.started.1), names, forgotten, no_hosts })
}

fn blocked_name(name: &Name, seen: &Sighting) -> BlockedNameJson {
    BlockedNameJson {
        name: name.to_string(),
        count: seen.count,
        first: time(seen.first),
        last: time(seen.last),
        denied: seen.denied,
        clients: seen.clients.kept().iter().map(ToString::to_string).collect(),
        more_clients: seen.clients.more(),
        types: seen.types.kept().iter().map(ToString::to_string).collect(),
    }
}

type Refusal = (StatusCode, Json<Value>);

fn refuse(text: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": text })))
}

/// Query string of `/api/v1/recent`.
#[derive(Deserialize)]
pub(super) struct After {
    after: Option<u64>,
}

/// Recent blocked lookups.
pub(super) async fn recent(
    Shared(admin): Shared<Admin>,
    from: Result<Query<After>, QueryRejection>,
) -> Result<Json<RecentJson>, Refusal> {
    let Query(from) = from.map_err(|rejection| refuse(&rejection.body_text()))?;
    let state = admin.state.load();
    let (lookups, next) = admin.live.recent(from.after.unwrap_or(0));
    let lookups = lookups.iter().map(|(sequence, lookup)| shown(*sequence, lookup, &admin, &state)).collect();
    Ok(Json(RecentJson { next, lookups }))
}

fn shown(sequence: u64, lookup: &event::QueryEvent, admin: &Admin, state: &State) -> LookupJson {
    let record = &lookup.record;
    let rule = record.rule.and_then(|rule| rule.find(&state.policies));
    LookupJson {
        sequence,
        time: time(SystemTime::now() - lookup.received.elapsed()),
        client: ShownClient::of(lookup.client.ip(), admin.live.client()).map(|client| client.to_string()),
        name: lookup.question.name.to_string(),
        qtype: lookup.question.qtype.to_string(),
        decision: record.decision.label().to_owned(),
        reason: record.reason.map_or_else(String::new, |reason| reason.label().to_owned()),
        rule: rule.map(|rule| rule.to_string()),
        place: rule.map(|rule| rule.place()),
        text: rule.map(rule_text).unwrap_or_default(),
    }
}

/// Query string of `/api/v1/explain`.
#[derive(Deserialize)]
pub(super) struct Subject {
    name: String,
    r#type: Option<String>,
    client: Option<String>,
}

/// Explains how a lookup would be decided.
pub(super) async fn explain(
    Shared(admin): Shared<Admin>,
    subject: Result<Query<Subject>, QueryRejection>,
) -> Result<Json<ExplanationJson>, Refusal> {
    let Query(subject) = subject.map_err(|rejection| refuse(&rejection.body_text()))?;
    let name = read_name(host_of(subject.name.trim()))
        .ok_or_else(|| refuse("not a domain name: a label has 1 to 63 bytes, a name at most 255"))?;
    let qtype = subject.r#type.as_deref().unwrap_or("A");
    let qtype: Type = qtype.parse().map_err(|_| refuse("not a record type"))?;
    let client = subject.client.filter(|client| !client.is_empty());
    let client: Option<IpAddr> = match client.map(|client| client.parse()) {
        Some(Err(_)) => return Err(refuse("`client` is not an IP address")),
        client => client.and_then(Result::ok),
    };
    let state = admin.state.load();
    let question = Question { name, qtype, class: Class::IN };
    let finding = judge(&question, client, &state.policies, &state.local);
    let because = match (finding.reason.as_str(), finding.rule) {
        ("", Some(rule)) => format!("{} by rule {rule}", finding.verdict),
        (reason, _) => reason.to_owned(),
    };
    let blocked = matches!(finding.verdict, "blocked" | "observed");
    let uses = admin.metrics.rule_uses();
    uses.collect(&state, SystemTime::now());
    let rule_use = finding.rule.and_then(|rule| uses.of(rule));
    let servers = |route| {
        let upstream = state.upstreams.route(route);
        upstream.servers().iter().map(|server| &**server.name()).collect::<Vec<_>>().join(", ")
    };
    let grant = |grant: &&Grant| GrantJson {
        pattern: grant.pattern.to_string(),
        client: grant.scope.client(),
        group: grant.scope.group().map(str::to_owned),
        until: seconds(grant.until),
        reason: grant.reason.clone(),
        author: grant.author.clone(),
    };
    let entry = entry(&question.name, &finding, &admin.settings_file, SystemTime::now());
    Ok(Json(ExplanationJson {
        name: question.name.to_string(),
        qtype: qtype.to_string(),
        client: client.map(|client| client.to_string()),
        group: finding.group.map(str::to_owned),
        mode: finding.policy.map(|policy| policy.mode().label().to_owned()),
        verdict: finding.verdict.to_owned(),
        because,
        rule: finding.rule.map(|rule| rule.to_string()),
        place: finding.rule.map(|rule| rule.place()),
        zone: finding.rule.map(|rule| rule.source().zone.clone()),
        text: finding.rule.map(rule_text).unwrap_or_default(),
        hits: rule_use.map(|rule_use| rule_use.hits),
        last_used: rule_use.and_then(|rule_use| rule_use.last).map(seconds),
        route: finding.route_id.map(servers),
        grants: finding.grants.iter().map(grant).collect(),
        snippet: if blocked { snippet(&question.name, finding.rule) } else { None },
        entry: entry.map(|AllowEntry { file, text }| RuleEntryJson { file, text }),
    }))
}

fn rule_text(rule: RuleRef<'_>) -> RuleTextJson {
    let RuleText { purpose, owner, ticket } = rule.text();
    RuleTextJson {
        purpose: purpose.to_owned(),
        owner: owner.to_owned(),
        ticket: ticket.to_owned(),
        until: rule.until().map(|until| until.to_string()),
    }
}

/// Query string of `/api/v1/rules`.
#[derive(Deserialize)]
pub(super) struct Unused {
    unused: Option<String>,
}

/// Maximum rules on `/api/v1/rules`.
const MAX_RULES: usize = 10_000;

/// The rules in force and their uses.
pub(super) async fn rules(
    Shared(admin): Shared<Admin>,
    wanted: Result<Query<Unused>, QueryRejection>,
) -> Result<Json<RulesJson>, Refusal> {
    let Query(Unused { unused }) = wanted.map_err(|rejection| refuse(&rejection.body_text()))?;
    let period = unused.as_deref().map(humantime::parse_duration).transpose();
    let period = period.map_err(|_| refuse("`unused` is not a duration such as `90d`"))?;
    let (state, now) = (admin.state.load(), SystemTime::now());
    let uses = admin.metrics.rule_uses();
    uses.collect(&state, now);
    let (mut rules, mut more) = (Vec::new(), 0);
    let mut known: Vec<&Arc<Policy>> = Vec::new();
    for group in state.policies.groups() {
        if known.iter().any(|policy| Arc::ptr_eq(policy, &group.policy)) {
            continue;
        }
        known.push(&group.policy);
        for rule in group.policy.iter_with_ended() {
            if period.is_none() && rules.len() == MAX_RULES {
                more += 1;
                continue;
            }
            let rule_use = uses.of(rule);
            // A rule without a use of its own cannot be known to be unused.
            if period.is_some_and(|period| !rule_use.is_some_and(|rule_use| rule_use.is_unused(period, now)))
            {
                continue;
            }
            if rules.len() == MAX_RULES {
                more += 1;
                continue;
            }
            rules.push(RuleJson {
                group: group.name.clone(),
                zone: rule.source().zone.clone(),
                action: rule.action().label().to_owned(),
                rule: rule.to_string(),
                place: rule.place(),
                text: rule_text(rule),
                ended: rule.is_over(),
                hits: rule_use.map(|rule_use| rule_use.hits),
                last_used: rule_use.and_then(|rule_use| rule_use.last).map(seconds),
                counted_since: rule_use.map(|rule_use| seconds(rule_use.since)),
            });
        }
    }
    Ok(Json(RulesJson { rules, more }))
}

fn seconds(time: SystemTime) -> String {
    crate::util::rfc3339::seconds(time).to_string()
}

pub(super) fn time(time: SystemTime) -> String {
    crate::util::rfc3339::millis(time).to_string()
}
