//! `namegate export`: the effective policy in the words of other enforcers.

use std::path::PathBuf;

use clap::Args;

use super::output::deliver;
use crate::address::upstream::UpstreamAddress;
use crate::assemble::Assembly;
use crate::cli::output::{FAILED, OK, USAGE, warn};
use crate::tools::export::{Target, export};

/// What to write, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to write the policy for
    #[arg(value_enum)]
    target: Target,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where the target can only say more than a rule does, say more instead of leaving the rule out
    #[arg(long)]
    widen: bool,
    /// Exit with status 1 where anything was left out or widened
    #[arg(long)]
    strict: bool,
}

/// True where no upstream can be asked in clear.
fn asks_encrypted_alone(assembly: &Assembly) -> bool {
    assembly.settings.upstream.servers.iter().all(UpstreamAddress::is_encrypted)
}

/// Exports. What the target cannot express is told on standard error, a line for each rule.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    if arguments.target.names_upstreams() && asks_encrypted_alone(assembly) {
        warn(
            "error: all upstreams are encrypted, and the file would have their names asked in clear\n  help: name the \
             resolver that is to be asked with `--upstream ADDRESS`",
        );
        return USAGE;
    }
    let export = export(arguments.target, assembly, arguments.widen);
    for remark in &export.remarks {
        warn(&format!("warning: {remark}"));
    }
    match deliver(&export.text, arguments.output.as_deref()) {
        OK if arguments.strict && !export.remarks.is_empty() => FAILED,
        status => status,
    }
}
