//! [`Recorder`]: merges lookups, writes them to the database, and keeps it within its limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::open_rows::OpenRows;
use super::store::{Store, StoreError, set_aside};
use super::{History, Place, millis};
use crate::events::event::QueryEvent;
use crate::policy::Policies;

/// Longest time that lookups are deleted at once.
const DELETING: Duration = Duration::from_millis(500);

/// Merges lookups, writes them to the database, and keeps it within its limits.
pub struct Recorder {
    history: Arc<History>,
    rows: OpenRows,
    store: Option<Store>,
    lost: u64,
}

impl Recorder {
    /// A recorder of `history`; it opens the database at the first write.
    pub fn new(history: Arc<History>) -> Self {
        Self { history, rows: OpenRows::default(), store: None, lost: 0 }
    }

    /// Adds a lookup that was received at `time`.
    pub fn add(&mut self, event: &QueryEvent, time: SystemTime, policies: &Policies) {
        let lost = self.rows.add(event, millis(time), self.history.client, policies);
        if lost > 0 {
            self.history.lose(lost);
        }
    }

    /// Writes what has changed, and deletes what is too old or too much. While the wall clock is not settled, nothing
    /// is too old. False if it failed; then the next write tries again.
    pub fn write(&mut self, now: SystemTime, is_settled: bool) -> bool {
        let lost = self.history.lost.load(Ordering::Relaxed);
        if lost > self.lost {
            self.lost = lost;
            self.rows.note_sampled(None, millis(now));
        }
        let result = self.try_write(millis(now), is_settled);
        self.rows.close(millis(now));
        let Err(error) = result else {
            self.history.note(None);
            return true;
        };
        // The next write opens it again.
        self.store = None;
        let place = match &self.history.place {
            Place::File(path) => path.display().to_string(),
            Place::Memory(_) => "memory".to_owned(),
        };
        let problem = match error.is_broken().then(|| set_aside(&self.history.place)) {
            Some(Ok(())) => format!(
                "{place}: {error}\n  help: it is renamed to history.unreadable, and a new history begins; delete it if you \
                 do not need it"
            ),
            Some(Err(failed)) => {
                format!("{place}: {error}\n  help: move it away; renaming it failed: {failed}")
            }
            None => format!("{place}: {error}{}", remedy(&error)),
        };
        self.history.note(Some(problem));
        false
    }

    fn try_write(&mut self, now: i64, is_settled: bool) -> Result<(), StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(Store::open(&self.history.place, self.history.max_bytes)?),
        };
        store.refresh()?;
        let max_age = i64::try_from(self.history.max_age.as_millis()).unwrap_or(i64::MAX);
        if is_settled {
            let range = (now.saturating_sub(max_age), now.saturating_add(max_age));
            delete(|| store.delete_outside(range.0, range.1))?;
        }
        let (changed, sampled) = (self.rows.changed(), self.rows.take_sampled());
        for rows in changed.chunks(store.rows_at_once()) {
            delete(|| store.delete_most())?;
            let ids = store.write(rows)?;
            self.rows.note_written(rows.iter().map(|(key, _, _)| key).zip(ids));
        }
        store.mark(&sampled)?;
        let (rows, bytes, oldest) = store.size()?;
        self.history.rows.store(rows, Ordering::Relaxed);
        self.history.bytes.store(bytes, Ordering::Relaxed);
        self.history.oldest.store(oldest, Ordering::Relaxed);
        Ok(())
    }
}

/// Deletes until nothing is left to delete, or it takes too long.
fn delete(mut some: impl FnMut() -> Result<usize, StoreError>) -> Result<(), StoreError> {
    let began = Instant::now();
    while some()? > 0 && began.elapsed() < DELETING {}
    Ok(())
}

/// How to fix an error.
fn remedy(error: &StoreError) -> &'static str {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DiskFull, PermissionDenied, ReadOnly};
    match error {
        StoreError::Sqlite(error) => match error.sqlite_error_code() {
            Some(DiskFull) => {
                "\n  help: make room on the disk, or lower `history.max_size`; namegate tries again"
            }
            Some(DatabaseBusy) => {
                "\n  help: another process has locked it; end that process; namegate tries again"
            }
            Some(CannotOpen | PermissionDenied | ReadOnly) => {
                "\n  help: make `server.state_directory` writable for namegate; namegate tries again"
            }
            _ => "\n  help: check the disk; namegate tries again",
        },
        StoreError::Io(_) => {
            "\n  help: make `server.state_directory` writable for namegate; namegate tries again"
        }
        StoreError::Removed => "\n  help: namegate creates it again",
        StoreError::Untrusted(_) | StoreError::Foreign => "",
    }
}
