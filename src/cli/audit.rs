//! `namegate audit`: a report on lists of any program.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::import::{read as read_file, refuse};
use super::output::deliver;
use crate::assemble::{Sources, assemble};
use crate::cli::output::{FAILED, OK, USAGE, complain, counted, print, warn};
use crate::observe::query_log::read::{LoggedLookup, read_lookups};
use crate::policy::Policy;
use crate::policy::policies::Group;
use crate::tools::advise::{Advice, AdviceKind, JudgedRules};
use crate::tools::audit::{
    AuditFormat, AuditedList, CompiledLists, MinimalRule, SeenRules, ShippedAllowlist, audit, is_settings,
    lost_of_lists, lost_of_settings, minimal, read, to_toml,
};
use crate::util::escape::on_one_line;

/// Findings shown of each kind without `--all`.
const SHOWN: usize = 20;

/// The lists, and the form of the report.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Lists of any program; allowlists or settings of namegate; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Format of the files [default: recognised by content]
    #[arg(long, value_enum)]
    format: Option<AuditFormat>,
    /// Report entries that no lookup in this query log needs; repeatable. The log must have every lookup (log.queries =
    /// "all")
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
    /// Write a smaller allowlist that decides the same names
    #[arg(long, value_name = "FILE")]
    minimal: Option<PathBuf>,
    /// Do not report this kind of finding; repeatable or comma-separated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    allow: Vec<AdviceKind>,
    /// Show every finding, not only the first 20 of a kind
    #[arg(long)]
    all: bool,
    /// Print JSON, with all findings
    #[arg(long, conflicts_with_all = ["markdown", "all"])]
    json: bool,
    /// Print Markdown, with all findings
    #[arg(long, conflicts_with = "all")]
    markdown: bool,
}

/// What was audited: a line for each file.
struct Audited {
    /// File, what it is, and its number of entries.
    files: Vec<(String, String, usize)>,
    advice: Vec<Advice>,
    /// Lookups in the query logs, if any were read.
    lookups: Option<u64>,
    /// The smaller list, or why there is none.
    minimal: Result<Vec<MinimalRule>, String>,
    /// Where the smaller list was written.
    written: Option<PathBuf>,
    /// Every file that was read.
    inputs: Vec<PathBuf>,
}

/// True if both paths lead to one file that exists.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Audits; exit status 0 without findings, 1 with some, 2 if a file cannot be read.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let audited = match examine(arguments) {
        Ok(audited) => audited,
        Err(status) => return status,
    };
    if let Some(path) = &arguments.minimal {
        if let Some(input) = audited.inputs.iter().find(|input| is_same_file(input, path)) {
            warn(&format!(
                "error: --minimal would overwrite {}, which is audited\n  help: pass another path",
                on_one_line(&input.display().to_string())
            ));
            return USAGE;
        }
        let names: Vec<&str> = audited.files.iter().map(|(file, ..)| file.as_str()).collect();
        let written = audited
            .minimal
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|rules| to_toml(rules, &names.join(", ")));
        match written {
            Ok(text) if deliver(&text, Some(path)) == OK => {}
            Ok(_) => return USAGE,
            Err(error) => {
                warn(&format!(
                    "error: cannot write a smaller list: {}\n  help: leave out --minimal, or audit the names alone, in a list of their own",
                    on_one_line(&error)
                ));
                return USAGE;
            }
        }
    }
    let text = if arguments.json {
        as_json(&audited).to_string()
    } else if arguments.markdown {
        as_markdown(&audited)
    } else {
        as_text(&audited, if arguments.all { usize::MAX } else { SHOWN })
    };
    print(&text).max(if audited.advice.is_empty() { OK } else { FAILED })
}

