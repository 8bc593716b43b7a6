//! Reads query logs in either format.

use std::io::{self, BufRead, Read};
use std::time::SystemTime;

use serde::Deserialize;
use strum::VariantArray;

use crate::events::outcome::Decision;
use crate::observe::client::ShownClient;
use crate::util::label::Label;
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::presentation::read_name;

/// Longest line, in bytes. A line with answers may hold a whole DNS message with every byte escaped.
const MAX_LINE: u64 = 1 << 20;

/// Unreadable lines listed per file; the rest are only counted.
const MAX_NAMED_LINES: usize = 5;

/// Lines of a file that are not query log lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadableLog {
    /// Line numbers of the first ones, counted from 1.
    pub lines: Vec<u64>,
    /// Number of such lines.
    pub count: u64,
    /// True if the file has lines, and none is readable.
    pub all: bool,
}

/// A lookup in a query log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedLookup {
    /// When it was answered.
    pub time: SystemTime,
    /// The decision on it.
    pub decision: Decision,
    /// Its client, as far as the log shows it.
    pub client: Option<ShownClient>,
    /// The queried name.
    pub name: Name,
    /// The queried type.
    pub qtype: Type,
    /// It was noise.
    pub is_noise: bool,
    /// A deny rule blocked it.
    pub is_denied: bool,
}

/// Passes the lookups of a log to `lookup`, and returns the lines that are not lookups. An incomplete last line is still
/// being written and does not count as unreadable.
///
/// Errors: reading the log failed.
pub fn read_lookups(
    mut log: impl BufRead,
    mut lookup: impl FnMut(LoggedLookup),
) -> io::Result<UnreadableLog> {
    let mut unreadable = UnreadableLog::default();
    let mut line = Vec::new();
    let mut readable = false;
    for number in 1.. {
        line.clear();
        if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let is_whole = line.ends_with(b"\n");
        let is_long = !is_whole && line.len() as u64 == MAX_LINE;
        if is_long {
            log.skip_until(b'\n')?;
        }
        let text = std::str::from_utf8(&line).ok().map(|line| line.trim_end_matches(['\r', '\n']));
        match text.and_then(read_lookup) {
            Some(found) => {
                readable = true;
                lookup(found);
            }
            // Blank, or still being written.
            None if text == Some("") || !(is_whole || is_long) => {}
            None => {
                unreadable.count += 1;
                if unreadable.lines.len() < MAX_NAMED_LINES {
                    unreadable.lines.push(number);
                }
            }
        }
    }
    unreadable.all = !readable && unreadable.count > 0;
    Ok(unreadable)
}

/// The fields that matter here. The log settings decide which other fields exist.
#[derive(Deserialize)]
struct Fields<'l> {
    time: &'l str,
    decision: &'l str,
    client: Option<&'l str>,
    // Owned: JSON escapes backslashes.
    name: String,
    r#type: &'l str,
    reason: Option<&'l str>,
}

fn read_lookup(line: &str) -> Option<LoggedLookup> {
    let fields = if line.starts_with('{') { serde_json::from_str(line).ok()? } else { text_fields(line)? };
    let is_said = |decision: &&Decision| decision.label() == fields.decision;
    Some(LoggedLookup {
        time: humantime::parse_rfc3339(fields.time).ok()?,
        decision: *Decision::VARIANTS.iter().find(is_said)?,
        client: fields.client.map(str::parse).transpose().ok()?,
        name: read_name(&fields.name)?,
        qtype: fields.r#type.parse().ok()?,
        is_noise: fields.reason == Some("noise"),
        is_denied: fields.reason == Some("denied"),
    })
}

/// The fields of a line in text format. The fields read here come before any field that may contain a space.
fn text_fields(line: &str) -> Option<Fields<'_>> {
    // The last field of every line. Without it the line is truncated, maybe inside the name.
    line.contains(" latency_seconds=").then_some(())?;
    let mut words = line.split(' ');
    let (time, decision) = (words.next()?, words.next()?);
    let field = |key: &str| {
        let mut fields = words.clone().filter_map(|word| word.split_once('='));
        fields.find(|(known, _)| *known == key).map(|(_, value)| value)
    };
    Some(Fields {
        time,
        decision,
        client: field("client"),
        name: field("name")?.to_owned(),
        r#type: field("type")?,
        reason: field("reason"),
    })
}
