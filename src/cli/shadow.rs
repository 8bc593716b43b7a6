//! `namegate shadow`: lookups that the candidate policy would decide differently, as the running resolver has counted them.

use std::fmt::Write;

use clap::Args;

use super::http::AdminClient;
use crate::api::pages::ShadowJson;
use crate::assemble::Sources;
use crate::cli::output::{FAILED, OK, USAGE, fail, print, warn};

/// The format.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the differences; exit status 0 without any, 1 with some.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    let listener = match AdminClient::of(sources) {
        Ok(listener) => listener,
        Err(error) => {
            warn(&error);
            return USAGE;
        }
    };
    match listener.read::<Option<ShadowJson>>("/api/v1/shadow") {
        Ok(Some(shadow)) => {
            let printed = match arguments.json {
                true => print(&serde_json::to_string(&shadow).unwrap_or_default()),
                false => print(&text(&shadow)),
            };
            printed.max(if shadow.would_block + shadow.would_allow == 0 { OK } else { FAILED })
        }
        Ok(None) => {
            warn("error: no candidate policy\n  help: set `policy.shadow` to its settings file, and reload");
            USAGE
        }
        Err(error) => fail(&*error),
    }
}

fn text(shadow: &ShadowJson) -> String {
    let mut text = format!(
        "candidate policy {} ({} rules): would block {} lookups that are answered now, and answer {} that are blocked \
         now\n",
        shadow.hash, shadow.rules, shadow.would_block, shadow.would_allow
    );
    for difference in &shadow.differences {
        let change = match difference.change.as_str() {
            "would_block" => "- would block",
            _ => "+ would allow",
        };
        let client = difference.client.as_deref().map(|client| format!(" from {client}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {change}  {}  lookups: {}, last {}{client}",
            difference.name, difference.count, difference.last
        );
    }
    text
}