fn examine(arguments: &Arguments) -> Result<Audited, u8> {
    let refused = |report| {
        refuse(&report);
        USAGE
    };
    let mut sources = Vec::new();
    for file in &arguments.files {
        sources.push(read_file(file).map_err(refused)?);
    }
    let shipped = ShippedAllowlist::all().map_err(refused)?;
    if let ([source], [file]) = (sources.as_slice(), arguments.files.as_slice())
        && is_settings(source, arguments.format)
        && file != Path::new("-")
    {
        return settings(arguments, file, &shipped);
    }
    let mut lists = Vec::new();
    for source in &sources {
        let list = match is_settings(source, arguments.format) {
            true => read(source, Some(AuditFormat::Settings)),
            false => read(source, arguments.format),
        };
        lists.push(list.map_err(refused)?);
    }
    lists.iter().flat_map(AuditedList::remarks).for_each(|remark| warn(&on_one_line(&remark)));
    let compiled = CompiledLists::new(&lists);
    let policy = compiled.policy();
    let subject = compiled.subject(&lists, shipped.iter().map(|one| &one.zone));
    let seen = seen(arguments, &[policy])?;
    let invalid = lists.iter().flat_map(AuditedList::invalid).collect();
    let zones: Vec<_> = lists.iter().filter_map(AuditedList::zone).cloned().collect();
    let mut advice = audit(&subject, &zones, invalid, &shipped, seen.first());
    advice.retain(|one| !arguments.allow.contains(&one.kind));
    Ok(Audited {
        files: lists.iter().map(|list| (list.file.clone(), list.shape.to_owned(), list.entries())).collect(),
        advice,
        lookups: seen.first().map(|seen| seen.lookups),
        minimal: lost_of_lists(&zones).map_or_else(|| minimal(policy), Err),
        written: arguments.minimal.clone(),
        inputs: arguments.files.iter().chain(&arguments.log).cloned().collect(),
    })
}

/// Audits the rules that settings have in force: those of clients without a group, and those of every client group.
fn settings(arguments: &Arguments, file: &Path, shipped: &[ShippedAllowlist]) -> Result<Audited, u8> {
    let sources = Sources { config: Some(file.to_owned()), ..Sources::default() };
    let assembly = assemble(&sources, 1).map_err(|faults| {
        complain(&faults);
        USAGE
    })?;
    // Groups with the same rules share one policy.
    let mut groups: Vec<&Group> = Vec::new();
    for group in assembly.policies.groups() {
        if groups.iter().all(|known| !Arc::ptr_eq(&known.policy, &group.policy)) {
            groups.push(group);
        }
    }
    let policies: Vec<&Policy> = groups.iter().map(|group| group.policy.as_ref()).collect();
    let seen = seen(arguments, &policies)?;
    let (mut files, mut advice) = (Vec::new(), Vec::<Advice>::new());
    for (index, group) in groups.iter().enumerate() {
        let subject = JudgedRules::of(&assembly, &group.policy);
        let found = audit(&subject, &assembly.zones, Vec::new(), shipped, seen.get(index));
        for one in found.into_iter().map(|one| one.for_group(&group.name)) {
            // Groups may share rules: do not repeat a finding for another group.
            if !arguments.allow.contains(&one.kind) && advice.iter().all(|known| !known.says(&one)) {
                advice.push(one);
            }
        }
        let shape = match group.name.as_str() {
            Group::DEFAULT => "settings of namegate".to_owned(),
            name => format!("client group `{name}`"),
        };
        files.push((file.display().to_string(), shape, group.policy.rules()));
    }
    let zones = assembly.zones.iter().map(|zone| PathBuf::from(&zone.file));
    Ok(Audited {
        files,
        advice,
        lookups: seen.first().map(|seen| seen.lookups),
        minimal: lost_of_settings(&assembly).map_or_else(|| minimal(assembly.policy()), Err),
        written: arguments.minimal.clone(),
        inputs: arguments.files.iter().chain(&arguments.log).cloned().chain(zones).collect(),
    })
}

