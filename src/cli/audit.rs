//! `namegate audit`: a report on lists of any program.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::import::{read as read_file, refuse};
use super::output::deliver;
use crate::assemble::{Sources, assemble};
use crate::cli::output::{FAILED, OK, USAGE, complain, counted, print, warn};
use crate::observe::query_log::read::{LoggedLookup, read_lookups};
use crate::policy::Policy;
use crate::tools::advise::{Advice, AdviceKind, JudgedRules};
use crate::tools::audit::{
    AuditFormat, AuditedList, CompiledLists, MinimalRule, SeenRules, ShippedAllowlist, audit, is_settings,
    minimal, read, to_toml,
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
    files: Vec<(String, &'static str, usize)>,
    advice: Vec<Advice>,
    /// Lookups in the query logs, if any were read.
    lookups: Option<u64>,
    /// The smaller list, or why there is none.
    minimal: Result<Vec<MinimalRule>, String>,
    /// Where the smaller list was written.
    written: Option<PathBuf>,
}

/// Audits; exit status 0 without findings, 1 with some, 2 if a file cannot be read.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let audited = match examine(arguments) {
        Ok(audited) => audited,
        Err(status) => return status,
    };
    if let Some(path) = &arguments.minimal {
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
                    "error: cannot write a smaller list: {error}\n  help: leave out --minimal, or remove the condition"
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
    lists.iter().flat_map(AuditedList::remarks).for_each(|remark| warn(&remark));
    let compiled = CompiledLists::new(&lists);
    let subject = compiled.subject(&lists, shipped.iter().map(|one| &one.zone));
    let seen = seen(arguments, compiled.policy())?;
    let invalid = lists.iter().flat_map(AuditedList::invalid).collect();
    let zones: Vec<_> = lists.iter().filter_map(AuditedList::zone).cloned().collect();
    let advice = audit(&subject, &zones, invalid, &shipped, seen.as_ref());
    let files = lists.iter().map(|list| (list.file.clone(), list.shape, list.entries())).collect();
    Ok(audited(arguments, files, advice, seen, compiled.policy()))
}

/// Audits the rules that settings have in force for clients without a group.
fn settings(arguments: &Arguments, file: &Path, shipped: &[ShippedAllowlist]) -> Result<Audited, u8> {
    let sources = Sources { config: Some(file.to_owned()), ..Sources::default() };
    let assembly = assemble(&sources, 1).map_err(|faults| {
        complain(&faults);
        USAGE
    })?;
    let policy = assembly.policy();
    let seen = seen(arguments, policy)?;
    let advice =
        audit(&JudgedRules::of(&assembly, policy), &assembly.zones, Vec::new(), shipped, seen.as_ref());
    let files = vec![(file.display().to_string(), "settings of namegate", policy.rules())];
    Ok(audited(arguments, files, advice, seen, policy))
}

fn audited(
    arguments: &Arguments,
    files: Vec<(String, &'static str, usize)>,
    mut advice: Vec<Advice>,
    seen: Option<SeenRules>,
    policy: &Policy,
) -> Audited {
    advice.retain(|one| !arguments.allow.contains(&one.kind));
    Audited {
        files,
        advice,
        lookups: seen.map(|seen| seen.lookups),
        minimal: minimal(policy),
        written: arguments.minimal.clone(),
    }
}

/// The rules that lookups in the logs need; `None` without a log.
fn seen(arguments: &Arguments, policy: &Policy) -> Result<Option<SeenRules>, u8> {
    let mut seen = SeenRules::default();
    for path in &arguments.log {
        let file = path.display();
        let look = |lookup: LoggedLookup| seen.see(policy, &lookup.name);
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
    if !arguments.log.is_empty() && seen.lookups == 0 {
        warn("error: the query logs have no lookups\n  help: pass a log of some days");
        return Err(USAGE);
    }
    Ok((!arguments.log.is_empty()).then_some(seen))
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

fn as_text(audited: &Audited, most: usize) -> String {
    let mut text = String::new();
    for (file, shape, entries) in &audited.files {
        let _ = writeln!(text, "{file}: {shape}, {}", self::entries(*entries));
    }
    for one in &audited.advice {
        let _ = writeln!(text, "\n{}: {} ({})", one.kind.word(), one.message, one.count);
        for finding in one.findings.iter().take(most) {
            let _ = writeln!(text, "  {}: {}", finding.place, finding.text);
        }
        if let Some(more @ 1..) = one.findings.len().checked_sub(most) {
            let _ = writeln!(text, "  … and {more} more (--all shows them)");
        }
        let _ = writeln!(text, "  help: {}", one.help);
    }
    let _ = writeln!(text, "\n{}", audited.summary());
    if let Some(smaller) = audited.smaller() {
        let _ = writeln!(text, "{smaller}");
    }
    text
}

fn as_markdown(audited: &Audited) -> String {
    // A bar would end a cell, even within code.
    let cell = |text: &str| text.replace('|', "\\|");
    let mut text = "# Audit\n\n| file | format | entries |\n|---|---|--:|\n".to_owned();
    for (file, shape, entries) in &audited.files {
        let _ = writeln!(text, "| {} | {shape} | {entries} |", cell(file));
    }
    let _ = write!(text, "\n{}.", audited.summary());
    if let Some(smaller) = audited.smaller() {
        let _ = write!(text, " {smaller}.");
    }
    text.push_str("\n\n| kind | findings |\n|---|--:|\n");
    for one in &audited.advice {
        let _ = writeln!(text, "| [{0}](#{0}) | {1} |", one.kind.word(), one.count);
    }
    for one in &audited.advice {
        let _ = write!(
            text,
            "\n## {}\n\n{} ({}). To do: {}.\n\n",
            one.kind.word(),
            one.message,
            one.count,
            one.help
        );
        text.push_str("| place | finding |\n|---|---|\n");
        for finding in &one.findings {
            let _ = writeln!(text, "| {} | {} |", cell(&finding.place), cell(&finding.text));
        }
    }
    text
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
