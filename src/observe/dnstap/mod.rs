//! [`DnstapOutput`]: every lookup and its reply as they were on the wire, for a reader on a Unix socket.
//!
//! A lookup is two messages, CLIENT_QUERY and CLIENT_RESPONSE, as Unbound, BIND, CoreDNS and dnsdist send them: readers
//! take the query from the one and the reply from the other, and neither outgrows the 96 KiB that Go readers accept.
//!
//! Frames are protobuf in Frame Streams, both written here. The crates `dnstap` and `framestream` know the one-way form
//! of the stream only, while readers on a Unix socket wait for READY; `dnstap` has no policy fields, writes replies
//! into the query's field and panics when its reader goes away. `prost` made a lookup cost 820 ns instead of 350 ns, and
//! what dnstap needs of protobuf is three kinds of fields.

mod backlog;
mod connection;
mod encoder;
mod protobuf;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backlog::Backlog;
use connection::DnstapConnection;
use encoder::Encoder;

pub use encoder::DnstapEvent;

/// Frames of one lookup.
const FRAMES: u64 = 2;

/// Octets of DNS messages after which the stream is tended although more lookups are waiting.
const TEND_AT: usize = 64 * 1024;

/// Time until the first new attempt to reach the reader; it doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest time between attempts to reach the reader.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How long [`DnstapOutput::finish`] takes at most.
const GOODBYE: Duration = Duration::from_millis(200);

/// Pause between attempts to send what is left at the end.
const BREATH: Duration = Duration::from_millis(1);

/// What became of the frames, for metrics.
#[derive(Debug, Default)]
pub struct DnstapStats {
    /// Frames handed to the reader's socket.
    pub frames: AtomicU64,
    /// Frames that no reader was there for, or that it did not take in time.
    pub lost: AtomicU64,
    /// Whether a reader is connected and has accepted the stream.
    pub connected: AtomicBool,
}

/// The writing end of a dnstap stream. No call waits for the reader, save [`Self::finish`].
#[derive(Debug)]
pub struct DnstapOutput {
    socket: PathBuf,
    encoder: Encoder,
    backlog: Backlog,
    connection: Option<DnstapConnection>,
    /// Octets of DNS messages since the stream was last tended.
    untended: usize,
    /// No attempt to connect is made before; none when none was made yet.
    retry_at: Option<Instant>,
    backoff: Duration,
    /// The log knows that there is no reader.
    outage_told: bool,
    stats: Arc<DnstapStats>,
}

impl DnstapOutput {
    /// A stream to the reader that listens at `socket`; the first [`Self::tend`] connects.
    ///
    /// `identity` and `version` go into every frame; an empty one is left out.
    pub fn new(socket: &Path, identity: &str, version: &str) -> Self {
        Self {
            socket: socket.to_owned(),
            encoder: Encoder::new(identity, version),
            backlog: Backlog::default(),
            connection: None,
            untended: 0,
            retry_at: None,
            backoff: FIRST_RETRY,
            outage_told: false,
            stats: Arc::default(),
        }
    }

    /// What became of the frames so far.
    pub fn stats(&self) -> Arc<DnstapStats> {
        Arc::clone(&self.stats)
    }

    /// Keeps the two frames of a lookup for the reader. They are lost and counted, both of them, where no reader is
    /// connected or the buffer is full.
    pub fn write(&mut self, lookup: &DnstapEvent<'_>) {
        let Self { encoder, backlog, connection, .. } = self;
        let kept = connection.is_some() && backlog.push(|out| encoder.encode(lookup, out));
        if !kept {
            self.stats.lost.fetch_add(FRAMES, Ordering::Relaxed);
        }
        self.untended += lookup.request.len() + lookup.reply.len();
        if self.untended >= TEND_AT {
            self.tend(Instant::now());
        }
    }

    /// Sends what the socket takes, and connects where that is due. To be called before the first lookup, whenever no
    /// lookup is waiting, and at least every 100 ms.
    pub fn tend(&mut self, now: Instant) {
        self.untended = 0;
        if let Err(error) = self.advance(now) {
            self.give_up(now, &error);
        }
    }

    /// Sends what is left, ends the stream and waits for the reader to confirm it; 200 ms at most.
    pub fn finish(mut self) {
        let deadline = Instant::now() + GOODBYE;
        while self.connection.is_some() {
            let now = Instant::now();
            self.tend(now);
            if now >= deadline || self.backlog.is_empty() && self.stats.connected.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(BREATH);
        }
        let accepted = self.stats.connected.swap(false, Ordering::Relaxed);
        // Where a frame went out in part, a STOP would be taken for the rest of it.
        if let Some(connection) = self.connection.take().filter(|_| accepted && self.backlog.is_empty()) {
            // The reader has every frame; whether it confirms that changes nothing.
            let _ = connection.finish(deadline);
        }
        self.stats.lost.fetch_add(self.backlog.discard(), Ordering::Relaxed);
    }

    fn advance(&mut self, now: Instant) -> std::io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None if self.retry_at.is_some_and(|at| now < at) => return Ok(()),
            none => none.insert(DnstapConnection::open(&self.socket, now)?),
        };
        if !connection.is_accepted(now)? {
            return Ok(());
        }
        if !self.stats.connected.swap(true, Ordering::Relaxed) {
            tracing::info!("dnstap: a reader is connected at {}", self.socket.display());
            (self.backoff, self.outage_told) = (FIRST_RETRY, false);
        }
        self.backlog.write_to(connection, &self.stats.frames)
    }

    fn give_up(&mut self, now: Instant, error: &std::io::Error) {
        self.connection = None;
        self.stats.connected.store(false, Ordering::Relaxed);
        self.stats.lost.fetch_add(self.backlog.discard(), Ordering::Relaxed);
        self.retry_at = Some(now + self.backoff);
        self.backoff = LAST_RETRY.min(self.backoff * 2);
        if !std::mem::replace(&mut self.outage_told, true) {
            tracing::warn!(
                "dnstap: no reader at {}: {error}; frames are lost until there is one",
                self.socket.display()
            );
        }
    }
}
