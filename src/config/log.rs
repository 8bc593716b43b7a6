//! Settings of `[log]` and `[dnstap]`.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::config::values::optional_path;
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// The log, and which queries it contains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogSettings {
    /// Log level: "error", "warn", "info", "debug" or "trace".
    pub level: LogLevel,
    /// Log format: "text" for people, "json" for programs.
    pub format: LogFormat,
    /// Queries to log: "none", "blocked" or "all". "blocked" includes allowed ones whose answer is not what their rule
    /// expects (`reason` is "unexpected"). "all" writes a line for every query.
    pub queries: LogQueries,
    /// Log one in this many of the queries that are not blocked. Raise it if "all" is too much.
    pub sample: u32,
    /// How client addresses appear in query logs, dnstap, status pages and metrics: "full", "subnet" (/24 and /56) or
    /// "none".
    pub client: ClientAddress,
    /// Include the records of the answer in query lines.
    pub answers: bool,
    /// Write query lines to standard output, in `log.format`.
    pub stdout: bool,
    /// Write query lines to this file, as JSON. Empty: no file.
    #[serde(serialize_with = "serializers::optional_path")]
    pub file: Option<PathBuf>,
    /// Rotate `log.file` at this size: it becomes FILE.1, FILE.1 becomes FILE.2, and so on up to `log.file_keep`.
    #[serde(serialize_with = "serializers::quantity")]
    pub file_max_size: ByteSize,
    /// Rotated files to keep, besides the current `log.file`.
    pub file_keep: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Text,
            queries: LogQueries::Blocked,
            sample: limits::SAMPLE.default,
            client: ClientAddress::Full,
            answers: false,
            stdout: true,
            file: None,
            file_max_size: limits::FILE_BYTES.default,
            file_keep: limits::FILE_KEEP.default,
        }
    }
}

/// dnstap: complete queries and replies for another program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnstapSettings {
    /// Unix socket of a dnstap reader, which receives complete queries and replies. Empty: off.
    #[serde(serialize_with = "serializers::optional_path")]
    pub socket: Option<PathBuf>,
    /// Queries to send: "none", "blocked" or "all".
    pub queries: LogQueries,
}

impl Default for DnstapSettings {
    fn default() -> Self {
        Self { socket: None, queries: LogQueries::All }
    }
}

/// How much of a client's address is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAddress {
    /// All of it.
    Full,
    /// Its subnet: /24 for IPv4, /56 for IPv6.
    Subnet,
    /// Nothing.
    None,
}

/// Severity of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something is about to fail, or is probably not intended.
    Warn,
    /// Starts, stops, reloads.
    Info,
    /// Single connections and retries.
    Debug,
    /// Everything.
    Trace,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which queries are logged or sent to dnstap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogQueries {
    /// None.
    None,
    /// Those that are blocked, in `observe` mode those that would otherwise be blocked, and those whose answer is not what
    /// their rule expects.
    Blocked,
    /// Every one.
    All,
}

pub(super) fn log(mut section: Section<'_, '_>, base: &Path) -> LogSettings {
    let default = LogSettings::default();
    let log = LogSettings {
        level: section.parsed_or("level", value::word, default.level),
        format: section.parsed_or("format", value::word, default.format),
        queries: section.parsed_or("queries", value::word, default.queries),
        sample: section.limited("sample", limits::SAMPLE),
        client: section.parsed_or("client", value::word, default.client),
        answers: section.or("answers", default.answers),
        stdout: section.or("stdout", default.stdout),
        file: optional_path(&mut section, "file", base),
        file_max_size: section.limited("file_max_size", limits::FILE_BYTES),
        file_keep: section.limited("file_keep", limits::FILE_KEEP),
    };
    section.finish();
    log
}

pub(super) fn dnstap(mut section: Section<'_, '_>, base: &Path) -> DnstapSettings {
    let default = DnstapSettings::default();
    let dnstap = DnstapSettings {
        socket: optional_path(&mut section, "socket", base),
        queries: section.parsed_or("queries", value::word, default.queries),
    };
    section.finish();
    dnstap
}
