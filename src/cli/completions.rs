//! `namegate completions`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::output::print;

/// The shell.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Shell to write the script for
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let mut script = Vec::new();
    generate(arguments.shell, &mut super::Command::command(), "namegate", &mut script);
    print(&String::from_utf8_lossy(&script))
}
