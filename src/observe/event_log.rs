//! [`EventLog`]: drains the event queues of all threads and passes the events on.
//!
//! One thread does this, off the packet path: it writes the query log, feeds dnstap, and updates the [`LiveStats`] for
//! the status page. It polls the queues, so senders never have to wake it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use rtrb::Consumer;

use super::client::ShownClient;
use super::clock::WallClock;
use super::dnstap::{self, DnstapOutput, DnstapStats};
use super::query_log::QueryLog;
use crate::config::{ClientAddress, Settings};
use crate::engine::State;
use crate::events::counters::Counters;
use crate::events::event::QueryEvent;
use crate::events::outcome::Decision;
use crate::events::sender::{EventSender, Interest};
use crate::observe::history::HistoryFeed;
use crate::observe::live_stats::LiveStats;
use crate::policy::Policies;
use crate::util::label::Label;

/// Pause after a poll with few events. 200 polls a second cost little, and a queue takes longer to fill.
const IDLE: Duration = Duration::from_millis(5);

/// Pause under load, when queues could overflow within [`IDLE`].
const BUSY: Duration = Duration::from_millis(1);

/// Events per poll that count as load: an eighth of a queue.
const MANY: usize = 256;

/// Most events read from one queue per poll.
const BATCH: usize = 1024;

/// Interval for updating the clock and checking the dnstap connection.
const TEND: Duration = Duration::from_millis(100);

/// The consumer of all event queues.
pub struct EventLog {
    interest: Interest,
    queues: Vec<Consumer<QueryEvent>>,
    state: Arc<ArcSwap<State>>,
    live: Arc<LiveStats>,
    log: QueryLog,
    dnstap: Option<DnstapOutput>,
    history: Option<HistoryFeed>,
    client: ClientAddress,
    losses: Losses,
}

/// Counters of lost events, log lines and dnstap frames.
#[derive(Clone)]
pub struct Losses {
    /// Events lost because a queue was full.
    pub queue: Arc<AtomicU64>,
    /// Query log lines that could not be written.
    pub log: Arc<AtomicU64>,
    /// dnstap frames sent, and frames lost; `None` if dnstap is off.
    pub dnstap: Option<Arc<DnstapStats>>,
}

impl EventLog {
    /// Creates the event log that `settings` describe. The query log uses `stdout` as standard output; rules are looked
    /// up in `state`.
    ///
    /// Errors: the query log file cannot be opened.
    pub fn new(
        settings: &Settings,
        state: Arc<ArcSwap<State>>,
        live: Arc<LiveStats>,
        stdout: Box<dyn io::Write + Send>,
    ) -> io::Result<Self> {
        let log = QueryLog::open(&settings.log, stdout)?;
        let version = concat!("namegate ", env!("CARGO_PKG_VERSION"));
        let dnstap = settings
            .dnstap
            .socket
            .as_ref()
            .map(|socket| DnstapOutput::new(socket, &settings.server.identity, version));
        let losses = Losses {
            queue: Arc::default(),
            log: Arc::clone(log.errors()),
            dnstap: dnstap.as_ref().map(DnstapOutput::stats),
        };
        let (interest, client) = (Interest::of(settings), settings.log.client);
        let (queues, history) = (Vec::new(), None);
        Ok(Self { interest, queues, state, live, log, dnstap, history, client, losses })
    }

    /// Counters of lost events, log lines and dnstap frames.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Passes lookups to `feed` too.
    #[must_use]
    pub fn with_history(self, feed: Option<HistoryFeed>) -> Self {
        Self { history: feed, ..self }
    }

    /// Creates the sender for a new thread.
    pub fn sender(&mut self, counters: Arc<Counters>) -> EventSender {
        let (sender, events) = EventSender::new(counters, self.interest, Arc::clone(&self.losses.queue));
        self.queues.push(events);
        sender
    }

    /// Starts the thread. It ends when all senders are dropped and everything is written.
    pub fn start(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("event-log".to_owned()).spawn(move || self.run())
    }

    fn run(mut self) {
        let mut clock = WallClock::new(Instant::now(), SystemTime::now());
        let mut tended = Instant::now();
        if let Some(dnstap) = &mut self.dnstap {
            dnstap.tend(tended);
        }
        loop {
            // Check before draining: if all senders are gone now, this drain gets the last events.
            let ended = self.queues.iter().all(Consumer::is_abandoned);
            let taken = self.take(&mut clock);
            let now = Instant::now();
            if now.duration_since(tended) >= TEND {
                tended = now;
                clock.set(now, SystemTime::now());
                if let Some(dnstap) = &mut self.dnstap {
                    dnstap.tend(now);
                }
            }
            if taken == 0 && ended {
                break;
            }
            if taken < BATCH {
                self.log.flush();
                std::thread::sleep(if taken < MANY { IDLE } else { BUSY });
            }
        }
        if let Some(dnstap) = self.dnstap {
            dnstap.finish();
        }
        self.log.finish();
        if let Some(history) = self.history {
            history.finish();
        }
    }

    /// Drains the queues; returns the number of events.
    fn take(&mut self, clock: &mut WallClock) -> usize {
        let state = self.state.load();
        let now = Instant::now();
        let mut taken = 0;
        for queue in &mut self.queues {
            let Ok(chunk) = queue.read_chunk(queue.slots().min(BATCH)) else { continue };
            taken += chunk.len();
            let (first, second) = chunk.as_slices();
            let is_shown = |event: &&QueryEvent| event.weight > 0 && event.record.is_blocked();
            let shown = |events: &[QueryEvent]| events.iter().filter(is_shown).count();
            let mut remaining = shown(first) + shown(second);
            for event in first.iter().chain(second) {
                if event.logged {
                    self.log.write(event, &state.policies, clock);
                }
                if let Some(dnstap) = self.dnstap.as_mut().filter(|_| event.tapped) {
                    tap(dnstap, event, &state.policies, clock, self.client);
                }
                if let Some(history) = self.history.as_mut().filter(|_| event.weight > 0) {
                    history.add(event, clock.time(event.received));
                }
                if is_shown(&event) {
                    remaining -= 1;
                    self.live.add(event, remaining, now, clock.time(event.received));
                }
            }
            chunk.commit_all();
        }
        taken
    }
}

fn tap(
    dnstap: &mut DnstapOutput,
    event: &QueryEvent,
    policies: &Policies,
    clock: &WallClock,
    shown: ClientAddress,
) {
    let Some(messages) = &event.messages else { return };
    let client = ShownClient::of(event.client.ip(), shown).map(|client| client.socket(event.client));
    let blocked = event.record.decision == Decision::Blocked;
    let rule = event.record.rule.and_then(|rule| rule.find(policies)).map(|rule| rule.to_string());
    dnstap.write(&dnstap::DnstapEvent {
        client,
        transport: event.transport,
        server: None,
        queried: clock.time(event.received),
        responded: clock.time(event.received + event.elapsed),
        request: &messages.request,
        reply: &messages.reply,
        blocked: rule.as_deref().or_else(|| event.record.reason.map(Label::label)).filter(|_| blocked),
    });
}

impl Losses {
    /// Events missing from the query log: a queue was full, or the line could not be written.
    pub fn log(&self) -> u64 {
        self.queue.load(Ordering::Relaxed) + self.log.load(Ordering::Relaxed)
    }
}
