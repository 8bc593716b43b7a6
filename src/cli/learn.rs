//! `namegate learn`: suggests rules for blocked names, from query logs or a running resolver.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use ipnet::IpNet;
use tokio::runtime::Builder;

use super::AdminToken;
use super::http::{AdminClient, Error};
use super::log::{self, LogFilter};
use super::moment::{PeriodEnd, moment, period_end};
use super::subnet;
use crate::api::pages::BlockedJson;
use crate::assemble::unused::unused_allowlists;
use crate::assemble::{Assembly, Sources};
use crate::cli::output::{OK, counted, fail, try_print, warn};
use crate::observe::query_log::read::UnreadableLog;
use crate::tools::learn::{
    Evidence, Heading, Known, LearnOptions, LookupFilter, OwnProbes, Proposal, Why, propose, to_json, to_toml,
};
use crate::tools::prove::look_alike::LookAlikes;
use crate::wire::query::parse_question;

/// Most rows to read from the history of a running resolver.
const LOOKUPS: usize = 100_000;

/// What to learn from, and how.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Query logs, text or JSON; `-` is standard input [default: read the running resolver's admin listener]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the allowlist to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ignore names looked up fewer than N times
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_count: u64,
    /// Suggest a wildcard for N or more names below one parent
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..))]
    fold: u16,
    /// Also suggest wildcards where any tenant can create names, such as *.blob.core.windows.net
    #[arg(long)]
    fold_risky: bool,
    /// Ignore lookups before this time: `7d`, `02:00`, `2026-11-23` or `2026-11-23T07:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<SystemTime>,
    /// Ignore lookups at or after this time; `02:10` is the first such time after --since
    #[arg(long, value_name = "WHEN", value_parser = period_end)]
    until: Option<PeriodEnd>,
    /// Use only lookups of clients in this subnet, `10.1.0.4` or `10.1.0.0/16`
    #[arg(long, value_name = "SUBNET", value_parser = subnet)]
    client: Option<IpNet>,
    #[command(flatten)]
    token: AdminToken,
}

impl Arguments {
    /// The token for the running resolver.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.token.token_file.clone()
    }
}

/// Suggests rules for names that the settings do not allow yet.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly, sources: &Sources) -> u8 {
    match learn(arguments, assembly, sources) {
        Ok(()) => OK,
        Err(error) => fail(&*error),
    }
}

fn learn(arguments: &Arguments, assembly: &Assembly, sources: &Sources) -> Result<(), Error> {
    let Arguments { files, since, until, client, .. } = arguments;
    let until = until.map(|until| until.after(*since));
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err("error: --until is not after --since\n  help: swap the two times".into());
    }
    let mut evidence = Evidence::new(LookupFilter { since: *since, until, client: *client });
    let origin = match files.as_slice() {
        [] if since.is_some() || until.is_some() || client.is_some() => {
            search(&mut evidence, (*since, until), sources)?
        }
        [] => ask(&mut evidence, sources)?,
        files => read(&mut evidence, files)?,
    };
    refuse_unclear(&evidence, arguments)?;
    let directory = assembly.settings.policy.zones_directory.clone();
    let shipped = unused_allowlists(assembly.policy(), &assembly.settings.parameters, directory)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|report| report.render(false))?;
    let options = LearnOptions {
        fold: arguments.fold.into(),
        fold_risky: arguments.fold_risky,
        min_count: arguments.min_count,
        since: *since,
    };
    let known = Known {
        policy: assembly.policy(),
        zones: &assembly.zones,
        parameters: &assembly.settings.parameters,
        strict: assembly.settings.policy.strict,
        probes: &probes(assembly),
        shipped: &shipped,
    };
    let proposal = propose(&evidence.names, known, options);
    let heading = Heading { origin, time: SystemTime::now() };
    let text = match arguments.json {
        true => to_json(&proposal, &heading).to_string() + "\n",
        false => to_toml(&proposal, &heading),
    };
    match &arguments.output {
        Some(path) => std::fs::write(path, text).map_err(|error| {
            format!(
                "error: {}: cannot write: {error}\n  help: pass another file with --output",
                path.display()
            )
        })?,
        None => try_print(&text)?,
    }
    warn(&summary(&evidence, &proposal));
    Ok(())
}

/// Refuses `--client` where the clients do not show whether they are the wanted ones.
fn refuse_unclear(evidence: &Evidence, arguments: &Arguments) -> Result<(), String> {
    let Some(client) = arguments.client.filter(|_| evidence.unclear > 0) else {
        return Ok(());
    };
    let (what, help) = match arguments.files.as_slice() {
        [] => (
            "the running resolver shows at most eight clients for a name, and `log.client` may hide them",
            "pass the query log (`log.file`), or leave out --client",
        ),
        _ => (
            "`log.client` hides the clients, or shows only their subnets",
            "use a subnet that is as wide as those in the log, such as 10.1.0.0/24, or leave out --client",
        ),
    };
    let unclear = counted(evidence.unclear, if arguments.files.is_empty() { "name" } else { "lookup" });
    Err(format!("error: cannot tell for {unclear} whether the client is in {client}: {what}\n  help: {help}"))
}