/// By policy: the rules that lookups in the logs need. Empty without a log.
fn seen(arguments: &Arguments, policies: &[&Policy]) -> Result<Vec<SeenRules>, u8> {
    let mut seen: Vec<SeenRules> = policies.iter().map(|_| SeenRules::default()).collect();
    for path in &arguments.log {
        let file = on_one_line(&path.display().to_string());
        let look = |lookup: LoggedLookup| {
            // A lookup counts for every group: clients move between groups.
            for (seen, policy) in seen.iter_mut().zip(policies) {
                seen.see(policy, &lookup.name);
            }
        };
        let skipped = File::open(path).and_then(|log| read_lookups(BufReader::new(log), look)).map_err(|error| {
            warn(&format!("error: cannot read query log {file}: {error}\n  help: pass the path of the query log (`log.file`)"));
            USAGE
        })?;
        if skipped.all {
            warn(&format!(
                "error: {file}: not a query log of namegate: no line can be read\n  \
                 help: pass the file set in `log.file`, or a copy of namegate's standard output"
            ));
            return Err(USAGE);
        }
        if skipped.count > 0 {
            let lines: Vec<String> = skipped.lines.iter().map(u64::to_string).collect();
            warn(&format!(
                "warning: {file}: {} skipped, from {}",
                counted(skipped.count, "line"),
                lines.join(", ")
            ));
        }
    }
    if arguments.log.is_empty() {
        return Ok(Vec::new());
    }
    if seen.iter().all(|seen| seen.lookups == 0) {
        warn("error: the query logs have no lookups\n  help: pass a log of some days");
        return Err(USAGE);
    }
    Ok(seen)
}

impl Audited {
    fn entries(&self) -> usize {
        self.files.iter().map(|(.., entries)| entries).sum()
    }

    /// Entries with at least one finding.
    fn flagged(&self) -> usize {
        let findings = self.advice.iter().flat_map(|one| &one.findings);
        findings.map(|finding| finding.place.as_str()).collect::<BTreeSet<_>>().len()
    }

    /// `105 entries, 58 with findings`.
    fn summary(&self) -> String {
        let lookups = self.lookups.map(|count| format!("; {} in the query log", counted(count, "lookup")));
        let kinds: Vec<String> =
            self.advice.iter().map(|one| format!("{} {}", one.count, one.kind.word())).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let (entries, flagged) = (entries(self.entries()), self.flagged());
        format!("{entries}, {flagged} with findings{kinds}{}", lookups.unwrap_or_default())
    }

    /// How many rules decide the same names, if they are fewer.
    fn smaller(&self) -> Option<String> {
        let rules = self.minimal.as_ref().ok().filter(|rules| rules.len() < self.entries())?;
        let decide = match rules.len() {
            1 => "1 rule decides".to_owned(),
            count => format!("{count} rules decide"),
        };
        let file = match &self.written {
            Some(path) => format!("written to {}", on_one_line(&path.display().to_string())),
            None => "--minimal FILE writes them".to_owned(),
        };
        Some(format!("{decide} the same names ({file})"))
    }
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// `client group `x`: ` before what concerns only that group.
fn group(one: &Advice) -> String {
    let group = one.group.as_ref().map(|group| format!("client group `{}`: ", on_one_line(group)));
    group.unwrap_or_default()
}

fn as_text(audited: &Audited, most: usize) -> String {
    let mut text = String::new();
    for (file, shape, entries) in &audited.files {
        let _ = writeln!(text, "{}: {}, {}", on_one_line(file), on_one_line(shape), self::entries(*entries));
    }
    for one in &audited.advice {
        let _ = writeln!(text, "\n{}: {}{} ({})", one.kind.word(), group(one), one.message, one.count);
        for finding in one.findings.iter().take(most) {
            let _ = writeln!(text, "  {}: {}", on_one_line(&finding.place), on_one_line(&finding.text));
        }
        if let Some(more @ 1..) = one.findings.len().checked_sub(most) {
            let _ = writeln!(text, "  … and {more} more (--all shows them)");
        }
        let _ = writeln!(text, "  help: {}", on_one_line(&one.help));
    }
    let _ = writeln!(text, "\n{}", audited.summary());
    if let Some(smaller) = audited.smaller() {
        let _ = writeln!(text, "{smaller}");
    }
    text
}

fn as_markdown(audited: &Audited) -> String {
    let mut text = "# Audit\n\n| file | format | entries |\n|---|---|--:|\n".to_owned();
    for (file, shape, entries) in &audited.files {
        let _ = writeln!(text, "| {} | {} | {entries} |", markdown(file), markdown(shape));
    }
    let _ = write!(text, "\n{}.", audited.summary());
    if let Some(smaller) = audited.smaller() {
        let _ = write!(text, " {}.", markdown(&smaller));
    }
    text.push_str("\n\n| kind | findings |\n|---|--:|\n");
    for one in &audited.advice {
        let of_group = one.group.as_ref().map(|group| format!(", client group {}", markdown(group)));
        let _ = writeln!(
            text,
            "| [{0}](#{0}){1} | {2} |",
            one.kind.word(),
            of_group.unwrap_or_default(),
            one.count
        );
    }
    for (index, one) in audited.advice.iter().enumerate() {
        // The findings of other groups follow under the same heading.
        let mut before = audited.advice.iter().take(index);
        if before.all(|other| other.kind != one.kind) {
            let _ = write!(text, "\n## {}\n", one.kind.word());
        } else {
            let _ = write!(
                text,
                "\n## {} {}\n",
                one.kind.word(),
                markdown(one.group.as_deref().unwrap_or_default())
            );
        }
        let _ = write!(
            text,
            "\n{}{} ({}). To do: {}.\n\n",
            markdown(&group(one)),
            one.message,
            one.count,
            markdown(&one.help)
        );
        text.push_str("| place | finding |\n|---|---|\n");
        for finding in &one.findings {
            let _ = writeln!(text, "| {} | {} |", markdown(&finding.place), markdown(&finding.text));
        }
    }
    text
}

/// The text for Markdown, in a table or outside. What stands between backticks stays code, if it is plain; every other
/// character that Markdown or HTML reads is an entity.
fn markdown(text: &str) -> String {
    let text = on_one_line(text);
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, inner)) = rest.split_once('`') {
        shown += &entities(before);
        // Without a blank between, the backticks of two spans would be one mark.
        if shown.ends_with('`') {
            shown.push(' ');
        }
        match inner.split_once('`') {
            Some((code, after)) if !code.is_empty() && !code.contains(['|', '\\']) => {
                let _ = write!(shown, "`{code}`");
                rest = after;
            }
            _ => {
                shown += "&#96;";
                rest = inner;
            }
        }
    }
    shown + &entities(rest)
}

