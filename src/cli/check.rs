//! `namegate check`: everything wrong with settings, zones, parameters and master files.

use std::fmt::Write;
use std::io::IsTerminal;

use clap::Args;

use crate::assemble::Assembly;
use crate::cli::output::{FAILED, print, today, warn};
use crate::diagnostics::Severity;
use crate::service::registry::Registry;
use crate::service::reload::summary;
use crate::service::state::check_upstreams;
use crate::tools::advise::{Advice, AdviceKind, advise};
use crate::util::label::Label;

/// Places told of each kind of advice; `--all` tells all.
const PLACES: usize = 5;

/// How much to say, and how strictly to take it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Tell every place a warning is about, not the first five
    #[arg(long)]
    all: bool,
    /// Warnings are errors: exit status 1
    #[arg(long)]
    deny_warnings: bool,
    /// Do not warn of this; may be repeated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    allow: Vec<AdviceKind>,
}

/// Reports what was read, and what `serve` would not start with; other errors were reported before.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    let warnings = warn_of(arguments, assembly);
    let printed = print(&overview(assembly));
    if arguments.deny_warnings && warnings > 0 {
        warn(&format!("error: warnings: {warnings}, and `--deny-warnings` allows none"));
        return FAILED;
    }
    let state = Registry::new(assembly.settings.server.state_directory.clone());
    if let Err(error) = state.check().and_then(|()| check_upstreams(assembly)) {
        warn(&format!("error: {error}"));
        return FAILED;
    }
    print("ok\n").max(printed)
}

/// Warns of what is probably not meant; how many warnings that were.
fn warn_of(arguments: &Arguments, assembly: &Assembly) -> usize {
    if !assembly.warnings.is_empty() {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        warn(&assembly.warnings.render(color));
    }
    for parameter in &assembly.unused_parameters {
        warn(&format!("warning: the parameter `{parameter}` is used by no zone that is loaded"));
    }
    let most = if arguments.all { usize::MAX } else { PLACES };
    let mut advice = advise(assembly, today(), most);
    advice.retain(|advice| !arguments.allow.contains(&advice.kind));
    for advice in &advice {
        warn(&shown(advice));
    }
    let reported = assembly.warnings.diagnostics().iter().filter(|one| one.severity == Severity::Warning);
    reported.count() + assembly.unused_parameters.len() + advice.len()
}

/// A warning with its first places and its remedy.
fn shown(advice: &Advice) -> String {
    let group = advice.group.as_ref().map(|group| format!("client group `{group}`: ")).unwrap_or_default();
    let mut text = format!("warning[{}]: {group}{} ({})\n", advice.kind.word(), advice.message, advice.count);
    for finding in &advice.findings {
        let _ = writeln!(text, "  --> {}: {}", finding.place, finding.text);
    }
    if let Some(more @ 1..) = advice.untold() {
        let _ = writeln!(text, "  … and {more} more; `--all` tells them");
    }
    text + "  help: " + &advice.help
}

/// What is in force, and where it comes from.
fn overview(assembly: &Assembly) -> String {
    let mut text = format!("{}: {}\n", assembly.origin, summary(assembly));
    for zone in &assembly.zones {
        let asleep = zone.rules.iter().filter(|rule| !rule.missing.is_empty()).count();
        let _ = write!(text, "  {}: {} rules", zone.file, zone.count - asleep);
        if asleep > 0 {
            let mut missing: Vec<&str> =
                zone.rules.iter().flat_map(|rule| &rule.missing).map(String::as_str).collect();
            missing.sort_unstable();
            missing.dedup();
            let _ = write!(text, ", {asleep} asleep for want of [parameters] {}", missing.join(", "));
        }
        text.push('\n');
    }
    for group in assembly.policies.groups().iter().filter(|_| assembly.policies.groups().len() > 1) {
        let (rules, mode, hash) = (group.policy.rules(), group.policy.mode().label(), group.policy.hash());
        let _ = writeln!(text, "  client group {}: {rules} rules, {mode}, policy {hash}", group.name);
    }
    for (origin, records) in assembly.local.sizes() {
        let _ = writeln!(text, "  local zone {origin}: {records} records");
    }
    text
}