/// Names that namegate and `namegate prove` query themselves.
fn probes(assembly: &Assembly) -> OwnProbes {
    let look_alikes = LookAlikes::of(&assembly.policies, assembly.local.origins(), &[]).probes;
    let names = look_alikes.iter().filter_map(|probe| parse_question(&probe.query));
    OwnProbes {
        must_not_resolve: assembly.settings.prove.must_not_resolve.clone(),
        look_alikes: names.map(|(question, _)| question.name).collect(),
    }
}

/// Reads logs; returns their names for the heading.
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
            format!("error: cannot read query log {name}: {error}\n  help: pass the path of the query log (`log.file`)")
        })?;
        complain(&name, &unreadable)?;
        names.push(name);
    }
    Ok(names.join(", "))
}

fn complain(name: &str, unreadable: &UnreadableLog) -> Result<(), String> {
    if unreadable.all {
        return Err(format!(
            "error: {name}: not a query log of namegate: no line can be read\n  \
             help: pass the file set in `log.file`, or a copy of namegate's standard output"
        ));
    }
    for line in &unreadable.lines {
        warn(&format!("warning: {name}:{line}: not a line of a query log, skipped"));
    }
    if let Some(more @ 1..) = unreadable.count.checked_sub(unreadable.lines.len() as u64) {
        warn(&format!("warning: {name}: {more} more lines skipped"));
    }
    Ok(())
}

/// Reads blocked lookups from the history of the running resolver; returns its address for the heading. Without a
/// history, the names that it remembers must do.
fn search(
    evidence: &mut Evidence,
    (since, until): (Option<SystemTime>, Option<SystemTime>),
    sources: &Sources,
) -> Result<String, Error> {
    let listener = AdminClient::of(sources)?;
    // All clients: if the history hides them, the evidence says so.
    let filter = LogFilter { since, until: until.map(PeriodEnd::At), ..LogFilter::default() };
    let log = match log::find(&listener, &filter, Some(log::BLOCKED), LOOKUPS) {
        Ok(log) => log,
        Err(_) if until.is_none() => return ask(evidence, sources),
        Err(error) => return Err(error),
    };
    log::notes(&log, &filter).iter().for_each(|note| warn(note));
    complain_of(evidence.add_history(&log.lookups));
    Ok(format!("the history of the resolver at {}", listener.url("")))
}

fn complain_of(unreadable: usize) {
    if unreadable > 0 {
        warn(&format!("warning: {unreadable} names cannot be read; the resolver may be of another version"));
    }
}

/// Reads the blocked names of the running resolver; returns its address for the heading.
fn ask(evidence: &mut Evidence, sources: &Sources) -> Result<String, Error> {
    let listener = AdminClient::of(sources)?;
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(|error| format!("error: {error}"))?;
    let page: BlockedJson = runtime.block_on(listener.json("/api/v1/blocked")).map_err(|error| {
        error.or_help("pass the admin address of a running resolver with --admin, or pass a query log")
    })?;
    complain_of(evidence.add_page(&page));
    Ok(format!("the resolver at {}, since {}", listener.url(""), page.since))
}

/// One line of counts: what was read, suggested and not suggested.
fn summary(evidence: &Evidence, proposal: &Proposal) -> String {
    let names: usize = proposal.rules.iter().map(|rule| rule.names).sum();
    let rules = counted(proposal.rules.len() as u64, "rule");
    let (names, lookups) = (counted(names as u64, "name"), counted(evidence.lookups, "lookup"));
    let mut parts = vec![format!("{rules} for {names} from {lookups}")];
    let left_out = |is_meant: fn(&Why) -> bool| -> u64 {
        let meant = proposal.left_out.iter().filter(|left_out| is_meant(&left_out.why));
        meant.map(|left_out| left_out.names.len() as u64).sum()
    };
    let (no_hosts, forgotten) = (evidence.names.no_hosts(), evidence.names.forgotten());
    for (count, what, which) in [
        (left_out(|why| matches!(why, Why::Parameters(_))), "name", " allowed by values of parameters"),
        (left_out(|why| matches!(why, Why::Shipped(_))), "name", " in a shipped allowlist"),
        (left_out(|why| matches!(why, Why::PublicResolver(_))), "name", " of public resolvers"),
        (left_out(|why| matches!(why, Why::Tunnel(_))), "name", " with encoded data"),
        (left_out(|why| matches!(why, Why::Denied(_))), "name", " denied by a rule"),
        (left_out(|why| matches!(why, Why::Registry)), "registry name", ""),
        (left_out(|why| matches!(why, Why::Allowed)), "name", " already allowed"),
        (left_out(|why| matches!(why, Why::Probe)), "name", " queried by namegate itself"),
        (left_out(|why| matches!(why, Why::Seldom)), "name", " below --min-count"),
        (left_out(|why| matches!(why, Why::Before)), "name", " before --since"),
        (evidence.noise, "noise lookup", ""),
        (no_hosts, "lookup", " without a host name"),
        (forgotten, "name", " dropped from memory (see the query log)"),
    ] {
        if count > 0 {
            parts.push(counted(count, what) + which);
        }
    }
    match parts.split_first() {
        Some((rules, left_out @ [_, ..])) => format!("{rules}; not suggested: {}", left_out.join(", ")),
        _ => parts.concat(),
    }
}
