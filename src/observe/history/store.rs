//! [`Store`]: the database and what is written to it.
//!
//! The tables `passed` (allowed lookups) and `failed` (all others) have the same columns. A row's id is the time of its
//! first lookup in milliseconds since 1970, times [`PER_MILLISECOND`]; so a time range is a range of ids. Names, clients
//! and kinds are written once, in tables of their own.
//!
//! Two processes may write at once, while one replaces the other: each sees in [`Store::refresh`] that the other has
//! written. A rollback journal is used in place of a write-ahead log, which needs memory shared through a file: whoever
//! shortened that file would end this process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::Place;
use super::open_rows::{Kind, OpenRow, RowKey};
use crate::events::outcome::LookupClass;
use crate::observe::client::ShownClient;
use crate::util::label::Label;
use crate::util::own_file;

/// Marks a file as a history of namegate: `nghi`.
const APPLICATION: i32 = 0x6e67_6869;

/// Version of the schema. A file of another version is set aside.
const VERSION: i32 = 1;

/// Row ids per millisecond.
pub(super) const PER_MILLISECOND: i64 = 256;

/// Ids of less than a second: how far a row's id may be from its time.
const NEAR: i64 = 1 << 17;

/// Most clients; lookups of further ones are stored without their client.
const CLIENTS: usize = 1 << 14;

/// The number of a client that is not shown; in `sampled`, all clients.
pub(super) const NO_CLIENT: i64 = 0;

/// Time that a write waits for searches, and for another process.
const BUSY: Duration = Duration::from_secs(3);

const PAGE: u64 = 4096;

/// Pages in memory; negative: in KiB.
const CACHE: i32 = -8192;

/// The part of the size that the journal of one transaction may take.
const JOURNAL_PART: u64 = 8;

/// Pages that one row may change: in its table, in two indexes, and in the index of names.
const PAGES_PER_ROW: u64 = 4;

/// Most rows in one transaction.
const ROWS_AT_ONCE: u64 = 2000;

/// A client keeps its allowed lookups as long as they are less than this part of its rows.
const ALLOWED_PART: u64 = 4;

const SCHEMA: &str = "
CREATE TABLE client (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
CREATE TABLE name (id INTEGER PRIMARY KEY, reversed BLOB NOT NULL UNIQUE);
CREATE TABLE kind (id INTEGER PRIMARY KEY, class TEXT NOT NULL, decision TEXT NOT NULL, reason TEXT NOT NULL,
    rule TEXT NOT NULL, place TEXT NOT NULL, rcode TEXT NOT NULL, source TEXT NOT NULL, upstream TEXT NOT NULL,
    client_group TEXT NOT NULL);
CREATE TABLE passed (id INTEGER PRIMARY KEY, span INTEGER NOT NULL, count INTEGER NOT NULL, client INTEGER NOT NULL,
    name INTEGER NOT NULL, type INTEGER NOT NULL, kind INTEGER NOT NULL);
CREATE INDEX passed_client ON passed (client);
CREATE INDEX passed_name ON passed (name);
CREATE TABLE failed (id INTEGER PRIMARY KEY, span INTEGER NOT NULL, count INTEGER NOT NULL, client INTEGER NOT NULL,
    name INTEGER NOT NULL, type INTEGER NOT NULL, kind INTEGER NOT NULL);
CREATE INDEX failed_client ON failed (client);
CREATE INDEX failed_name ON failed (name);
CREATE TABLE sampled (minute INTEGER NOT NULL, client INTEGER NOT NULL, PRIMARY KEY (minute, client)) WITHOUT ROWID;
";

/// The table of a class.
pub(super) fn table(class: LookupClass) -> &'static str {
    match class {
        LookupClass::Allowed => "passed",
        LookupClass::Blocked | LookupClass::Errors | LookupClass::Other => "failed",
    }
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// SQLite says so.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system says so.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Other users could change it.
    #[error("{0}")]
    Untrusted(String),
    /// It is a database, but not one that this version writes.
    #[error("it is not a history that this version of namegate writes")]
    Foreign,
    /// It was removed or replaced.
    #[error("it was removed")]
    Removed,
}

impl StoreError {
    /// True if only a new file helps.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Foreign => true,
            Self::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                // Unknown: tables or columns are missing.
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
            ),
            Self::Io(_) | Self::Untrusted(_) | Self::Removed => false,
        }
    }
}

