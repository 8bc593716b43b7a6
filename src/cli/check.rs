//! `namegate check`: faults of settings, allowlists, parameters and local zones.

use std::fmt::Write;
use std::io::IsTerminal;

use clap::Args;

use crate::allowlist::AllowlistRule;
use crate::assemble::Assembly;
use crate::cli::output::{FAILED, counted, print, today, warn};
use crate::diagnostics::Severity;
use crate::policy::Mode;
use crate::service::reload::summary;
use crate::service::{sockets, start_checks};
use crate::tools::advise::{Advice, AdviceKind, advise};
use crate::util::escape::on_one_line;

/// Occurrences shown of each kind of warning without `--all`.
const PLACES: usize = 5;

/// What to report, and what counts as a failure.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Show every occurrence of each warning
    #[arg(long)]
    all: bool,
    /// Treat warnings as errors (exit status 1)
    #[arg(long)]
    deny_warnings: bool,
    /// Check only the files of the policy, not this host: ports, addresses, secrets, directories
    #[arg(long)]
    files_only: bool,
    /// Do not report this kind of warning; repeatable or comma-separated
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    allow: Vec<AdviceKind>,
}

/// Prints an overview and warnings, then runs the tests that `serve` runs before it binds. Faults of the files were reported before.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    let warnings = warn_of(arguments, assembly);
    let printed = print(&overview(assembly));
    if arguments.deny_warnings && warnings > 0 {
        warn(&format!("error: {}, and --deny-warnings is set", counted(warnings as u64, "warning")));
        return FAILED;
    }
    let faults = if arguments.files_only { Vec::new() } else { host_faults(assembly) };
    for fault in &faults {
        warn(&format!("error: {fault}"));
    }
    if !faults.is_empty() {
        return FAILED;
    }
    print("ok\n").max(printed)
}

/// What keeps `serve` from starting on this host. A port that a running namegate may use is only mentioned: this command
/// usually runs beside it, before a reload.
fn host_faults(assembly: &Assembly) -> Vec<String> {
    let mut faults = start_checks::faults(assembly);
    for error in sockets::test(&assembly.settings) {
        match error.may_be_own() {
            true => warn(&format!("note: {error}")),
            false => faults.push(error.to_string()),
        }
    }
    faults
}

/// Prints the warnings and returns their number.
fn warn_of(arguments: &Arguments, assembly: &Assembly) -> usize {
    if !assembly.warnings.is_empty() {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        warn(&assembly.warnings.render(color));
    }
    for parameter in &assembly.unused_parameters {
        warn(&format!("warning: no loaded allowlist uses the parameter `{}`", on_one_line(parameter)));
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

/// A warning with its first occurrences and its remedy.
fn shown(advice: &Advice) -> String {
    let group = advice
        .group
        .as_ref()
        .map(|group| format!("client group `{}`: ", on_one_line(group)))
        .unwrap_or_default();
    let mut text = format!("warning[{}]: {group}{} ({})\n", advice.kind.word(), advice.message, advice.count);
    for finding in &advice.findings {
        let _ = writeln!(text, "  --> {}: {}", on_one_line(&finding.place), on_one_line(&finding.text));
    }
    if let Some(more @ 1..) = advice.hidden_count() {
        let _ = writeln!(text, "  … and {more} more (--all shows them)");
    }
    text + "  help: " + &on_one_line(&advice.help)
}

/// The policy, its allowlists, client groups and local zones.
fn overview(assembly: &Assembly) -> String {
    let mut text = format!("{}: {}\n", on_one_line(&assembly.origin), summary(assembly));
    for zone in &assembly.zones {
        let inactive = zone.rules.iter().filter(|rule| !rule.missing.is_empty()).count();
        let is_excluded = |rule: &&AllowlistRule| rule.broad && rule.missing.is_empty();
        let excluded = match assembly.settings.policy.strict {
            true => zone.rules.iter().filter(is_excluded).count(),
            false => 0,
        };
        let what = if inactive + excluded > 0 { "active rule" } else { "rule" };
        let active = counted((zone.count - inactive - excluded) as u64, what);
        let _ = write!(text, "  {}: {active}", on_one_line(&zone.file));
        if excluded > 0 {
            let _ = write!(text, ", {excluded} excluded by policy.strict");
        }
        if inactive > 0 {
            let mut missing: Vec<&str> =
                zone.rules.iter().flat_map(|rule| &rule.missing).map(String::as_str).collect();
            missing.sort_unstable();
            missing.dedup();
            let _ = write!(text, ", {inactive} inactive (set [parameters] {})", missing.join(", "));
        }
        text.push('\n');
    }
    for group in assembly.policies.groups().iter().filter(|_| assembly.policies.groups().len() > 1) {
        let (rules, hash) = (counted(group.policy.rules() as u64, "rule"), group.policy.hash());
        let mode = match group.policy.mode() {
            Mode::Enforce => "enforced",
            Mode::Observe => "observe mode",
        };
        let _ = writeln!(text, "  client group {}: {rules}, {mode}, policy {hash}", on_one_line(&group.name));
    }
    for (origin, records) in assembly.local.sizes() {
        let _ = writeln!(text, "  local zone {origin}: {records} records");
    }
    text
}
