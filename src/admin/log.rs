//! Searches in the history of lookups; they need no token.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use ipnet::IpNet;
use serde::Deserialize;
use strum::VariantNames;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Admin;
use super::api::time;
use super::refusal::Refusal;
use crate::api::log::{LogCountJson, LogCountsJson, LogGraphJson, LogJson, LoggedLookupJson};
use crate::events::counters::RCODES;
use crate::events::outcome::{Decision, LookupClass};
use crate::observe::client::ShownClient;
use crate::observe::history::History;
use crate::observe::history::search::{
    CountBy, Found, FoundLookup, HistoryFilter, LookupCount, LookupGraph, SearchError,
};
use crate::policy::verdict::BlockReason;
use crate::wire::name::Name;
use crate::wire::presentation::read_name;

/// Searches at the same time; each may take a core.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// Time that a search waits for others.
const PATIENCE: Duration = Duration::from_millis(500);

/// Most lookups in one answer.
const MAX_LIMIT: usize = 1000;

/// Lookups in an answer without `limit`.
const LIMIT: usize = 100;

/// Most steps of a graph.
const MAX_STEPS: u64 = 2000;

/// Steps of a graph without `step`.
const STEPS: u64 = 240;

/// Time range of a graph without `since`.
const RANGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Query string of the pages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogParameters {
    name: Option<String>,
    below: Option<String>,
    client: Option<String>,
    group: Option<String>,
    decision: Option<String>,
    class: Option<String>,
    reason: Option<String>,
    rcode: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    before: Option<String>,
    step: Option<String>,
}

type Parameters = Result<Query<LogParameters>, QueryRejection>;

/// Past lookups, newest first.
pub(super) async fn lookups(
    Shared(admin): Shared<Admin>,
    wanted: Parameters,
) -> Result<Json<LogJson>, Refusal> {
    let wanted = parameters(wanted)?;
    let (filter, limit) = (wanted.filter()?, wanted.limit()?);
    let Found { found, from, is_sampled, next } =
        search(&admin, move |history| history.find(&filter, limit)).await?;
    let lookups = found.into_iter().map(lookup).collect();
    let from = from.map(time);
    Ok(Json(LogJson { from, sampled: is_sampled, truncated: next.is_some(), next, lookups }))
}

/// Numbers of lookups over time.
pub(super) async fn graph(
    Shared(admin): Shared<Admin>,
    wanted: Parameters,
) -> Result<Json<LogGraphJson>, Refusal> {
    let wanted = parameters(wanted)?;
    let filter = wanted.filter()?;
    let until = filter.until.unwrap_or_else(SystemTime::now);
    let since = filter.since.unwrap_or_else(|| until.checked_sub(RANGE).unwrap_or(SystemTime::UNIX_EPOCH));
    let range = until.duration_since(since).map_or(0, |range| range.as_secs());
    if range == 0 {
        return Err(bad("`until` is not after `since`; help: swap the two times"));
    }
    let step = match wanted.read("step", &wanted.step, "write a number of seconds, such as `60`")? {
        Some(step @ 1_u64..) if range / step < MAX_STEPS => step,
        Some(_) => {
            let text = format!(
                "`step` is too small for this time range; help: at most {MAX_STEPS} steps are possible"
            );
            return Err(bad(text));
        }
        None => range.div_ceil(STEPS).max(1),
    };
    let find = move |history: &History| history.graph(&filter, (since, until), Duration::from_secs(step));
    let Found { found, from, is_sampled, next } = search(&admin, find).await?;
    let LookupGraph { start, steps } = found;
    let list = |class: LookupClass| steps.iter().map(|step| step[class as usize]).collect();
    Ok(Json(LogGraphJson {
        from: from.map(time),
        sampled: is_sampled,
        truncated: next.is_some(),
        start: time(start),
        step_seconds: step,
        allowed: list(LookupClass::Allowed),
        blocked: list(LookupClass::Blocked),
        errors: list(LookupClass::Errors),
        other: list(LookupClass::Other),
    }))
}

/// Clients with most lookups.
pub(super) async fn clients(
    Shared(admin): Shared<Admin>,
    wanted: Parameters,
) -> Result<Json<LogCountsJson>, Refusal> {
    counts(&admin, wanted, CountBy::Client).await
}

/// Names with most lookups.
pub(super) async fn names(
    Shared(admin): Shared<Admin>,
    wanted: Parameters,
) -> Result<Json<LogCountsJson>, Refusal> {
    counts(&admin, wanted, CountBy::Name).await
}