/// Opens the database; `create` says whether it may be created.
pub(super) fn connect(place: &Place, create: bool) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match place {
        Place::File(path) => {
            let distrust = |error: own_file::UntrustedFileError| {
                let remedy =
                    error.remedy(path).map(|remedy| format!("\n  help: {remedy}")).unwrap_or_default();
                StoreError::Untrusted(format!("{error}{remedy}"))
            };
            if !own_file::check_file(path).map_err(distrust)? {
                if !create {
                    return Err(StoreError::Removed);
                }
                own_file::create_private(path)?;
            }
            Connection::open_with_flags(path, flags)?
        }
        Place::Memory(name) => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE;
            Connection::open_with_flags(format!("file:/{name}?vfs=memdb"), flags)?
        }
    };
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Moves a broken database out of the way.
pub(super) fn set_aside(place: &Place) -> std::io::Result<()> {
    if let Place::File(path) = place {
        fs::rename(path, path.with_extension("unreadable"))?;
        // The journal of the broken file must not be played into the next one.
        match fs::remove_file(journal(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn journal(path: &Path) -> std::path::PathBuf {
    path.with_extension("sqlite-journal")
}

/// The database, open for writing.
pub(super) struct Store {
    connection: Connection,
    place: Place,
    /// Device and inode of the file.
    file: Option<(u64, u64)>,
    max_pages: u64,
    /// Changes if another process has written.
    version: i64,
    clients: HashMap<ShownClient, i64>,
    kinds: HashMap<Arc<Kind>, i64>,
    /// Rows of each client in `passed` and `failed`.
    held: HashMap<i64, [u64; 2]>,
    last_id: i64,
}

impl Store {
    /// Opens or creates the database, which will have at most `max_bytes` with its journal.
    pub(super) fn open(place: &Place, max_bytes: u64) -> Result<Self, StoreError> {
        let mut connection = connect(place, true)?;
        let mode = if matches!(place, Place::File(_)) { "truncate" } else { "memory" };
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.pragma_update_and_check(None, "journal_mode", mode, |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let is_new = number("schema_version")? == 0;
        if is_new {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        } else if (number("application_id")?, number("user_version")?) != (APPLICATION, VERSION) {
            return Err(StoreError::Foreign);
        }
        transaction.commit()?;
        let max_pages = max_bytes / PAGE - max_bytes / PAGE / JOURNAL_PART;
        connection.pragma_update_and_check(None, "max_page_count", max_pages as i64, |_| Ok(()))?;
        let mut store = Self {
            connection,
            place: place.clone(),
            file: identity(place),
            max_pages,
            version: 0,
            clients: HashMap::new(),
            kinds: HashMap::new(),
            held: HashMap::new(),
            last_id: 0,
        };
        store.refresh()?;
        Ok(store)
    }

    /// Most rows that one transaction may write or delete, so that its journal stays small.
    pub(super) fn rows_at_once(&self) -> usize {
        (self.max_pages / (JOURNAL_PART - 1) / PAGES_PER_ROW).clamp(1, ROWS_AT_ONCE) as usize
    }

    /// Fails if the file was removed or replaced; reads again what another process has changed.
    pub(super) fn refresh(&mut self) -> Result<(), StoreError> {
        if self.file != identity(&self.place) {
            return Err(StoreError::Removed);
        }
        let version = self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if version == self.version {
            return Ok(());
        }
        let mut clients = HashMap::new();
        each(&self.connection, "SELECT address, id FROM client", |row| {
            if let Ok(client) = row.get_ref(0)?.as_str().unwrap_or_default().parse() {
                clients.insert(client, row.get(1)?);
            }
            Ok(())
        })?;
        let mut held = HashMap::<i64, [u64; 2]>::new();
        for (place, table) in ["passed", "failed"].into_iter().enumerate() {
            let sql = format!("SELECT client, count(*) FROM {table} GROUP BY client");
            each(&self.connection, &sql, |row| {
                held.entry(row.get(0)?).or_default()[place] = row.get::<_, i64>(1)? as u64;
                Ok(())
            })?;
        }
        let kinds =
            read_kinds(&self.connection)?.into_iter().map(|(id, kind)| (Arc::new(kind), id)).collect();
        (self.clients, self.held, self.kinds, self.version) = (clients, held, kinds, version);
        Ok(())
    }

    /// Writes rows, at most [`Store::rows_at_once`]; returns their ids.
    pub(super) fn write(&mut self, rows: &[(RowKey, Arc<Kind>, OpenRow)]) -> Result<Vec<i64>, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut ids = Vec::with_capacity(rows.len());
        {
            let mut names = Names::prepare(&transaction)?;
            let tables = ["passed", "failed"];
            let sql = |table| format!("UPDATE {table} SET span = ?2, count = ?3 WHERE id = ?1");
            let mut updates = [transaction.prepare(&sql(tables[0]))?, transaction.prepare(&sql(tables[1]))?];
            let sql = |table| format!("INSERT OR IGNORE INTO {table} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
            let mut inserts = [transaction.prepare(&sql(tables[0]))?, transaction.prepare(&sql(tables[1]))?];
            for (key, kind, row) in rows {
                let place = usize::from(kind.class != LookupClass::Allowed);
                let (span, count) =
                    ((row.last - row.first).max(0), i64::try_from(row.count).unwrap_or(i64::MAX));
                if let Some(id) = row.id
                    && updates[place].execute(params![id, span, count])? > 0
                {
                    ids.push(id);
                    continue;
                }
                let client = client_id(&transaction, &mut self.clients, key.client)?;
                let kind = kind_id(&transaction, &mut self.kinds, kind)?;
                let (name, qtype) = match &key.question {
                    Some((name, qtype)) => (names.id(name)?, i64::from(qtype.0)),
                    None => (NO_NAME, 0),
                };
                let mut id = row.first * PER_MILLISECOND;
                // Many rows may begin in one millisecond: do not try all ids that they have.
                if (id..id + NEAR).contains(&self.last_id) {
                    id = self.last_id + 1;
                }
                while inserts[place].execute(params![id, span, count, client, name, qtype, kind])? == 0 {
                    id += 1;
                }
                self.last_id = id;
                self.held.entry(client).or_default()[place] += 1;
                ids.push(id);
            }
        }
        transaction.commit()?;
        Ok(ids)
    }

    /// Marks the minutes in which lookups of these clients, or of all, are not complete.
    pub(super) fn mark(&mut self, sampled: &HashSet<(Option<ShownClient>, i64)>) -> Result<(), StoreError> {
        if sampled.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut mark = transaction.prepare("INSERT OR IGNORE INTO sampled VALUES (?1, ?2)")?;
            for (client, minute) in sampled {
                let client = client_id(&transaction, &mut self.clients, *client)?;
                mark.execute(params![minute, client])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Deletes some lookups before `oldest` or after `newest`, in milliseconds since 1970; returns how many.
    pub(super) fn delete_outside(&mut self, oldest: i64, newest: i64) -> Result<usize, StoreError> {
        let (oldest, newest) =
            (oldest.saturating_mul(PER_MILLISECOND), newest.saturating_mul(PER_MILLISECOND));
        let most = self.rows_at_once();
        let mut deleted = 0;
        for condition in [format!("id < {oldest}"), format!("id > {newest}")] {
            for place in [0, 1] {
                deleted += self.delete(place, &format!("{condition} ORDER BY id LIMIT {most}"))?;
            }
        }
        if deleted > 0 {
            let minute = oldest / PER_MILLISECOND / 60_000;
            self.connection.execute("DELETE FROM sampled WHERE minute < ?1", [minute])?;
        }
        Ok(deleted)
    }

    /// If the database is nearly full, deletes the oldest lookups of the client that has most; allowed ones first, as
    /// long as they are a quarter of its rows. Returns how many.
    pub(super) fn delete_most(&mut self) -> Result<usize, StoreError> {
        let (pages, free) = self.pages()?;
        if pages > self.max_pages && free > 0 {
            // The limit was lowered.
            each(&self.connection, "PRAGMA incremental_vacuum(1000)", |_| Ok(()))?;
        }
        if (pages - free) * 10 < self.max_pages * 9 {
            return Ok(0);
        }
        let most = self.held.iter().max_by_key(|(_, [passed, failed])| passed + failed);
        let Some((&client, &[passed, failed])) = most else { return Ok(0) };
        let place = usize::from(passed * ALLOWED_PART < passed + failed);
        let limit = self.rows_at_once();
        self.delete(place, &format!("client = {client} ORDER BY id LIMIT {limit}"))
    }

    /// Deletes the rows that `which` selects, and the names and clients that no row has any longer.
    fn delete(&mut self, place: usize, which: &str) -> Result<usize, StoreError> {
        let table = ["passed", "failed"][place];
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut names, mut clients, mut count) = (HashSet::new(), BTreeMap::<i64, u64>::new(), 0);
        let sql = format!(
            "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {which}) RETURNING name, client"
        );
        each(&transaction, &sql, |row| {
            names.insert(row.get::<_, i64>(0)?);
            *clients.entry(row.get(1)?).or_default() += 1;
            count += 1;
            Ok(())
        })?;
        {
            let mut forget = transaction.prepare(
                "DELETE FROM name WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM passed WHERE name = ?1) AND NOT EXISTS \
                 (SELECT 1 FROM failed WHERE name = ?1)",
            )?;
            for name in names {
                forget.execute([name])?;
            }
        }
        for (client, count) in clients {
            let Some(held) = self.held.get_mut(&client) else { continue };
            held[place] = held[place].saturating_sub(count);
            if *held == [0, 0] {
                self.held.remove(&client);
                self.clients.retain(|_, id| *id != client);
                transaction.execute("DELETE FROM client WHERE id = ?1", [client])?;
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    /// Pages of the database, and how many of them are free.
    fn pages(&self) -> Result<(u64, u64), StoreError> {
        let number = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        Ok((number("page_count")? as u64, number("freelist_count")? as u64))
    }

    /// Number of rows, bytes of the database, and the time of the oldest row in milliseconds since 1970; 0 if empty.
    pub(super) fn size(&self) -> Result<(u64, u64, i64), StoreError> {
        let rows = self.held.values().flatten().sum();
        let oldest = oldest(&self.connection, &["passed", "failed"], None)?;
        Ok((rows, self.pages()?.0 * PAGE, oldest.unwrap_or(0)))
    }
}

/// The time of the oldest row in `tables`, in milliseconds since 1970; only of `client`, if there is one.
pub(super) fn oldest(
    connection: &Connection,
    tables: &[&str],
    client: Option<i64>,
) -> Result<Option<i64>, rusqlite::Error> {
    let of_client = client.map(|client| format!(" WHERE client = {client}")).unwrap_or_default();
    let mut oldest: Option<i64> = None;
    for table in tables {
        let sql = format!("SELECT min(id) FROM {table}{of_client}");
        let id: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
        oldest = [oldest, id].into_iter().flatten().min();
    }
    Ok(oldest.map(|id| id / PER_MILLISECOND))
}

/// Number of the name that stands for all further names of a client.
pub(super) const NO_NAME: i64 = 0;

/// Finds and adds names.
struct Names<'c> {
    find: rusqlite::Statement<'c>,
    add: rusqlite::Statement<'c>,
}

impl<'c> Names<'c> {
    fn prepare(connection: &'c Connection) -> Result<Self, rusqlite::Error> {
        let find = connection.prepare("SELECT id FROM name WHERE reversed = ?1")?;
        let add = connection.prepare("INSERT INTO name (reversed) VALUES (?1) RETURNING id")?;
        Ok(Self { find, add })
    }

    fn id(&mut self, name: &[u8]) -> Result<i64, rusqlite::Error> {
        match self.find.query_row([name], |row| row.get(0)).optional()? {
            Some(id) => Ok(id),
            None => self.add.query_row([name], |row| row.get(0)),
        }
    }
}

fn client_id(
    transaction: &Transaction<'_>,
    known: &mut HashMap<ShownClient, i64>,
    client: Option<ShownClient>,
) -> Result<i64, rusqlite::Error> {
    let Some(client) = client else { return Ok(NO_CLIENT) };
    if let Some(id) = known.get(&client) {
        return Ok(*id);
    }
    if known.len() >= CLIENTS {
        return Ok(NO_CLIENT);
    }
    let sql = "INSERT INTO client (address) VALUES (?1) RETURNING id";
    let id = transaction.query_row(sql, [client.to_string()], |row| row.get(0))?;
    known.insert(client, id);
    Ok(id)
}

fn kind_id(
    transaction: &Transaction<'_>,
    known: &mut HashMap<Arc<Kind>, i64>,
    kind: &Arc<Kind>,
) -> Result<i64, rusqlite::Error> {
    if let Some(id) = known.get(kind) {
        return Ok(*id);
    }
    let sql = "INSERT INTO kind (class, decision, reason, rule, place, rcode, source, upstream, client_group) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id";
    let Kind { class, decision, reason, rule, place, rcode, source, upstream, group } = &**kind;
    let values = params![class.label(), decision, reason, rule, place, rcode, source, upstream, group];
    let id = transaction.query_row(sql, values, |row| row.get(0))?;
    known.insert(Arc::clone(kind), id);
    Ok(id)
}

/// All kinds, by their numbers.
pub(super) fn read_kinds(connection: &Connection) -> Result<HashMap<i64, Kind>, rusqlite::Error> {
    let mut kinds = HashMap::new();
    let sql =
        "SELECT id, class, decision, reason, rule, place, rcode, source, upstream, client_group FROM kind";
    each(connection, sql, |row| {
        let class: String = row.get(1)?;
        let kind = Kind {
            // A class that this version does not know is an error of some kind.
            class: class.parse().unwrap_or(LookupClass::Errors),
            decision: row.get(2)?,
            reason: row.get(3)?,
            rule: row.get(4)?,
            place: row.get(5)?,
            rcode: row.get(6)?,
            source: row.get(7)?,
            upstream: row.get(8)?,
            group: row.get(9)?,
        };
        kinds.insert(row.get(0)?, kind);
        Ok(())
    })?;
    Ok(kinds)
}

/// Passes each row of a query to `take`.
pub(super) fn each(
    connection: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), rusqlite::Error>,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn identity(place: &Place) -> Option<(u64, u64)> {
    match place {
        Place::File(path) => fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino())),
        Place::Memory(_) => None,
    }
}
