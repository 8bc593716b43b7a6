//! [`DnstapOutput`]: sends queries and replies in wire format to a dnstap reader on a Unix socket.
//!
//! A lookup is two messages, CLIENT_QUERY and CLIENT_RESPONSE, as in Unbound, BIND, CoreDNS and dnsdist: readers take
//! the query from the first and the reply from the second. Neither exceeds the 96 KiB that Go readers accept.
//!
//! Frames are protobuf in Frame Streams; both are implemented here:
//! - The crates `dnstap` and `framestream` support only the one-way form of the stream, but readers on a Unix socket
//!   wait for READY.
//! - `dnstap` has no policy fields, writes replies into the query's field and panics when its reader goes away.
//! - With `prost` a lookup costs 820 ns instead of 350 ns, and dnstap needs only three kinds of protobuf fields.

mod backlog;
mod connection;
mod encoder;
mod protobuf;
#[cfg(test)]
mod tests;

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backlog::Backlog;
use connection::DnstapConnection;
use encoder::Encoder;

use crate::util::log_event::log;

pub use encoder::DnstapEvent;

/// Frames per lookup.
const FRAMES: u64 = 2;

/// Octets of DNS messages after which [`DnstapOutput::write`] tends the stream itself.
const TEND_AT: usize = 64 * 1024;

/// Delay before the first reconnect; it doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Longest delay between reconnects.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Time limit of [`DnstapOutput::finish`].
const GOODBYE: Duration = Duration::from_millis(200);

/// Pause between attempts to send the remaining frames at shutdown.
const BREATH: Duration = Duration::from_millis(1);

/// Counts of sent and lost frames, for metrics.
#[derive(Debug, Default)]
pub struct DnstapStats {
    /// Frames written to the reader's socket.
    pub frames: AtomicU64,
    /// Frames lost because no reader was connected or it was too slow.
    pub lost: AtomicU64,
    /// True while a reader is connected and has accepted the stream.
    pub connected: AtomicBool,
}

/// Longest path of a Unix socket, in bytes (unix(7)).
const LONGEST_PATH: usize = 107;

/// Why no reader can ever listen at `socket`. A socket that does not exist yet is no fault.
pub fn check(socket: &Path) -> Result<(), String> {
    if socket.as_os_str().len() > LONGEST_PATH {
        return Err(format!("the path is longer than {LONGEST_PATH} bytes"));
    }
    match socket.metadata() {
        Ok(found) if !found.file_type().is_socket() => Err("not a socket".to_owned()),
        _ => Ok(()),
    }
}

/// The writer of a dnstap stream. Only [`Self::finish`] waits for the reader.
#[derive(Debug)]
pub struct DnstapOutput {
    socket: PathBuf,
    encoder: Encoder,
    backlog: Backlog,
    connection: Option<DnstapConnection>,
    /// Octets of DNS messages since the stream was last tended.
    untended: usize,
    /// Earliest time of the next attempt to connect; none before the first.
    retry_at: Option<Instant>,
    backoff: Duration,
    /// The current outage was logged.
    outage_told: bool,
    stats: Arc<DnstapStats>,
}

impl DnstapOutput {
    /// Creates a stream to the reader that listens at `socket`; the first [`Self::tend`] connects.
    ///
    /// `identity` and `version` are part of every frame unless empty.
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

    /// Counts of sent and lost frames.
    pub fn stats(&self) -> Arc<DnstapStats> {
        Arc::clone(&self.stats)
    }

    /// Queues the two frames of a lookup. If no reader is connected or the buffer is full, both are lost and counted.
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

    /// Sends as much as the socket accepts, and connects when it is time. Call this before the first lookup, whenever
    /// no lookup is waiting, and at least every 100 ms.
    pub fn tend(&mut self, now: Instant) {
        self.untended = 0;
        if let Err(error) = self.advance(now) {
            self.give_up(now, &error);
        }
    }

    /// Sends the remaining frames, ends the stream and waits for the reader to confirm; at most 200 ms.
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
        // After a partial frame the reader would take a STOP for the rest of it.
        if let Some(connection) = self.connection.take().filter(|_| accepted && self.backlog.is_empty()) {
            // The reader has every frame, so a missing confirmation does not matter.
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
            log!(DnstapConnected, "dnstap: reader connected at {}", self.socket.display());
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
            log!(
                DnstapDisconnected,
                "dnstap: cannot connect to {}: {error}; retrying, frames are lost until it connects",
                self.socket.display()
            );
        }
    }
}