async fn counts(admin: &Admin, wanted: Parameters, by: CountBy) -> Result<Json<LogCountsJson>, Refusal> {
    let wanted = parameters(wanted)?;
    let (filter, limit) = (wanted.filter()?, wanted.limit()?);
    let Found { found, from, is_sampled, next } =
        search(admin, move |history| history.count(&filter, by, limit)).await?;
    let item = |LookupCount { key, counts, last }: LookupCount| {
        let count = |class: LookupClass| counts[class as usize];
        LogCountJson {
            key,
            allowed: count(LookupClass::Allowed),
            blocked: count(LookupClass::Blocked),
            errors: count(LookupClass::Errors),
            other: count(LookupClass::Other),
            last: time(last),
        }
    };
    let (from, items) = (from.map(time), found.into_iter().map(item).collect());
    Ok(Json(LogCountsJson { from, sampled: is_sampled, truncated: next.is_some(), items }))
}

/// Runs a search on a thread that may wait for the disk.
async fn search<T: Send + 'static>(
    admin: &Admin,
    find: impl FnOnce(&History) -> Result<Found<T>, SearchError> + Send + 'static,
) -> Result<Found<T>, Refusal> {
    let history = admin.history.as_ref().map(Arc::clone).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "the history is off; help: set `history.max_age`, such as \"24h\"",
        )
    })?;
    let busy = |_| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "other searches are running; help: try again in a few seconds",
        )
    };
    let permit = timeout(PATIENCE, SEARCHES.acquire()).await.map_err(busy)?;
    let found = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        find(&history)
    });
    let unavailable = |text: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text);
    let found = found.await.map_err(|error| unavailable(error.to_string()))?;
    found.map_err(|error| unavailable(format!("{error}; help: see namegate's log")))
}

fn lookup(found: FoundLookup) -> LoggedLookupJson {
    LoggedLookupJson {
        time: time(found.time),
        last: time(found.last),
        count: found.count,
        client: found.client,
        group: found.group,
        name: found.name,
        qtype: found.qtype,
        decision: found.decision,
        reason: found.reason.unwrap_or_default(),
        rule: found.rule,
        place: found.place,
        rcode: found.rcode,
        source: found.source,
        upstream: found.upstream,
    }
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

fn parameters(wanted: Parameters) -> Result<LogParameters, Refusal> {
    wanted.map(|Query(wanted)| wanted).map_err(|rejection| {
        bad(format!("{}; help: see \"Search\" in docs/operations/logs.md", rejection.body_text()))
    })
}

impl LogParameters {
    /// Reads a parameter; an empty one is absent.
    fn read<T: FromStr>(&self, key: &str, text: &Option<String>, help: &str) -> Result<Option<T>, Refusal> {
        self.parsed(key, text, help, |text| text.parse().ok())
    }

    fn parsed<T>(
        &self,
        key: &str,
        text: &Option<String>,
        help: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = text.as_deref().map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let invalid = || bad(format!("`{key}`: invalid value `{}`; help: {help}", text.escape_default()));
        parse(text).map(Some).ok_or_else(invalid)
    }

    /// One of some words.
    fn word(&self, key: &str, text: &Option<String>, words: &[&str]) -> Result<Option<String>, Refusal> {
        let help = format!("use one of {}", words.join(", "));
        self.parsed(key, text, &help, |text| {
            let text = text.to_ascii_lowercase();
            words.contains(&text.as_str()).then_some(text)
        })
    }

    fn filter(&self) -> Result<HistoryFilter, Refusal> {
        let name = |key, text| self.parsed(key, text, "write a name such as `pypi.org`", wanted_name);
        let moment = |key, text| {
            let help = "write a time such as `2026-11-23T02:00:00Z`";
            self.parsed(key, text, help, |text| humantime::parse_rfc3339(text).ok())
        };
        let rcodes: Vec<&str> = RCODES.iter().map(|rcode| rcode.label()).chain(["other"]).collect();
        let class = self.word("class", &self.class, LookupClass::VARIANTS)?;
        Ok(HistoryFilter {
            name: name("name", &self.name)?,
            below: name("below", &self.below)?,
            client: self.parsed(
                "client",
                &self.client,
                "write an address, or a subnet such as `10.1.0.0/16`",
                |text| text.parse().ok().map(|client: ShownClient| canonical(client.net())),
            )?,
            group: self.read("group", &self.group, "write the name of a client group")?,
            decision: self.word("decision", &self.decision, Decision::VARIANTS)?,
            class: class.and_then(|class| class.parse().ok()),
            reason: self.word("reason", &self.reason, BlockReason::VARIANTS)?,
            rcode: self.word("rcode", &self.rcode, &rcodes)?,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            before: self.read("before", &self.before, "pass `next` of the answer before")?,
        })
    }

    fn limit(&self) -> Result<usize, Refusal> {
        let help = format!("write a number from 1 to {MAX_LIMIT}");
        let limit = self.parsed("limit", &self.limit, &help, |text| {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit))
        })?;
        Ok(limit.unwrap_or(LIMIT))
    }
}

/// A name, also one that is written with `*.` or a dot before it.
fn wanted_name(text: &str) -> Option<Name> {
    let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.').filter(|rest| !rest.is_empty()));
    read_name(name.unwrap_or(text))
}

/// Lookups are stored with canonical addresses.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| ipnet::Ipv4Net::new(address, prefix).ok()).map_or(net, IpNet::V4)
}
