//! [`Output`]: one destination of the query log.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::line::Line;
use crate::config::LogFormat;
use crate::util::log_event::log;

/// Bytes of lines that are written at once.
const PIECE: usize = 32 * 1024;

/// Pieces that may wait for the writer; when all are waiting, the next piece grows instead.
const WAITING: usize = 4;

/// Bytes buffered for an output that does not accept writes, about 20,000 lines; more are lost and counted.
const KEPT: usize = 4 * 1024 * 1024;

/// One destination with its own thread, so that a stuck output blocks nothing else.
pub(super) struct Output {
    format: LogFormat,
    piece: Piece,
    pieces: SyncSender<Piece>,
    writer: JoinHandle<()>,
    /// The writer had no room for the last piece.
    held: bool,
    /// Lines were lost, and that was logged.
    behind: bool,
    errors: Arc<AtomicU64>,
}

/// Whole lines.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    lines: u64,
}

impl Output {
    /// Writes lines of `format` to `to`, called `name` in messages; `errors` counts lines that cannot be written.
    pub(super) fn new(
        name: String,
        to: Box<dyn Write + Send>,
        format: LogFormat,
        errors: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let (pieces, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("query-log".to_owned());
        let counted = Arc::clone(&errors);
        let writer = thread.spawn(move || write_pieces(&waiting, &name, to, &counted))?;
        Ok(Self { format, piece: Piece::default(), pieces, writer, held: false, behind: false, errors })
    }

    /// Starts the next line.
    pub(super) fn line(&mut self) -> Line<'_> {
        if self.piece.bytes.len() >= PIECE && !self.held {
            self.flush();
        }
        self.piece.lines += 1;
        Line::begin(&mut self.piece.bytes, self.format)
    }

    /// True if the writer had no room for the last piece.
    pub(super) fn is_stuck(&self) -> bool {
        self.held
    }

    /// Passes buffered lines to the writer and waits until they are written: forever if the output is stuck.
    pub(super) fn finish(self) {
        let _ = self.pieces.send(self.piece);
        drop(self.pieces);
        let _ = self.writer.join();
    }

    /// Passes buffered lines to the writer, or keeps them buffered if it has no room.
    pub(super) fn flush(&mut self) {
        if self.piece.lines == 0 {
            return;
        }
        let next = Piece { bytes: Vec::with_capacity(self.piece.bytes.len().min(PIECE)), lines: 0 };
        let piece = std::mem::replace(&mut self.piece, next);
        match self.pieces.try_send(piece) {
            Ok(()) => (self.held, self.behind) = (false, false),
            Err(TrySendError::Full(piece)) if piece.bytes.len() < KEPT => {
                self.held = true;
                self.piece = piece;
            }
            Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) => {
                self.held = true;
                self.errors.fetch_add(piece.lines, Ordering::Relaxed);
                if !std::mem::replace(&mut self.behind, true) {
                    log!(
                        QueryLogStuck,
                        "query log: an output does not accept writes; lost lines are counted"
                    );
                }
            }
        }
    }
}

/// Writes pieces until the channel closes. A full disk or a closed standard output must not end the process; it is
/// logged once, and lost lines are counted.
fn write_pieces(pieces: &Receiver<Piece>, name: &str, mut to: Box<dyn Write + Send>, errors: &AtomicU64) {
    let mut failed = false;
    for Piece { bytes, lines } in pieces {
        match to.write_all(&bytes).and_then(|()| to.flush()) {
            Ok(()) => failed = false,
            Err(error) => {
                errors.fetch_add(lines, Ordering::Relaxed);
                if !std::mem::replace(&mut failed, true) {
                    log!(
                        QueryLogFailed,
                        "query log: cannot write to {name}: {error}; lost lines are counted"
                    );
                }
            }
        }
    }
}
