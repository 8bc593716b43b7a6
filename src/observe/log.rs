//! The operational log: start, shutdown, reloads and problems, on standard error. Each line is one [`LogEvent`].
//!
//! A separate thread writes it, so that a blocked standard error delays neither queries nor shutdown.

use std::fmt::{self, Debug};
use std::io::IsTerminal;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt as layers};

use super::query_log::line::Line;
use crate::config::{LogFormat, LogLevel, LogSettings};
use crate::util::escape::message_on_one_line;
use crate::util::log_event::LogEvent;
use crate::util::rfc3339;

/// Most lines that wait to be written; more are dropped.
const WAITING: usize = 1024;

/// Starts logging for this process; does nothing if logging is already set up. Dropping the guard writes waiting lines,
/// for at most one second.
pub fn start(settings: &LogSettings) -> WorkerGuard {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries log every query at `info`, and hickory logs every closed connection at `warn`. The `upstream` module
    // logs those that matter.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("hickory_net", level.min(LevelFilter::ERROR))
        .with_target("namegate", level);
    let (stderr, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING).finish(std::io::stderr());
    let is_colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let form = LogLine { format: settings.format, is_colored, has_priority: is_journal() };
    let layer = layers::layer().with_writer(stderr).event_format(form);
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    guard
}

/// True if standard error is the journal. systemd.exec(5): JOURNAL_STREAM has "the device and inode numbers of the file
/// descriptor", and programs should "check [...] whether their stdout or stderr file descriptors match".
fn is_journal() -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use std::os::unix::fs::MetadataExt;
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
        let found = stderr.and_then(|stderr| stderr.metadata());
        let own = found.map(|found| format!("{}:{}", found.dev(), found.ino()));
        own.is_ok_and(|own| std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == own))
    }
    #[cfg(not(unix))]
    false
}

/// Writes events as lines.
struct LogLine {
    format: LogFormat,
    is_colored: bool,
    /// Begin with the priority (sd-daemon(3)), which the journal removes.
    has_priority: bool,
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = message_on_one_line(&format!("{value:?}")),
            name => self.others.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, others } = fields;
        let metadata = event.metadata();
        let (priority, color, level) = match *metadata.level() {
            Level::ERROR => (3, 31, "error"),
            Level::WARN => (4, 33, "warn"),
            Level::INFO => (6, 32, "info"),
            Level::DEBUG => (7, 34, "debug"),
            Level::TRACE => (7, 35, "trace"),
        };
        if self.has_priority {
            write!(writer, "<{priority}>")?;
        }
        let time = rfc3339::millis(SystemTime::now());
        if self.format == LogFormat::Text {
            let (on, off) =
                if self.is_colored { (format!("\x1b[{color}m"), "\x1b[0m") } else { Default::default() };
            let level = level.to_ascii_uppercase();
            return writeln!(writer, "{time} {on}{level:>5}{off} {message}");
        }
        // Only namegate's own lines are named; the names of others are places in their source.
        let is_own = metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
        let name = if is_own { metadata.name() } else { LogEvent::Library.name() };
        let mut bytes = Vec::new();
        let mut line = Line::begin(&mut bytes, LogFormat::Json);
        line.text("time", &time.to_string());
        line.text("level", level);
        line.text("event", name);
        line.text("message", &message);
        for (key, value) in &others {
            line.text(key, value);
        }
        line.end();
        writer.write_str(&String::from_utf8_lossy(&bytes))
    }
}
