//! `namegate learn`: rules for what was blocked, out of a query log or of a running gate.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use tokio::runtime::Builder;

use super::http::AdminClient;
use crate::allowlist::server_lists::ServerLists;
use crate::api::pages::BlockedJson;
use crate::assemble::{Assembly, Sources};
use crate::cli::output::{FAILED, OK, try_print, warn};
use crate::config::embedded::embedded_names;
use crate::policy::{Compile, Mode, Policy, PolicyBuilder};
use crate::tools::learn::{
    Evidence, Heading, Known, LearnOptions, Proposal, UnreadableLog, Why, propose, to_json, to_toml,
};
use crate::{allowlist, config};

/// What to learn from, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Query logs in either form, also rotated ones; `-` is standard input [default: ask the running gate]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the zone file here instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For programs: one JSON object with rules, not_folded and left_out
    #[arg(long)]
    json: bool,
    /// Lookups from which on a name is worth a rule
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// Names next to each other from which on they become one wildcard
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    fold: u16,
    /// Fold also where a wildcard opens names that anyone can take, such as *.blob.core.windows.net
    #[arg(long)]
    fold_risky: bool,
    /// Only what was asked since then: `7d`, `2026-11-23` or `2026-11-23T07:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<SystemTime>,
}

fn moment(text: &str) -> Result<SystemTime, String> {
    let ago = |text| SystemTime::now().checked_sub(humantime::parse_duration(text).ok()?);
    let midnight = |text| humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok();
    let time = humantime::parse_rfc3339(text).ok();
    time.or_else(|| midnight(text))
        .or_else(|| ago(text))
        .ok_or_else(|| "write how long ago, such as `36h`, or a date, such as `2026-11-23`".to_owned())
}

/// Proposes rules; the settings say what is allowed already.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly, sources: &Sources) -> u8 {
    match learn(arguments, assembly, sources) {
        Ok(()) => OK,
        Err(error) => {
            warn(&error);
            FAILED
        }
    }
}

fn learn(arguments: &Arguments, assembly: &Assembly, sources: &Sources) -> Result<(), String> {
    let mut evidence = Evidence::new(arguments.since);
    let origin = match arguments.files.as_slice() {
        [] => ask(&mut evidence, sources)?,
        files => read(&mut evidence, files)?,
    };
    let shipped = shipped(assembly)?;
    let options = LearnOptions {
        fold: arguments.fold.into(),
        fold_risky: arguments.fold_risky,
        min_count: arguments.min_count,
        since: arguments.since,
    };
    let known = Known { policy: assembly.policy(), zones: &assembly.zones, shipped: &shipped };
    let proposal = propose(&evidence.names, known, options);
    let heading = Heading { origin, time: SystemTime::now() };
    let text = match arguments.json {
        true => to_json(&proposal, &heading).to_string() + "\n",
        false => to_toml(&proposal, &heading),
    };
    match &arguments.output {
        Some(path) => std::fs::write(path, text).map_err(|error| {
            format!("error: {}: cannot be written: {error}\n  help: set `--output`", path.display())
        })?,
        None => try_print(&text)?,
    }
    warn(&summary(&evidence, &proposal));
    Ok(())
}

/// Reads logs; says what they are, for people.
fn read(evidence: &mut Evidence, files: &[PathBuf]) -> Result<String, String> {
    let mut names = Vec::new();
    for path in files {
        let is_stdin = path == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let read = match is_stdin {
            true => evidence.read_log(io::stdin().lock()),
            false => File::open(path).and_then(|file| evidence.read_log(BufReader::new(file))),
        };
        let unreadable = read.map_err(|error| {
            format!(
                "error: {name}: cannot be read: {error}\n  help: name the file that `file` in [log] names"
            )
        })?;
        complain(&name, &unreadable)?;
        names.push(name);
    }
    Ok(names.join(", "))
}

