//! [`QueryLog`]: one line per lookup worth telling, written by a thread of its own.
//!
//! The packet path only puts a fixed-size note into a bounded queue; when the queue is full the note is lost and
//! counted, never waited for.

use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::config::{LogFormat, LogQueries};
use crate::gate::{Client, State};
use crate::policy::{Policy, Reason, RuleRef};
use crate::wire::query::Question;
use crate::wire::reply::Transport;

/// Notes the queue holds: at 100,000 blocked lookups a second, 40 ms for the writer to catch its breath.
const QUEUE: usize = 4096;

/// What happened to a lookup.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A rule allows it.
    Allowed,
    /// A local zone answers it.
    Local,
    /// Its class or type is never forwarded.
    Refused,
    /// It was blocked.
    Blocked(Cause),
    /// It would have been blocked.
    Observed(Cause),
}

/// Why, in a form that can outlive the policy: the rule is looked up again when the line is written.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    reason: &'static str,
    rule: Option<crate::policy::trie::RuleId>,
    generation: u64,
}

impl Event {
    /// The event of a blocked lookup.
    pub fn blocked(reason: &Reason<'_>, policy: &Policy) -> Self {
        Self::Blocked(Cause::new(reason, policy))
    }

    /// The event of a lookup that observe mode let pass.
    pub fn observed(reason: &Reason<'_>, policy: &Policy) -> Self {
        Self::Observed(Cause::new(reason, policy))
    }
}

impl Cause {
    fn new(reason: &Reason<'_>, policy: &Policy) -> Self {
        let rule = match reason {
            Reason::NotListed => None,
            Reason::Denied(rule) => Some(rule.id()),
        };
        Self { reason: reason.label(), rule, generation: policy.generation() }
    }

    fn rule<'p>(&self, policy: &'p Policy) -> Option<RuleRef<'p>> {
        policy.rule_by_id(self.rule?).filter(|_| policy.generation() == self.generation)
    }
}

struct Note {
    at: Instant,
    client: IpAddr,
    transport: Transport,
    question: Question,
    event: Event,
}

/// A thread's end of the queue.
#[derive(Clone)]
pub struct QueryLog {
    queue: SyncSender<Note>,
    wanted: LogQueries,
    lost: Arc<AtomicU64>,
}

impl QueryLog {
    /// Starts the writer, which ends when the last sender is dropped. Rules are named from `state`.
    pub fn start(
        wanted: LogQueries,
        format: LogFormat,
        state: Arc<ArcSwap<State>>,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, notes) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("query-log".to_owned())
            .spawn(move || write_all(&notes, format, &state, BufWriter::new(out)))?;
        Ok((Self { queue, wanted, lost: Arc::default() }, writer))
    }

    /// Notes a lookup, where such lookups are wanted.
    pub fn record(&self, client: Client, question: &Question, event: Event, now: Instant) {
        let wanted = match self.wanted {
            LogQueries::None => false,
            LogQueries::Blocked => matches!(event, Event::Blocked(_) | Event::Observed(_)),
            LogQueries::All => true,
        };
        if !wanted {
            return;
        }
        let address = client.address.ip().to_canonical();
        let note =
            Note { at: now, client: address, transport: client.transport, question: question.clone(), event };
        if self.queue.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lookups that were not written because the queue was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn write_all(notes: &Receiver<Note>, format: LogFormat, state: &ArcSwap<State>, mut out: impl Write) {
    loop {
        let note = match notes.try_recv() {
            Ok(note) => note,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                // What was written is shown before waiting for more.
                let _ = out.flush();
                let Ok(note) = notes.recv() else { break };
                note
            }
        };
        let state = state.load();
        let line = Line::of(&note, &state.policy);
        // A closed standard output must not end the gate.
        let _ = match format {
            LogFormat::Text => line.write_text(&mut out),
            LogFormat::Json => serde_json::to_writer(&mut out, &line).map_err(Into::into),
        }
        .and_then(|()| out.write_all(b"\n"));
    }
    let _ = out.flush();
}

/// One line, all of its text escaped: names by [`crate::wire::name::Name`]'s presentation form, JSON by serde.
#[derive(Serialize)]
struct Line {
    time: String,
    event: &'static str,
    client: IpAddr,
    proto: &'static str,
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Line {
    fn of(note: &Note, policy: &Policy) -> Self {
        let (event, cause) = match &note.event {
            Event::Allowed => ("allowed", None),
            Event::Local => ("local", None),
            Event::Refused => ("refused", None),
            Event::Blocked(cause) => ("blocked", Some(cause)),
            Event::Observed(cause) => ("observed", Some(cause)),
        };
        let rule = cause.and_then(|cause| cause.rule(policy));
        let time = SystemTime::now().checked_sub(note.at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            time: humantime::format_rfc3339_millis(time).to_string(),
            event,
            client: note.client,
            proto: note.transport.label(),
            name: note.question.name.to_string(),
            qtype: note.question.qtype.to_string(),
            reason: cause.map(|cause| cause.reason),
            rule: rule.map(|rule| rule.to_string()),
            place: rule.map(|rule| rule.place()),
        }
    }

    fn write_text(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { time, event, client, proto, name, qtype, .. } = self;
        write!(out, "{time} {event} client={client} proto={proto} name={name} type={qtype}")?;
        if let Some(reason) = self.reason {
            write!(out, " reason={reason}")?;
        }
        if let (Some(rule), Some(place)) = (&self.rule, &self.place) {
            write!(out, " rule={rule} place={place}")?;
        }
        Ok(())
    }
}
