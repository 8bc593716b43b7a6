//! [`QueryLog`]: writes one line per logged lookup to standard output, a file, or both.

pub mod line;
mod output;
pub mod read;
pub mod rotated_file;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::client::ShownClient;
use super::clock::WallClock;
use crate::events::event::QueryEvent;
use line::Line;
use output::Output;
use rotated_file::RotatedFile;

use crate::config::{ClientAddress, LogFormat, LogSettings};
use crate::policy::{Policies, RuleText};
use crate::util::label::Label;
use crate::util::log_event::LogEvent;
use crate::wire::records::records;

/// The outputs of the query log and the fields of its lines.
pub struct QueryLog {
    outputs: Vec<Output>,
    fields: LogFields,
    errors: Arc<AtomicU64>,
    /// The name of the current line; reused buffer.
    name: String,
    /// The client of the last line and its text, since the next line often has the same client.
    client: (Option<ShownClient>, String),
}

/// Settings for the fields of a line.
#[derive(Clone, Copy)]
struct LogFields {
    client: ClientAddress,
    answers: bool,
    sample: u32,
}

impl QueryLog {
    /// Opens the log that `settings` describe, with `stdout` as standard output.
    ///
    /// Errors: the file cannot be opened.
    pub fn open(settings: &LogSettings, stdout: Box<dyn Write + Send>) -> io::Result<Self> {
        let errors = Arc::<AtomicU64>::default();
        let mut outputs = Vec::new();
        if settings.stdout {
            outputs.push(Output::new(
                "standard output".to_owned(),
                stdout,
                settings.format,
                Arc::clone(&errors),
            )?);
        }
        if let Some(path) = &settings.file {
            let file = RotatedFile::open(path, settings.file_max_size.as_u64(), settings.file_keep)?;
            outputs.push(Output::new(
                path.display().to_string(),
                Box::new(file),
                LogFormat::Json,
                Arc::clone(&errors),
            )?);
        }
        let LogSettings { client, answers, sample, .. } = *settings;
        let fields = LogFields { client, answers, sample };
        Ok(Self { outputs, fields, errors, name: String::new(), client: Default::default() })
    }

    /// Lines that could not be written.
    pub fn errors(&self) -> &Arc<AtomicU64> {
        &self.errors
    }

    /// Writes the line of one lookup; its rule and group are looked up in `policies`.
    pub fn write(&mut self, lookup: &QueryEvent, policies: &Policies, clock: &mut WallClock) {
        self.name.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.name, "{}", lookup.question.name);
        let client = ShownClient::of(lookup.client.ip(), self.fields.client);
        if client != self.client.0 {
            let shown = client.map(|client| client.to_string()).unwrap_or_default();
            self.client = (client, shown);
        }
        let who = Who { name: &self.name, client: client.map(|_| self.client.1.as_str()) };
        for output in &mut self.outputs {
            write_fields(output.line(), lookup, who, clock.text(lookup.received), policies, self.fields);
        }
    }

    /// Passes buffered lines to the writers.
    pub fn flush(&mut self) {
        for output in &mut self.outputs {
            output.flush();
        }
    }

    /// Passes buffered lines to the writers and waits until they are written.
    pub fn finish(self) {
        let (stuck, free): (Vec<Output>, Vec<Output>) = self.outputs.into_iter().partition(Output::is_stuck);
        // A stuck output may block forever, so it comes last; the caller stops waiting after a timeout.
        free.into_iter().chain(stuck).for_each(Output::finish);
    }
}

/// Client and name of a lookup, as text.
#[derive(Clone, Copy)]
struct Who<'a> {
    name: &'a str,
    client: Option<&'a str>,
}

fn write_fields(
    mut line: Line<'_>,
    lookup: &QueryEvent,
    who: Who<'_>,
    time: &str,
    policies: &Policies,
    fields: LogFields,
) {
    let record = &lookup.record;
    line.head("time", time);
    line.json_word("event", LogEvent::Query.name());
    line.head("decision", record.decision.label());
    if let Some(client) = who.client {
        line.text("client", client);
    }
    if policies.groups().len() > 1
        && let Some(group) = policies.group(lookup.client.ip())
    {
        // A group name consists of letters, digits, `-` and `_`, so it needs no escaping.
        line.text("group", &policies.groups()[group.index()].name);
    }
    line.word("protocol", lookup.transport.label());
    line.text("name", who.name);
    match lookup.question.qtype.mnemonic() {
        Some(mnemonic) => line.word("type", mnemonic),
        None => line.text("type", &lookup.question.qtype.to_string()),
    }
    if let Some(reason) = record.reason {
        line.word("reason", reason.label());
    }
    if let Some(rule) = record.rule.and_then(|rule| rule.find(policies)) {
        line.text("rule", &rule.to_string());
        line.text("place", &rule.place());
        let RuleText { purpose, owner, ticket } = rule.text();
        for (key, text) in [("purpose", purpose), ("owner", owner), ("ticket", ticket)] {
            if !text.is_empty() {
                line.quoted(key, text);
            }
        }
    }
    line.word("rcode", record.rcode.label());
    line.word("source", record.source.label());
    if let Some(upstream) = &record.upstream {
        line.text("upstream", upstream);
    }
    line.seconds("latency_seconds", lookup.elapsed);
    if fields.sample > 1 && !lookup.record.is_against_policy() {
        line.number("sample", format_args!("{}", fields.sample));
    }
    if let Some(messages) = lookup.messages.as_ref().filter(|_| fields.answers) {
        line.list("answers", &records(&messages.reply));
    }
    line.end();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::Ordering;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::{Duration, Instant, SystemTime};

    use super::*;
    use crate::events::outcome::{AnswerSource, Decision, QueryOutcome};
    use crate::policy::{Compile, Mode, PolicyBuilder};
    use crate::wire::code::{Class, Rcode, Type};
    use crate::wire::name::Name;
    use crate::wire::query::Question;
    use crate::wire::reply::Transport;

    /// An output that blocks until it is released.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stuck() -> (Sender<()>, Box<Stuck>) {
        let (free, waiting) = channel();
        (free, Box::new(Stuck(waiting)))
    }

    #[test]
    fn a_stuck_output_holds_up_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let settings = LogSettings { file: Some(file.clone()), ..LogSettings::default() };
        let (free, stdout) = stuck();
        let mut log = QueryLog::open(&settings, stdout).unwrap();
        let policy = Policies::for_all(PolicyBuilder::new().build(Compile::new(Mode::Enforce)), 1);
        let now = Instant::now();
        let mut clock = WallClock::new(now, SystemTime::now());
        let question = Question { name: Name::ROOT, qtype: Type::TXT, class: Class::IN };
        let lookup = QueryEvent {
            client: "127.0.0.1:4711".parse().unwrap(),
            transport: Transport::Udp,
            question,
            record: QueryOutcome::new(Decision::Blocked, AnswerSource::Policy, Rcode::NXDOMAIN),
            received: now,
            elapsed: Duration::ZERO,
            messages: None,
            logged: true,
            tapped: false,
            weight: 0,
        };
        const LINES: usize = 60_000;
        for number in 0..LINES {
            log.write(&lookup, &policy, &mut clock);
            if number % 100 == 0 {
                log.flush();
                // The file's writer keeps up.
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        let lost = log.errors().load(Ordering::Relaxed);
        assert!(lost > 0 && (lost as usize) < LINES, "{lost}");
        drop(free);
        log.finish();
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), LINES);
    }
}
