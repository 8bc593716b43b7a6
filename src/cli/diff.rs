//! `namegate diff`: compares the hosts that a workspace needs with the policy.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::import::{read, refuse};
use crate::assemble::{Sources, assemble};
use crate::cli::output::{FAILED, OK, USAGE, complain, print};
use crate::foreign::dependencies;
use crate::policy::rule::Pattern;
use crate::tools::diff::{Difference, Needed, Unlisted, WiderRule, compare};

/// Needed hosts shown for a rule that is wider; JSON has all of them.
const SHOWN: usize = 2;

/// The list to compare with.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// JSON of `outboundNetworkDependenciesEndpoints`; `-` is standard input
    file: PathBuf,
    /// Show only hosts that are needed and blocked
    #[arg(long)]
    needed_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compares; exit status 0 without a difference, 1 with one, 2 if the file or the settings cannot be used.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    let dependencies = match read(&arguments.file).and_then(|source| dependencies::read(&source)) {
        Ok(dependencies) => dependencies,
        Err(report) => {
            refuse(&report);
            return USAGE;
        }
    };
    let assembly = match assemble(sources, 1) {
        Ok(assembly) => assembly,
        Err(faults) => {
            complain(&faults);
            return USAGE;
        }
    };
    let mut difference = compare(&dependencies, &assembly);
    if arguments.needed_only {
        difference.wider.clear();
        difference.unlisted.clear();
    }
    let printed = match arguments.json {
        true => print(&as_json(&difference).to_string()),
        false => print(&as_text(&difference)),
    };
    printed.max(if difference == Difference::default() { OK } else { FAILED })
}

fn as_text(difference: &Difference) -> String {
    let needed = difference.needed.iter().map(|needed| {
        let what = if needed.in_part { "needed, partly blocked" } else { "needed, blocked" };
        let categories = needed.categories.join(", ").escape_debug().to_string();
        let about: Vec<String> = std::iter::once(categories).chain(ports(needed)).collect();
        format!("+ {what}: {} ({}): {}\n", needed.pattern, about.join(", "), needed.reason)
    });
    let wider = difference.wider.iter().map(|WiderRule { pattern, place, needed }| {
        format!("~ allowed, wider than needed: {pattern}  {place} (needed: {})\n", few(needed))
    });
    let unlisted = difference.unlisted.iter();
    let unlisted =
        unlisted.map(|Unlisted { pattern, place }| format!("- allowed, not needed: {pattern}  {place}\n"));
    let text: String = needed.chain(wider).chain(unlisted).collect();
    if text.is_empty() { "no difference\n".to_owned() } else { text }
}

/// The first patterns, and how many more there are.
fn few(patterns: &[Pattern]) -> String {
    let (shown, rest) = patterns.split_at(patterns.len().min(SHOWN));
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    match rest.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn as_json(difference: &Difference) -> Value {
    let needed = difference.needed.iter().map(|needed| {
        json!({
            "host": needed.pattern.to_string(),
            "categories": needed.categories,
            "ports": ports(needed),
            "reason": needed.reason,
            "in_part": needed.in_part,
        })
    });
    let wider = difference.wider.iter().map(|rule| {
        let needed: Vec<String> = rule.needed.iter().map(ToString::to_string).collect();
        json!({ "pattern": rule.pattern.to_string(), "place": rule.place, "needed": needed })
    });
    let unlisted = difference.unlisted.iter();
    let unlisted = unlisted.map(|rule| json!({ "pattern": rule.pattern.to_string(), "place": rule.place }));
    json!({
        "needed": needed.collect::<Vec<_>>(),
        "wider": wider.collect::<Vec<_>>(),
        "not_listed": unlisted.collect::<Vec<_>>(),
    })
}

fn ports(needed: &Needed) -> Vec<String> {
    needed.ports.iter().map(ToString::to_string).collect()
}
