//! Searches in the history: lookups, their numbers over time, and the clients and names with most of them.
//!
//! A search has a connection of its own and reads an hour at a time, newest first, so that it can stop at its time
//! limit and say where to continue.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};

use ipnet::IpNet;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::open_rows::{Kind, overlaps, restored, reversed, window};
use super::store::{self, NO_CLIENT, NO_NAME, PER_MILLISECOND, StoreError, connect, oldest, read_kinds};
use super::{History, millis, time};
use crate::events::outcome::LookupClass;
use crate::observe::client::ShownClient;
use crate::wire::code::Type;
use crate::wire::name::Name;

/// Time limit of one search: shorter than the patience of commands.
const TIME: Duration = Duration::from_millis(1200);

/// SQLite instructions between two checks of the time limit.
const STEPS: std::ffi::c_int = 10_000;

/// A search reads this much at a time.
const SLICE: i64 = 3_600_000;

/// Longest time from the first to the last lookup of a row, with time to spare for a slow disk.
const LONGEST: i64 = window(LookupClass::Allowed).as_millis() as i64 + 60_000;

/// Names and clients that are found by index, each by itself; more are found while reading all rows.
const FEW: usize = 64;

/// Most different names or clients that are counted.
const COUNTED: usize = 100_000;

/// Which lookups to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryFilter {
    /// This name.
    pub name: Option<Name>,
    /// This name and every name below it.
    pub below: Option<Name>,
    /// Clients in this subnet. If `log.client` shows only subnets, those that overlap it.
    pub client: Option<IpNet>,
    /// Clients in this group.
    pub group: Option<String>,
    /// With this decision.
    pub decision: Option<String>,
    /// Of this class.
    pub class: Option<LookupClass>,
    /// Blocked for this reason.
    pub reason: Option<String>,
    /// With this response code.
    pub rcode: Option<String>,
    /// Not before this time.
    pub since: Option<SystemTime>,
    /// Before this time.
    pub until: Option<SystemTime>,
    /// Rows with a lower number: `next` of an earlier search.
    pub before: Option<i64>,
}

/// Equal lookups.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundLookup {
    /// Time of the first.
    pub time: SystemTime,
    /// Time of the last.
    pub last: SystemTime,
    /// Their number.
    pub count: u64,
    /// The client, if it is shown.
    pub client: Option<String>,
    /// The client's group, if there are several.
    pub group: Option<String>,
    /// The name; `*` for further names of a client that looked up too many.
    pub name: String,
    /// The type; `*` in the same case.
    pub qtype: String,
    /// The decision.
    pub decision: String,
    /// Why it is not allowed.
    pub reason: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// File and line of the rule.
    pub place: Option<String>,
    /// The response code.
    pub rcode: String,
    /// Source of the reply.
    pub source: String,
    /// The upstream that answered.
    pub upstream: Option<String>,
}

/// What a search found, and how complete it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// The result.
    pub found: T,
    /// Where the history of these clients begins; none if it has no lookup of theirs.
    pub from: Option<SystemTime>,
    /// Some lookups of this time are counted without their name, or are missing.
    pub is_sampled: bool,
    /// The limit or the time limit was reached: there may be more, from `next` on.
    pub next: Option<i64>,
}

/// Numbers of lookups over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupGraph {
    /// Start of the first step.
    pub start: SystemTime,
    /// Numbers in each step, by [`LookupClass`].
    pub steps: Vec<[u64; 4]>,
}

/// A client or name with its lookups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupCount {
    /// The client or name.
    pub key: String,
    /// Its lookups, by [`LookupClass`].
    pub counts: [u64; 4],
    /// Time of the last one.
    pub last: SystemTime,
}

/// What lookups are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountBy {
    /// Clients.
    Client,
    /// Names.
    Name,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The database cannot be read.
    #[error("the history cannot be read: {0}")]
    Unreadable(String),
}

