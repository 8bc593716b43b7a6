//! [`QueryLog`]: one line for each lookup worth telling, to standard output, a file, or both.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde::{Serialize, Serializer};

use super::client::ShownClient;
use super::clock::Clock;
use super::lookup::Lookup;
use super::rotated_file::RotatedFile;
use crate::config::{ClientAddress, Log, LogFormat};
use crate::policy::{Policy, RuleRef};
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::records::records;

/// Bytes of lines that are written in one piece.
const PIECE: usize = 32 * 1024;

/// Pieces that wait for an output: 4 MiB, some 20,000 lines, while a disk is slow.
const WAITING: usize = 128;

/// Where lines go, and what is on them.
pub struct QueryLog {
    outputs: Vec<Output>,
    client: ClientAddress,
    answers: bool,
    sample: u32,
    errors: Arc<AtomicU64>,
}

/// One way out, with a thread of its own, so that one that is stuck holds up nothing else.
struct Output {
    format: LogFormat,
    piece: Piece,
    pieces: SyncSender<Piece>,
    writer: JoinHandle<()>,
}

/// Whole lines.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    lines: u64,
}

impl QueryLog {
    /// The log that `settings` describe; `stdout` is what they call standard output.
    ///
    /// Errors: the file cannot be opened.
    pub fn open(settings: &Log, stdout: Box<dyn Write + Send>) -> io::Result<Self> {
        let errors = Arc::<AtomicU64>::default();
        let mut outputs = Vec::new();
        if settings.stdout {
            outputs.push(Output::new(stdout, settings.format, Arc::clone(&errors))?);
        }
        if let Some(path) = &settings.file {
            let file = RotatedFile::open(path, settings.file_max_size.as_u64(), settings.file_keep)?;
            outputs.push(Output::new(Box::new(file), LogFormat::Json, Arc::clone(&errors))?);
        }
        let Log { client, answers, sample, .. } = *settings;
        Ok(Self { outputs, client, answers, sample, errors })
    }

    /// Lines that could not be written.
    pub fn errors(&self) -> &Arc<AtomicU64> {
        &self.errors
    }

    /// Writes the line of one lookup; its rule is named from `policy`.
    pub fn write(&mut self, lookup: &Lookup, policy: &Policy, clock: &mut Clock) {
        let line = Line::of(lookup, policy, clock, self);
        for output in &mut self.outputs {
            output.add(&line);
        }
        if self.outputs.iter().any(|output| output.piece.bytes.len() >= PIECE) {
            self.flush();
        }
    }

    /// Hands on what waits to be written.
    pub fn flush(&mut self) {
        for output in &mut self.outputs {
            output.flush(&self.errors);
        }
    }

    /// Hands on what waits to be written, and waits until it is.
    pub fn finish(mut self) {
        self.flush();
        for Output { pieces, writer, .. } in self.outputs {
            drop(pieces);
            let _ = writer.join();
        }
    }
}

impl Output {
    fn new(to: Box<dyn Write + Send>, format: LogFormat, errors: Arc<AtomicU64>) -> io::Result<Self> {
        let (pieces, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("query-log".to_owned());
        let writer = thread.spawn(move || write_pieces(&waiting, to, &errors))?;
        Ok(Self { format, piece: Piece::default(), pieces, writer })
    }

    fn add(&mut self, line: &Line<'_>) {
        // Writing to memory does not fail.
        let _ = match self.format {
            LogFormat::Text => line.write_text(&mut self.piece.bytes),
            LogFormat::Json => serde_json::to_writer(&mut self.piece.bytes, line).map_err(Into::into),
        };
        self.piece.bytes.push(b'\n');
        self.piece.lines += 1;
    }

    fn flush(&mut self, errors: &AtomicU64) {
        if self.piece.lines == 0 {
            return;
        }
        let next = Piece { bytes: Vec::with_capacity(self.piece.bytes.len()), lines: 0 };
        let piece = std::mem::replace(&mut self.piece, next);
        if let Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) =
            self.pieces.try_send(piece)
        {
            errors.fetch_add(piece.lines, Ordering::Relaxed);
        }
    }
}

/// Writes pieces until there are no more to come. A full disk or a closed standard output must not end the gate; it is
/// told once, and what is lost is counted.
fn write_pieces(pieces: &Receiver<Piece>, mut to: Box<dyn Write + Send>, errors: &AtomicU64) {
    let mut failed = false;
    for Piece { bytes, lines } in pieces {
        match to.write_all(&bytes).and_then(|()| to.flush()) {
            Ok(()) => failed = false,
            Err(error) => {
                errors.fetch_add(lines, Ordering::Relaxed);
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!("the query log cannot be written: {error}; what is lost is counted");
                }
            }
        }
    }
}

/// One line, all of its text escaped: names and records by their presentation form, JSON by serde.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ShownClient>,
    protocol: &'static str,
    #[serde(serialize_with = "shown")]
    name: &'a Name,
    #[serde(rename = "type", serialize_with = "shown")]
    qtype: Type,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_shown")]
    rule: Option<RuleRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    rcode: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    latency_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<String>>,
}

fn shown<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn optional_shown<T: std::fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

impl<'a> Line<'a> {
    fn of(lookup: &'a Lookup, policy: &'a Policy, clock: &'a mut Clock, log: &QueryLog) -> Self {
        let record = &lookup.record;
        let rule = record.rule.and_then(|rule| rule.find(policy));
        let answers = lookup.messages.as_ref().filter(|_| log.answers);
        Self {
            time: clock.text(lookup.received),
            client: ShownClient::of(lookup.client.ip(), log.client),
            protocol: lookup.transport.label(),
            name: &lookup.question.name,
            qtype: lookup.question.qtype,
            decision: record.decision.label(),
            reason: record.reason,
            rule,
            place: rule.map(|rule| rule.place()),
            rcode: record.rcode.label(),
            source: record.source.label(),
            upstream: record.upstream.as_deref(),
            latency_seconds: lookup.elapsed.as_micros() as f64 / 1e6,
            sample: Some(log.sample).filter(|sample| *sample > 1 && !lookup.is_blocked()),
            answers: answers.map(|messages| records(&messages.reply)),
        }
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{} {}", self.time, self.decision)?;
        if let Some(client) = self.client {
            write!(out, " client={client}")?;
        }
        write!(out, " protocol={} name={} type={}", self.protocol, self.name, self.qtype)?;
        if let Some(reason) = self.reason {
            write!(out, " reason={reason}")?;
        }
        if let (Some(rule), Some(place)) = (&self.rule, &self.place) {
            write!(out, " rule={rule} place={place}")?;
        }
        write!(out, " rcode={} source={}", self.rcode, self.source)?;
        if let Some(upstream) = self.upstream {
            write!(out, " upstream={upstream}")?;
        }
        write!(out, " latency={:.6}", self.latency_seconds)?;
        if let Some(sample) = self.sample {
            write!(out, " sample={sample}")?;
        }
        for answer in self.answers.iter().flatten() {
            write!(out, " answer=\"{answer}\"")?;
        }
        Ok(())
    }
}
