//! Plain lists: one pattern per line, for lists too long for a table per rule.
//!
//! A list is read line by line, and each rule is passed on at once, so that a million lines are never held in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use crate::diagnostics::{Diagnostic, Report, Source, ValueError};
use crate::policy::RuleText;
use crate::policy::rule::{Action, Pattern};
use crate::policy::until::{Until, UntilError};

/// Longest line, in bytes. Names have at most 255 bytes, so a longer line is a comment, or the file is not a list.
const MAX_LINE: usize = 1 << 16;
/// Number of errors after which reading stops: a file with so many is not a list.
const MAX_FAULTS: usize = 100;
/// Some editors write this before the first character of a UTF-8 file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One rule of a plain list.
#[derive(Clone, Copy, Debug)]
pub struct ListRule<'a> {
    /// Allow or deny.
    pub action: Action,
    /// The names it covers.
    pub pattern: &'a Pattern,
    /// Its line, counted from 1.
    pub line: u32,
    /// When it ends.
    pub until: Option<Until>,
    /// Its comment.
    pub text: RuleText<'a>,
}

/// Reads the list at `path`, passes each rule to `rule`, and returns the number of rules.
///
/// Each line is a pattern, or `!` and a pattern to deny; `#` starts a comment. Behind a rule the comment is its purpose,
/// and may end in `owner=`, `ticket=` and `until=`. Every rule's line needs a line ending.
///
/// Errors: the file cannot be read or is empty, its last line is cut off, or lines are not valid rules. `rule` then got
/// only a part of the list.
pub(super) fn read(path: &Path, rule: impl FnMut(ListRule<'_>)) -> Result<usize, Report> {
    let file = path.display().to_string();
    let opened = File::open(path).map_err(|error| Diagnostic::unreadable(&file, &error))?;
    read_from(&file, BufReader::with_capacity(MAX_LINE, opened), rule)
}

/// Reads a list from `text`; `file` is its name in messages.
pub fn read_from(file: &str, text: impl BufRead, rule: impl FnMut(ListRule<'_>)) -> Result<usize, Report> {
    let mut faults = ListFaults::new(file);
    let rules = read_lines(text, rule, &mut faults).map_err(|error| Diagnostic::unreadable(file, &error))?;
    match faults.found.is_empty() {
        true => Ok(rules),
        false => Err(faults.into_report()),
    }
}

/// The rule of one line without its line ending: action, pattern and purpose; `None` if it is blank or a comment.
pub fn read_one(line: &str) -> Result<Option<(Action, Pattern, &str)>, ValueError> {
    match read_line(line.as_bytes()) {
        Ok(found) => Ok(found.map(|found| (found.action, found.pattern, found.text.purpose))),
        Err(LineError::Value(error)) => Err(error),
        Err(LineError::Long | LineError::NotUtf8(_) | LineError::CutOff) => {
            Err(ValueError::new("the line is too long", "write one pattern per line"))
        }
    }
}

fn read_lines(
    mut text: impl BufRead,
    mut rule: impl FnMut(ListRule<'_>),
    faults: &mut ListFaults<'_>,
) -> io::Result<usize> {
    let mut rules = 0;
    let mut bytes = Vec::new();
    let mut is_blank = true;
    for number in 1.. {
        bytes.clear();
        if text.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut bytes)? == 0 {
            if is_blank {
                faults.found.push(Diagnostic::empty(faults.file));
            }
            break;
        }
        is_blank &= bytes.trim_ascii().is_empty();
        let line = match number {
            1 => bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes),
            _ => &bytes,
        };
        match read_line(line) {
            Ok(None) => {}
            // A truncated name can cover more: `*.com` instead of `*.company.example`.
            Ok(Some(_)) if !bytes.ends_with(b"\n") => faults.add(number, line, LineError::CutOff),
            Ok(Some(found)) => {
                let Line { action, pattern, until, text } = &found;
                let line = u32::try_from(number).unwrap_or(u32::MAX);
                rules += 1;
                rule(ListRule { action: *action, pattern, line, until: *until, text: *text });
            }
            Err(error) => {
                let rest_is_unclear = matches!(error, LineError::Long | LineError::NotUtf8(_));
                faults.add(number, line, error);
                if rest_is_unclear || faults.found.len() == MAX_FAULTS {
                    break;
                }
            }
        }
    }
    Ok(rules)
}

/// Why a line is not a valid rule.
enum LineError {
    /// It does not end within [`MAX_LINE`] bytes.
    Long,
    /// It is not UTF-8 from this byte on.
    NotUtf8(usize),
    /// It is a rule on the last line, without a line ending.
    CutOff,
    /// It is not a pattern; the span is within the line.
    Value(ValueError),
}

/// The rule of a line.
struct Line<'l> {
    action: Action,
    pattern: Pattern,
    until: Option<Until>,
    text: RuleText<'l>,
}