impl From<StoreError> for SearchError {
    fn from(error: StoreError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<rusqlite::Error> for SearchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A row as it is stored.
struct Row {
    id: i64,
    span: i64,
    count: i64,
    client: i64,
    name: i64,
    qtype: i64,
    kind: i64,
}

impl Row {
    fn first(&self) -> i64 {
        self.id / PER_MILLISECOND
    }

    fn last(&self) -> i64 {
        self.first() + self.span
    }
}

impl History {
    /// The newest `limit` lookups that `filter` selects.
    pub fn find(&self, filter: &HistoryFilter, limit: usize) -> Result<Found<Vec<FoundLookup>>, SearchError> {
        let search = Search::open(self, filter)?;
        let mut rows = Vec::new();
        let mut next = search.scan(|row| {
            rows.push(row);
            rows.len() <= limit
        })?;
        if rows.len() > limit {
            rows.truncate(limit);
            next = rows.last().map(|row| row.id);
        }
        let found = rows.iter().map(|row| search.show(row)).collect::<Result<_, _>>()?;
        search.result(found, next)
    }

    /// Numbers of the lookups that `filter` selects between `since` and `until`, for every `step`.
    pub fn graph(
        &self,
        filter: &HistoryFilter,
        (since, until): (SystemTime, SystemTime),
        step: Duration,
    ) -> Result<Found<LookupGraph>, SearchError> {
        let filter = HistoryFilter { since: Some(since), until: Some(until), ..filter.clone() };
        let search = Search::open(self, &filter)?;
        let step = (step.as_millis() as i64).max(1);
        let start = millis(since).div_euclid(step) * step;
        let length = (millis(until) - start).max(1) as u64;
        let mut steps = vec![[0; 4]; length.div_ceil(step as u64) as usize];
        let next = search.scan(|row| {
            let class = search.kinds.get(&row.kind).map_or(LookupClass::Errors, |kind| kind.class);
            spread(&mut steps, (start, step), &row, class);
            true
        })?;
        search.result(LookupGraph { start: time(start), steps }, next)
    }

    /// The `limit` clients or names with most of the lookups that `filter` selects.
    pub fn count(
        &self,
        filter: &HistoryFilter,
        by: CountBy,
        limit: usize,
    ) -> Result<Found<Vec<LookupCount>>, SearchError> {
        let search = Search::open(self, filter)?;
        let mut counts = HashMap::<i64, ([u64; 4], i64)>::new();
        let mut is_full = false;
        let next = search.scan(|row| {
            let key = if by == CountBy::Client { row.client } else { row.name };
            if counts.len() >= COUNTED && !counts.contains_key(&key) {
                is_full = true;
                return true;
            }
            let class = search.kinds.get(&row.kind).map_or(LookupClass::Errors, |kind| kind.class);
            let (count, last) = counts.entry(key).or_default();
            count[class as usize] += row.count as u64;
            *last = (*last).max(row.last());
            true
        })?;
        let mut counts: Vec<(i64, ([u64; 4], i64))> = counts.into_iter().collect();
        let total = |counts: &[u64; 4]| counts.iter().sum::<u64>();
        counts.sort_by_key(|(key, (counts, last))| (std::cmp::Reverse((total(counts), *last)), *key));
        counts.truncate(limit);
        let show = |(key, (counts, last)): (i64, ([u64; 4], i64))| {
            let key = match by {
                CountBy::Client => {
                    search.clients.get(&key).map_or_else(|| "-".to_owned(), ToString::to_string)
                }
                CountBy::Name => search.name(key)?,
            };
            Ok::<_, SearchError>(LookupCount { key, counts, last: time(last) })
        };
        let found = counts.into_iter().map(show).collect::<Result<_, _>>()?;
        let found = search.result(found, next)?;
        Ok(Found { is_sampled: found.is_sampled || is_full, ..found })
    }
}

/// Adds the lookups of `row` to the steps between its first and its last one, evenly.
fn spread(steps: &mut [[u64; 4]], (start, step): (i64, i64), row: &Row, class: LookupClass) {
    let (first, length) = (row.first() - start, row.span.max(1));
    // How many lookups there were before a moment.
    let before = |moment: i64| (moment - first).clamp(0, length) as u64 * row.count as u64 / length as u64;
    for index in first.div_euclid(step)..=(first + row.span).div_euclid(step) {
        let count = match row.span {
            0 => row.count as u64,
            _ => before((index + 1) * step) - before(index * step),
        };
        if let Some(counts) = usize::try_from(index).ok().and_then(|index| steps.get_mut(index)) {
            counts[class as usize] += count;
        }
    }
}

/// A search that is under way.
struct Search {
    connection: Connection,
    clients: HashMap<i64, ShownClient>,
    kinds: HashMap<i64, Kind>,
    /// The tables to read.
    tables: Vec<&'static str>,
    /// The conditions on a row, apart from its time.
    conditions: String,
    /// The wanted clients; none for all.
    wanted: Option<Vec<i64>>,
    /// The first and the last millisecond.
    range: (i64, i64),
    before: Option<i64>,
    /// When this process began to record, in milliseconds since 1970.
    began: i64,
    deadline: Instant,
}

impl Search {
    fn open(history: &History, filter: &HistoryFilter) -> Result<Self, SearchError> {
        let deadline = Instant::now() + TIME;
        let connection = connect(&history.place, false)?;
        connection.busy_timeout(TIME)?;
        let mut clients = HashMap::new();
        store::each(&connection, "SELECT id, address FROM client", |row| {
            if let Ok(client) = row.get_ref(1)?.as_str().unwrap_or_default().parse() {
                clients.insert(row.get(0)?, client);
            }
            Ok(())
        })?;
        let kinds = read_kinds(&connection)?;
        let range = (
            filter.since.map_or(0, millis),
            filter.until.map_or(i64::MAX / PER_MILLISECOND / 2, |until| millis(until) - 1),
        );
        let mut search = Self {
            connection,
            clients,
            kinds,
            tables: Vec::new(),
            conditions: String::new(),
            wanted: None,
            range,
            before: filter.before,
            began: millis(history.began),
            deadline,
        };
        search.select(filter)?;
        let until = deadline;
        search.connection.progress_handler(STEPS, Some(move || Instant::now() >= until))?;
        Ok(search)
    }

    /// Translates `filter` to tables and conditions.
    fn select(&mut self, filter: &HistoryFilter) -> Result<(), SearchError> {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let is_wanted = |kind: &Kind| {
            is(&filter.group, &kind.group)
                && is(&filter.decision, &kind.decision)
                && is(&filter.reason, &kind.reason)
                && is(&filter.rcode, &kind.rcode)
                && filter.class.is_none_or(|class| class == kind.class)
        };
        let mut kinds = Vec::new();
        for (id, kind) in &self.kinds {
            if is_wanted(kind) {
                kinds.push(*id);
                if !self.tables.contains(&store::table(kind.class)) {
                    self.tables.push(store::table(kind.class));
                }
            }
        }
        if kinds.len() < self.kinds.len() {
            self.conditions.push_str(&among("+kind", &kinds));
        }
        let names = match (&filter.name, &filter.below) {
            (None, None) => None,
            (Some(name), below) if below.as_ref().is_none_or(|below| name.is_within(below)) => {
                let sql = "SELECT id FROM name WHERE reversed = ?1";
                let id = self.connection.query_row(sql, [reversed(name)], |row| row.get(0)).optional()?;
                Some(id.into_iter().collect())
            }
            (Some(_), _) => Some(Vec::new()),
            (None, Some(below)) => Some(self.names_below(below)?),
        };
        if names.as_ref().is_some_and(Vec::is_empty) {
            self.tables.clear();
        }
        if let Some(names) = &names {
            let column = if names.len() <= FEW { "name" } else { "+name" };
            self.conditions.push_str(&among(column, names));
        }
        if let Some(wanted) = filter.client {
            let clients = self.clients.iter().filter(|(_, client)| overlaps(**client, wanted));
            let clients: Vec<i64> = clients.map(|(id, _)| *id).collect();
            if clients.is_empty() {
                self.tables.clear();
            }
            let by_index = clients.len() == 1 && names.is_none_or(|names| names.len() > FEW);
            self.conditions.push_str(&among(if by_index { "client" } else { "+client" }, &clients));
            self.wanted = Some(clients);
        }
        Ok(())
    }

    fn names_below(&self, below: &Name) -> Result<Vec<i64>, rusqlite::Error> {
        let first = reversed(below);
        let mut statement = match next_prefix(&first) {
            Some(_) => {
                self.connection.prepare("SELECT id FROM name WHERE reversed >= ?1 AND reversed < ?2")?
            }
            None => self.connection.prepare("SELECT id FROM name WHERE reversed >= ?1 AND ?2 IS NULL")?,
        };
        statement.query_map(params![first, next_prefix(&first)], |row| row.get(0))?.collect()
    }

    /// Passes the rows to `take`, newest first, until it returns false. Returns where to continue if the time is over.
    fn scan(&self, mut take: impl FnMut(Row) -> bool) -> Result<Option<i64>, SearchError> {
        let Some(oldest) = self.oldest()? else { return Ok(None) };
        let (since, until) = self.range;
        let lowest = since.saturating_sub(LONGEST).max(oldest).max(0) * PER_MILLISECOND;
        let highest = (until.saturating_add(1) * PER_MILLISECOND).min(self.before.unwrap_or(i64::MAX));
        let mut sql = String::new();
        for table in &self.tables {
            let union = if sql.is_empty() { "" } else { " UNION ALL " };
            // Writing to memory cannot fail.
            let _ = write!(
                sql,
                "{union}SELECT id, span, count, client, name, type, kind FROM {table} WHERE id >= ?1 AND id < ?2 AND \
                 id / {PER_MILLISECOND} + span >= ?3{}",
                self.conditions
            );
        }
        if sql.is_empty() {
            return Ok(None);
        }
        sql.push_str(" ORDER BY id DESC");
        let mut statement = self.connection.prepare(&sql)?;
        // Nothing is newer than the newest row.
        let mut end = highest.min(self.newest()?.saturating_add(1));
        while end > lowest {
            let start = (end - SLICE * PER_MILLISECOND).max(lowest);
            let mut rows = statement.query(params![start, end, since])?;
            loop {
                let row = match rows.next() {
                    Ok(Some(row)) => row,
                    Ok(None) => break,
                    Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                        return Ok(Some(end));
                    }
                    Err(error) => return Err(error.into()),
                };
                let row = Row {
                    id: row.get(0)?,
                    span: row.get(1)?,
                    count: row.get(2)?,
                    client: row.get(3)?,
                    name: row.get(4)?,
                    qtype: row.get(5)?,
                    kind: row.get(6)?,
                };
                end = row.id;
                if !take(row) {
                    return Ok(None);
                }
            }
            end = start;
            if Instant::now() >= self.deadline && end > lowest {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Where the history of the wanted clients begins.
    fn oldest(&self) -> Result<Option<i64>, SearchError> {
        let tables = ["passed", "failed"];
        match &self.wanted {
            Some(clients) if clients.len() <= FEW => {
                let oldest = clients.iter().map(|client| oldest(&self.connection, &tables, Some(*client)));
                Ok(oldest.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().min())
            }
            _ => Ok(oldest(&self.connection, &tables, None)?),
        }
    }

    fn newest(&self) -> Result<i64, rusqlite::Error> {
        let sql =
            "SELECT max(ifnull((SELECT max(id) FROM passed), 0), ifnull((SELECT max(id) FROM failed), 0))";
        self.connection.query_row(sql, [], |row| row.get(0))
    }

    fn result<T>(mut self, found: T, next: Option<i64>) -> Result<Found<T>, SearchError> {
        // What remains is short, and the time may be over.
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        // A client without lookups may have asked nothing: then the history of all clients counts.
        let from = match self.oldest()? {
            Some(oldest) => oldest,
            None => oldest(&self.connection, &["passed", "failed"], None)?
                .map_or(self.began, |oldest| oldest.min(self.began)),
        };
        let from = Some(time(from));
        let clients = match &self.wanted {
            None => String::new(),
            Some(clients) => among("client", &clients.iter().copied().chain([NO_CLIENT]).collect::<Vec<_>>()),
        };
        let sql = format!("SELECT EXISTS (SELECT 1 FROM sampled WHERE minute BETWEEN ?1 AND ?2{clients})");
        let (since, until) = self.range;
        let is_sampled =
            self.connection.query_row(&sql, params![since / 60_000, until / 60_000], |row| row.get(0))?;
        Ok(Found { found, from, is_sampled, next })
    }

    fn name(&self, id: i64) -> Result<String, SearchError> {
        if id == NO_NAME {
            return Ok("*".to_owned());
        }
        let sql = "SELECT reversed FROM name WHERE id = ?1";
        let name = self.connection.query_row(sql, [id], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        Ok(name.and_then(|name| restored(&name)).map_or_else(|| "*".to_owned(), |name| name.to_string()))
    }

    fn show(&self, row: &Row) -> Result<FoundLookup, SearchError> {
        let kind = self.kinds.get(&row.kind);
        let text = |value: fn(&Kind) -> &String| kind.map(value).cloned().unwrap_or_default();
        let optional = |value: fn(&Kind) -> &String| Some(text(value)).filter(|text| !text.is_empty());
        Ok(FoundLookup {
            time: time(row.first()),
            last: time(row.last()),
            count: row.count as u64,
            client: self.clients.get(&row.client).map(ToString::to_string),
            group: optional(|kind| &kind.group),
            name: self.name(row.name)?,
            qtype: match u16::try_from(row.qtype) {
                Ok(qtype @ 1..) => Type(qtype).to_string(),
                _ => "*".to_owned(),
            },
            decision: text(|kind| &kind.decision),
            reason: optional(|kind| &kind.reason),
            rule: optional(|kind| &kind.rule),
            place: optional(|kind| &kind.place),
            rcode: text(|kind| &kind.rcode),
            source: text(|kind| &kind.source),
            upstream: optional(|kind| &kind.upstream),
        })
    }
}

/// The condition that `column` has one of `values`.
fn among(column: &str, values: &[i64]) -> String {
    if let [value] = values {
        return format!(" AND {column} = {value}");
    }
    let values: Vec<String> = values.iter().map(i64::to_string).collect();
    format!(" AND {column} IN (SELECT value FROM json_each('[{}]'))", values.join(","))
}

/// The first bytes after all that begin with `prefix`; none if there are none.
fn next_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}
