//! `namegate log`: searches the past lookups of a running resolver.

use std::fmt::Write;
use std::time::SystemTime;

use clap::Args;
use ipnet::IpNet;

use super::http::{AdminClient, Error, NoAnswer, printable};
use super::moment::{PeriodEnd, moment, period_end};
use super::subnet;
use crate::api::allow_request::ErrorJson;
use crate::api::log::{LogJson, LoggedLookupJson};
use crate::assemble::Sources;
use crate::cli::output::{OK, USAGE, marked, print, warn};
use crate::util::rfc3339;
use crate::util::url::UrlComponent;

/// Lookups per page of the running resolver.
const PAGE: usize = 1000;

/// Classes of lookups, as the pages name them.
pub(super) const BLOCKED: &str = "blocked";
const ERRORS: &str = "errors";

/// Which lookups to list, and the format.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: LogFilter,
    /// Only blocked lookups, and those that only observe mode allows
    #[arg(long, conflicts_with = "failed")]
    blocked: bool,
    /// Only failed lookups: answered with SERVFAIL, or malformed
    #[arg(long)]
    failed: bool,
    /// List at most N rows; the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which lookups to find.
#[derive(Debug, Default, Args)]
pub(super) struct LogFilter {
    /// Only lookups of this client or subnet, `10.1.0.4` or `10.1.0.0/16`
    #[arg(long, value_name = "CLIENT", value_parser = subnet)]
    pub(super) client: Option<IpNet>,
    /// Only lookups of clients in this group
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Only lookups of this name
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Only lookups of this name and the names below it
    #[arg(long, value_name = "NAME")]
    pub(super) below: Option<String>,
    /// Only lookups blocked for this reason, such as `not_listed`
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// Not before this time: `02:00` (UTC), `2h` (ago), `2026-11-23` or `2026-11-23T07:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(super) since: Option<SystemTime>,
    /// Before this time; `02:10` is the first such time after --since
    #[arg(long, value_name = "WHEN", value_parser = period_end)]
    pub(super) until: Option<PeriodEnd>,
}

/// Lists past lookups.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    let class = match (arguments.blocked, arguments.failed) {
        (true, _) => Some(BLOCKED),
        (_, true) => Some(ERRORS),
        _ => None,
    };
    let found = AdminClient::of(sources)
        .map_err(Error::from)
        .and_then(|listener| find(&listener, &arguments.filter, class, arguments.limit as usize));
    let log = match found {
        Ok(log) => log,
        Err(error) => {
            warn(&marked(&*error));
            return USAGE;
        }
    };
    if arguments.json {
        return print(&serde_json::to_string(&log).unwrap_or_default());
    }
    for note in notes(&log, &arguments.filter) {
        warn(&note);
    }
    if log.lookups.is_empty() {
        warn("no such lookups");
        return OK;
    }
    print(&table(&log.lookups))
}

/// Fetches the newest `limit` lookups.
pub(super) fn find(
    listener: &AdminClient,
    filter: &LogFilter,
    class: Option<&str>,
    limit: usize,
) -> Result<LogJson, Error> {
    let until = filter.until.map(|until| until.after(filter.since));
    if filter.since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(
            "error: --until is not after --since\n  help: write dates too, such as 2026-11-23T02:00:00Z"
                .into(),
        );
    }
    let time = |time: SystemTime| rfc3339::millis(time).to_string();
    let mut query = Vec::from([
        ("client", filter.client.map(|client| client.to_string())),
        ("group", filter.group.clone()),
        ("name", filter.name.clone()),
        ("below", filter.below.clone()),
        ("reason", filter.reason.clone()),
        ("class", class.map(str::to_owned)),
        ("since", filter.since.map(time)),
        ("until", until.map(time)),
    ]);
    let mut log = LogJson::default();
    loop {
        let wanted = (limit - log.lookups.len()).min(PAGE);
        query.truncate(8);
        query.push(("limit", Some(wanted.to_string())));
        query.push(("before", log.next.map(|next| next.to_string())));
        let page = fetch(listener, &query)?;
        let mut lookups = std::mem::take(&mut log.lookups);
        lookups.extend(page.lookups);
        log = LogJson { lookups, sampled: log.sampled || page.sampled, ..page };
        if log.next.is_none() || log.lookups.len() >= limit {
            return Ok(log);
        }
    }
}

fn fetch(listener: &AdminClient, query: &[(&str, Option<String>)]) -> Result<LogJson, Error> {
    let set =
        query.iter().filter_map(|(key, value)| Some(format!("{key}={}", UrlComponent(value.as_ref()?))));
    let path = format!("/api/v1/log?{}", set.collect::<Vec<_>>().join("&"));
    let page = listener.page(&path)?;
    if let Ok(ErrorJson { error }) = serde_json::from_slice(&page.body) {
        return Err(format!("error: {}", printable(&error).replacen("; help: ", "\n  help: ", 1)).into());
    }
    serde_json::from_slice(&page.body).map_err(|error| {
        let url = listener.url(&path);
        NoAnswer(format!("error: {url} is not a page of namegate (HTTP {}): {error}", page.status)).into()
    })
}

/// What is missing in the answer.
pub(super) fn notes(log: &LogJson, filter: &LogFilter) -> Vec<String> {
    let mut notes = Vec::new();
    let from = log.from.as_deref().and_then(|from| Some((from, humantime::parse_rfc3339(from).ok()?)));
    if let Some((from, _)) = from.filter(|(_, begins)| filter.since.is_some_and(|since| since < *begins)) {
        notes.push(format!("note: the history begins at {}", printable(from)));
    }
    if log.sampled {
        notes.push(
            "note: there were too many lookups to store each: some are counted without their name, or are missing"
                .to_owned(),
        );
    }
    if log.truncated {
        notes.push("note: only the newest rows are listed; pass a larger --limit, or --until".to_owned());
    }
    notes
}

fn table(lookups: &[LoggedLookupJson]) -> String {
    let heads = ["TIME (UTC)", "COUNT", "CLIENT", "NAME", "TYPE", "DECISION", "WHY", "RULE"];
    let mut rows = vec![heads.map(str::to_owned)];
    for lookup in lookups {
        // `2026-11-23T02:00:00.123Z`, without the fraction.
        let time = lookup.time.get(..19).unwrap_or(&lookup.time).replacen('T', " ", 1);
        let why = if lookup.reason.is_empty() { &lookup.rcode } else { &lookup.reason };
        let rule = match (&lookup.rule, &lookup.place) {
            (Some(rule), Some(place)) => format!("{rule} ({place})"),
            _ => String::new(),
        };
        let client = lookup.client.clone().unwrap_or_else(|| "-".to_owned());
        let cells = [
            time,
            lookup.count.to_string(),
            client,
            lookup.name.clone(),
            lookup.qtype.clone(),
            lookup.decision.clone(),
            why.clone(),
            rule,
        ];
        rows.push(cells.map(|cell| printable(&cell)));
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width).min(60);
        }
    }
    rows.iter().fold(String::new(), |mut text, row| {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}