/// The rule of a line; `None` if it is blank or a comment.
fn read_line(line: &[u8]) -> Result<Option<Line<'_>>, LineError> {
    if line.len() == MAX_LINE && !line.ends_with(b"\n") {
        return Err(LineError::Long);
    }
    let line = std::str::from_utf8(line).map_err(|error| LineError::NotUtf8(error.valid_up_to()))?;
    let (written, comment) = split_comment(line);
    let start = written.len() - written.trim_ascii_start().len();
    let written = written.trim_ascii();
    if written.is_empty() {
        return Ok(None);
    }
    let (action, host) = match written.strip_prefix('!') {
        Some(host) => (Action::Deny, host),
        None => (Action::Allow, written),
    };
    let start = start + written.len() - host.len();
    match Pattern::parse(host) {
        Ok(pattern) => {
            let (until, text) = read_comment(line, comment).map_err(LineError::Value)?;
            Ok(Some(Line { action, pattern, until, text }))
        }
        Err(error) => {
            let mut error = explain(host, error.into());
            error.span = error.span.map(|span| start + span.start..start + span.end);
            Err(LineError::Value(error))
        }
    }
}

/// The text before the first `#` that is not escaped with a backslash, and the offset of the text after it.
fn split_comment(line: &str) -> (&str, usize) {
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| {
        let backslashes = line[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        backslashes % 2 == 0
    });
    comment.map_or((line, line.len()), |at| (&line[..at], at + 1))
}

/// The comment behind a rule, which starts at `start`: its purpose, then `owner=`, `ticket=` and `until=`.
fn read_comment(line: &str, start: usize) -> Result<(Option<Until>, RuleText<'_>), ValueError> {
    const KEYS: [&str; 3] = ["owner=", "ticket=", "until="];
    let (mut text, mut until) = (RuleText::default(), None);
    let comment = &line[start..];
    let begins = |word: &str| KEYS.iter().any(|key| word.starts_with(key));
    let words = comment.split_ascii_whitespace();
    let offset = |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
    let keys = words.clone().find(|word| begins(word)).map_or(line.len(), offset);
    text.purpose = line[start..keys].trim_ascii().trim_end_matches([';', ',']).trim_ascii_end();
    if let Some(at) = misspelt_end(&line[start..keys]) {
        let span = Some(start + at.start..start + at.end);
        let help = "write it at the end of the comment as one word: `until=2027-01-31`";
        return Err(ValueError {
            span,
            ..ValueError::new("the end of a rule is not written as `until=…`", help)
        });
    }
    for word in line[keys..].split_ascii_whitespace() {
        let at = offset(word);
        let span = at..at + word.len();
        let fault = |message: String, help: &str| ValueError {
            span: Some(span.clone()),
            ..ValueError::new(message, help)
        };
        match word.trim_end_matches([';', ',']).split_once('=') {
            Some(("owner", owner)) if !owner.is_empty() && text.owner.is_empty() => text.owner = owner,
            Some(("ticket", ticket)) if !ticket.is_empty() && text.ticket.is_empty() => text.ticket = ticket,
            Some(("until", end)) if until.is_none() => {
                let invalid = |error: UntilError| fault(format!("invalid end `{end}`"), &error.to_string());
                until = Some(end.parse().map_err(invalid)?);
            }
            _ => {
                let help = "write the purpose first, then `owner=`, `ticket=` and `until=`, each once and with one word";
                return Err(fault(format!("unexpected `{word}` in the comment"), help));
            }
        }
    }
    Ok((until, text))
}

