//! The operational log: start, shutdown, reloads and problems, on standard error.
//!
//! A separate thread writes it, so that a blocked standard error delays neither queries nor shutdown.

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, LogLevel, LogSettings};

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
    let layer = match settings.format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none();
            fmt::layer().with_writer(stderr).with_target(false).with_ansi(ansi).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(stderr).with_target(false).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    guard
}
