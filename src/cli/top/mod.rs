//! `namegate top`: shows the activity of a running resolver in the terminal.
//!
//! `snapshot` reads the JSON pages, `screen` and `text` show them, `live` is the loop between.

mod live;
mod look;
mod quantity;
mod screen;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

use clap::Args;
use tokio::runtime::Builder;

use self::snapshot::Reader;
use super::http::AdminClient;
use crate::assemble::Sources;
use crate::cli::output::{OK, fail, try_print};

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one snapshot and exit (default when stdout is not a terminal)
    #[arg(long)]
    once: bool,
    /// Print one snapshot as JSON: `status`, `top` and `recent`
    #[arg(long)]
    json: bool,
}

/// Shows the resolver whose admin listener the settings name.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    let shown = AdminClient::of(sources).map_err(Into::into).and_then(|listener| show(arguments, listener));
    match shown {
        Ok(()) => OK,
        Err(error) => fail(&*error),
    }
}

fn show(arguments: &Arguments, listener: AdminClient) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let url = listener.url("");
    let mut reader = Reader::new(listener);
    let snapshot = runtime.block_on(reader.read()).map_err(|error| {
        error.or_help(
            "pass the admin address of a running resolver with --admin (`namegate serve` starts one)",
        )
    })?;
    if arguments.json {
        try_print(&serde_json::to_string(&snapshot)?)?;
    } else if arguments.once || !look::is_screen() {
        try_print(&text::text(&snapshot, &url))?;
    } else {
        live::run(runtime, reader, snapshot, &url)?;
    }
    Ok(())
}