/// Where a purpose has what was meant as `until=`, such as `Until = 2027-01-31`. Read as a purpose, it would leave a rule
/// that never ends.
fn misspelt_end(purpose: &str) -> Option<Range<usize>> {
    const KEY: &str = "until";
    let lower = purpose.to_ascii_lowercase();
    let mut places = lower.match_indices(KEY).map(|(at, _)| at);
    places.find_map(|at| {
        let is_word = !lower[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
        let is_key = lower[at + KEY.len()..].trim_ascii_start().starts_with(['=', ':']);
        (is_word && is_key).then_some(at..at + KEY.len())
    })
}

/// Replaces the hint for errors that are typical of lists, where people paste other formats.
fn explain(host: &str, error: ValueError) -> ValueError {
    let first = host.split_ascii_whitespace().next().unwrap_or_default();
    let help = if first.len() < host.len() && first.parse::<IpAddr>().is_ok() {
        "this is a line of a hosts file: write only the name to allow it, or `!` and the name to deny it"
    } else if host.contains(|c: char| c.is_ascii_whitespace()) {
        "write one pattern per line, and `#` before a comment"
    } else if host.contains(['{', '}']) {
        "write the value itself; only `.toml` allowlists can use parameters"
    } else {
        return error;
    };
    ValueError { help: Some(help.to_owned()), ..error }
}

/// Errors in a list, with their lines.
struct ListFaults<'f> {
    file: &'f str,
    found: Vec<Diagnostic>,
    lines: Vec<usize>,
    /// Those lines, concatenated.
    text: String,
}

impl<'f> ListFaults<'f> {
    fn new(file: &'f str) -> Self {
        Self { file, found: Vec::new(), lines: Vec::new(), text: String::new() }
    }

    fn add(&mut self, number: usize, line: &[u8], error: LineError) {
        let start = self.text.len();
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        let (message, help, span) = match error {
            LineError::Long => {
                let message = format!("line longer than {MAX_LINE} bytes");
                (message, Some("write one pattern per line".to_owned()), 0..0)
            }
            LineError::NotUtf8(at) => {
                let message = "the file is not UTF-8 from here on".to_owned();
                (
                    message,
                    Some("save it as UTF-8".to_owned()),
                    at..at + char::REPLACEMENT_CHARACTER.len_utf8(),
                )
            }
            LineError::CutOff => {
                let message = "the last line has no line ending: the file may be cut off".to_owned();
                (message, Some("if it is complete, end it with a newline".to_owned()), 0..line.len())
            }
            LineError::Value(error) => (error.message, error.help, error.span.unwrap_or(0..line.len())),
        };
        let line = match line.len() {
            MAX_LINE.. => Cow::Borrowed(""),
            _ => line,
        };
        self.text.push_str(&line);
        self.text.push('\n');
        self.lines.push(number);
        let diagnostic = Diagnostic::error(self.file, message).with_help(help);
        self.found.push(diagnostic.at(start + span.start..start + span.end));
    }

    fn into_report(mut self) -> Report {
        if self.found.len() == MAX_FAULTS {
            let message = format!("reading stopped after {MAX_FAULTS} errors");
            let help = "write one pattern per line, such as `ml.azure.com`, `*.azureml.ms` or `.azurecr.io`";
            self.found.push(Diagnostic::error(self.file, message).with_help(help.to_owned()));
        }
        Report::new(Source::excerpt(self.file, self.text, self.lines), self.found)
    }
}
