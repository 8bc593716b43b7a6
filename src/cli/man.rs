//! `namegate man`: the man pages, one per command, from the texts that `--help` prints.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::cli::output::{FAILED, OK, warn};

/// Where to write.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory for the man pages; must exist
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Writes the pages.
pub(super) fn run(arguments: &Arguments) -> u8 {
    match clap_mangen::generate_to(super::Command::command(), &arguments.directory) {
        Ok(()) => OK,
        Err(error) => {
            warn(&format!(
                "error: {}: cannot write man pages: {error}\n  help: pass an existing directory",
                arguments.directory.display()
            ));
            FAILED
        }
    }
}
