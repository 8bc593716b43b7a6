//! [`History`]: past lookups in an SQLite database, to search.
//!
//! The event log passes lookups through a [`HistoryFeed`] to a thread of its own, so that neither queries nor the query
//! log wait for the disk. Its `Recorder` merges equal lookups into rows (`open_rows`) and writes
//! those to the database (`store`). A search ([`search`]) opens the database itself.

pub mod open_rows;
pub mod recorder;
pub mod search;
mod store;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::config::{ClientAddress, Settings};
use crate::engine::State;
use crate::events::event::QueryEvent;
use crate::util::log_event::log;
use crate::util::sync::lock;
use recorder::Recorder;

/// The file in the state directory.
pub const FILE: &str = "history.sqlite";

/// Largest size in memory, for a resolver without a state directory.
const MEMORY: u64 = 32 << 20;

/// Lookups waiting for the history thread, of 0.4 KiB each.
const QUEUE: usize = 4096;

/// Pause between two reads of the queue: it holds 200,000 lookups a second.
const POLL: Duration = Duration::from_millis(20);

/// Interval at which rows are written: how long a search may lag behind.
const WRITE: Duration = Duration::from_secs(2);

/// Interval at which a database that failed is opened again.
const RETRY: Duration = Duration::from_secs(10);

/// A difference between the clocks since the last write that counts as a jump of the wall clock.
const JUMP: Duration = Duration::from_secs(60);

/// Time after a jump of the wall clock in which nothing is deleted because of its age.
const SETTLE: Duration = Duration::from_secs(600);

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this file.
    File(PathBuf),
    /// In memory, under this name.
    Memory(String),
}

/// Past lookups. The history thread writes them, any thread searches.
#[derive(Debug)]
pub struct History {
    place: Place,
    max_age: Duration,
    max_bytes: u64,
    client: ClientAddress,
    began: SystemTime,
    rows: AtomicU64,
    bytes: AtomicU64,
    oldest: AtomicI64,
    lost: AtomicU64,
    problem: Mutex<Option<(String, SystemTime)>>,
}

/// What a history has, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryStatus {
    /// Rows in the database; a row stands for one lookup or for several equal ones.
    pub rows: u64,
    /// Bytes of the database.
    pub bytes: u64,
    /// Time of the oldest lookup.
    pub oldest: Option<SystemTime>,
    /// Lookups that are missing because the queue was full or nothing could be written.
    pub lost: u64,
    /// Why lookups cannot be written, and since when.
    pub problem: Option<(String, SystemTime)>,
}

impl History {
    /// The history that `settings` describe; none if it is off.
    pub fn of(settings: &Settings) -> Option<Arc<Self>> {
        let is_on = settings.admin.listen.is_some() && !settings.history.max_age.is_zero();
        let max_bytes = settings.history.max_size.as_u64();
        let (place, max_bytes) = match &settings.server.state_directory {
            Some(directory) => (Place::File(directory.join(FILE)), max_bytes),
            None => (Place::Memory(format!("{:016x}", rand::random::<u64>())), max_bytes.min(MEMORY)),
        };
        is_on.then(|| Arc::new(Self::new(place, settings.history.max_age, max_bytes, settings.log.client)))
    }

    /// A history with lookups of the last `max_age`, in at most `max_bytes`; clients are shown as `client` says.
    pub fn new(place: Place, max_age: Duration, max_bytes: u64, client: ClientAddress) -> Self {
        let (rows, bytes, oldest, lost) = Default::default();
        let (began, problem) = (SystemTime::now(), Mutex::default());
        Self { place, max_age, max_bytes, client, began, rows, bytes, oldest, lost, problem }
    }

    /// What it has, and what is wrong with it.
    pub fn status(&self) -> HistoryStatus {
        let oldest = self.oldest.load(Ordering::Relaxed);
        HistoryStatus {
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            oldest: (oldest > 0).then(|| time(oldest)),
            lost: self.lost.load(Ordering::Relaxed),
            problem: lock(&self.problem).clone(),
        }
    }

    /// Starts the history thread, which ends with its feed; rules are looked up in `state`.
    pub fn start(self: &Arc<Self>, state: Arc<ArcSwap<State>>) -> std::io::Result<HistoryFeed> {
        let (queue, events) = RingBuffer::new(QUEUE);
        let recorder = Recorder::new(Arc::clone(self));
        let thread = std::thread::Builder::new().name("history".to_owned());
        let thread = thread.spawn(move || record(recorder, events, &state))?;
        Ok(HistoryFeed { queue, history: Arc::clone(self), thread })
    }

    fn lose(&self, lookups: u64) {
        self.lost.fetch_add(lookups, Ordering::Relaxed);
    }

    /// Logs a problem once, until it is solved or another one.
    fn note(&self, problem: Option<String>) {
        let mut noted = lock(&self.problem);
        match (&*noted, problem) {
            (None, None) => {}
            (Some(_), None) => {
                *noted = None;
                log!(HistoryRecovered, "the history of lookups is written again");
            }
            (Some((known, _)), Some(problem)) if *known == problem => {}
            (_, Some(problem)) => {
                log!(HistoryFailed, "the history of lookups is not written: {problem}");
                *noted = Some((problem, SystemTime::now()));
            }
        }
    }
}

/// Passes lookups to the history thread.
pub struct HistoryFeed {
    queue: Producer<HistoryEvent>,
    history: Arc<History>,
    thread: JoinHandle<()>,
}

/// A lookup with its wall-clock time.
struct HistoryEvent {
    event: QueryEvent,
    time: SystemTime,
}

impl HistoryFeed {
    /// Adds a lookup that was received at wall-clock time `time`. If the queue is full, it is lost and counted.
    pub fn add(&mut self, event: &QueryEvent, time: SystemTime) {
        if self.queue.push(HistoryEvent { event: event.without_messages(), time }).is_err() {
            self.history.lose(event.weight.into());
        }
    }

    /// Waits until everything is written.
    pub fn finish(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

fn record(mut recorder: Recorder, mut events: Consumer<HistoryEvent>, state: &ArcSwap<State>) {
    let mut clock = SettledClock::new(Instant::now(), SystemTime::now());
    let mut due = Instant::now();
    loop {
        let ended = events.is_abandoned();
        let state = state.load();
        while let Ok(HistoryEvent { event, time }) = events.pop() {
            recorder.add(&event, time, &state.policies);
        }
        drop(state);
        let now = Instant::now();
        if now >= due || ended {
            let is_settled = clock.is_settled(now, SystemTime::now());
            let pause = if recorder.write(SystemTime::now(), is_settled) { WRITE } else { RETRY };
            due = Instant::now() + pause;
        }
        if ended {
            return;
        }
        std::thread::sleep(POLL);
    }
}

/// Notices jumps of the wall clock, so that a wrong time does not delete the history.
struct SettledClock {
    steady: Instant,
    day: SystemTime,
    jumped: Option<Instant>,
}

impl SettledClock {
    fn new(steady: Instant, day: SystemTime) -> Self {
        Self { steady, day, jumped: None }
    }

    /// True if the wall clock has not jumped lately.
    fn is_settled(&mut self, steady: Instant, day: SystemTime) -> bool {
        let expected = self.day + steady.saturating_duration_since(self.steady);
        let off = day.duration_since(expected).unwrap_or_else(|earlier| earlier.duration());
        (self.steady, self.day) = (steady, day);
        if off > JUMP {
            self.jumped = Some(steady);
        }
        self.jumped.is_none_or(|jumped| steady.saturating_duration_since(jumped) >= SETTLE)
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time `millis` after 1970.
fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests;