/// The text with an entity for every character that Markdown or HTML may read.
fn entities(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '|' | '`' | '<' | '>' | '&' | '\\' | '*' | '_' | '[' | ']' | '~' | '#' | '!' | '@' | '$' => {
                let _ = write!(shown, "&#{};", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

fn as_json(audited: &Audited) -> Value {
    let files = audited.files.iter();
    let files =
        files.map(|(file, shape, entries)| json!({ "file": file, "format": shape, "entries": entries }));
    let findings = audited.advice.iter().map(|one| {
        let places =
            one.findings.iter().map(|finding| json!({ "place": finding.place, "text": finding.text }));
        json!({
            "kind": one.kind.word(),
            "group": one.group,
            "count": one.count,
            "message": one.message,
            "help": one.help,
            "entries": places.collect::<Vec<_>>(),
        })
    });
    json!({
        "files": files.collect::<Vec<_>>(),
        "entries": audited.entries(),
        "flagged": audited.flagged(),
        "lookups": audited.lookups,
        "findings": findings.collect::<Vec<_>>(),
        "minimal": audited.minimal.as_ref().ok().map(Vec::len),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_within_its_cell() {
        for (text, shown) in [
            (
                "`a.example`: covered by `.example` at x.list:1",
                "`a.example`: covered by `.example` at x.list:1",
            ),
            ("`*.co_uk`", "`*.co_uk`"),
            ("a | b", "a &#124; b"),
            ("`a|b`", "&#96;a&#124;b&#96;"),
            ("`a\\|b`", "&#96;a&#92;&#124;b&#96;"),
            ("a\n| b\r", "a&#92;n&#124; b&#92;r"),
            ("one ` alone", "one &#96; alone"),
            ("``", "&#96;&#96;"),
            ("`a``<img src=x>`", "`a` `<img src=x>`"),
            ("<script>alert(1)</script>", "&#60;script&#62;alert(1)&#60;/script&#62;"),
            ("[x](javascript:y)", "&#91;x&#93;(javascript:y)"),
            ("&#124;", "&#38;&#35;124;"),
            ("\u{1b}[31m\u{202e}", "&#92;u{1b}&#91;31m&#92;u{202e}"),
        ] {
            assert_eq!(markdown(text), shown, "{text:?}");
        }
    }
}