fn complain(name: &str, unreadable: &UnreadableLog) -> Result<(), String> {
    if unreadable.all {
        return Err(format!(
            "error: {name}: this is no query log of namegate's: no line of it can be read\n  \
             help: give what `file` in [log] names, or standard output of the gate"
        ));
    }
    for line in &unreadable.lines {
        warn(&format!("warning: {name}:{line}: this is no line of a query log; it is left out"));
    }
    if let Some(more @ 1..) = unreadable.count.checked_sub(unreadable.lines.len() as u64) {
        warn(&format!("warning: {name}: and {more} more such lines"));
    }
    Ok(())
}

/// Asks the running gate; says where it is, for people.
fn ask(evidence: &mut Evidence, sources: &Sources) -> Result<String, String> {
    let listener = AdminClient::of(sources)?;
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(|error| format!("error: {error}"))?;
    let page: BlockedJson = runtime.block_on(listener.json("/api/v1/blocked")).map_err(|error| {
        format!(
            "error: {error}\n  help: `--admin` or `listen` in [admin] must name a gate that runs, or give a query log"
        )
    })?;
    let unreadable = evidence.add_page(&page);
    if unreadable > 0 {
        warn(&format!("warning: {unreadable} names of the gate cannot be read: is it another version?"));
    }
    Ok(format!("the gate at {}, since {}", listener.url(""), page.since))
}

/// The shipped zones that are not in use, each with its rules but the broad ones.
fn shipped(assembly: &Assembly) -> Result<Vec<(&'static str, Policy)>, String> {
    let is_unused = |name: &&str| assembly.policy().sources().all(|(source, _)| source.zone != *name);
    let read = |name: &'static str| {
        let settings = config::PolicySettings {
            zones: vec![name.to_owned()],
            strict: true,
            ..config::PolicySettings::default()
        };
        let mut rules = PolicyBuilder::new();
        allowlist::read(
            &settings,
            &assembly.settings.parameters,
            &mut rules,
            &mut ServerLists::new(Vec::new()),
        )
        .map_err(|report| report.render(false))?;
        Ok((name, rules.build(Compile::new(Mode::Enforce))))
    };
    embedded_names().filter(is_unused).map(read).collect()
}

/// What was read and what became of it, in one line.
fn summary(evidence: &Evidence, proposal: &Proposal) -> String {
    let names: usize = proposal.rules.iter().map(|rule| rule.names).sum();
    let rules = proposal.rules.len();
    let mut parts = vec![format!("rules: {rules}, for names: {names}, of lookups: {}", evidence.lookups)];
    let left_out = |is_meant: fn(&Why) -> bool| -> u64 {
        let meant = proposal.left_out.iter().filter(|left_out| is_meant(&left_out.why));
        meant.map(|left_out| left_out.names.len() as u64).sum()
    };
    let (no_hosts, forgotten) = (evidence.names.no_hosts(), evidence.names.forgotten());
    for (what, count) in [
        ("as shipped", left_out(|why| matches!(why, Why::Shipped(_)))),
        ("as public resolvers", left_out(|why| matches!(why, Why::PublicResolver(_)))),
        ("as data in disguise", left_out(|why| matches!(why, Why::Tunnel(_)))),
        ("as denied by rule", left_out(|why| matches!(why, Why::Denied(_)))),
        ("as no host's", left_out(|why| matches!(why, Why::Registry))),
        ("as allowed already", left_out(|why| matches!(why, Why::Allowed))),
        ("as asked for too seldom", left_out(|why| matches!(why, Why::Seldom))),
        ("as not asked for lately", left_out(|why| matches!(why, Why::Before))),
        ("lookups of noise", evidence.noise),
        ("lookups of what is no host name", no_hosts),
        ("names forgotten for want of room (the query log has them)", forgotten),
    ] {
        if count > 0 {
            parts.push(format!("{what}: {count}"));
        }
    }
    parts.join("; ")
}
