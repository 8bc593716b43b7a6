//! `namegate export`: the effective policy for firewalls and other resolvers.

use std::path::PathBuf;

use clap::Args;

use super::output::deliver;
use crate::address::upstream::UpstreamAddress;
use crate::assemble::Assembly;
use crate::cli::output::{FAILED, OK, USAGE, counted, warn};
use crate::tools::export::{Target, export};

/// What to write, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Firewall or resolver to write for
    #[arg(value_enum)]
    target: Target,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Widen rules that the target cannot express, instead of omitting them
    #[arg(long)]
    widen: bool,
    /// Treat warnings as errors (exit status 1)
    #[arg(long)]
    strict: bool,
}

/// True if every upstream is encrypted.
fn has_only_encrypted_upstreams(assembly: &Assembly) -> bool {
    assembly.settings.upstream.servers.iter().all(UpstreamAddress::is_encrypted)
}

/// Exports. Prints a line on standard error for each rule that the target cannot express.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    if arguments.target.names_upstreams() && has_only_encrypted_upstreams(assembly) {
        warn(
            "error: all upstreams are encrypted, and this export writes only unencrypted ones\n  help: pass a plain \
             resolver with `--upstream ADDRESS`",
        );
        return USAGE;
    }
    let export = export(arguments.target, assembly, arguments.widen);
    for remark in &export.remarks {
        warn(&format!("warning: {remark}"));
    }
    match deliver(&export.text, arguments.output.as_deref()) {
        OK if arguments.strict && !export.remarks.is_empty() => {
            let warnings = counted(export.remarks.len() as u64, "warning");
            warn(&format!("error: {warnings}, and --strict is set"));
            FAILED
        }
        status => status,
    }
}
