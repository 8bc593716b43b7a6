//! The `namegate` command. All code is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    namegate::cli::main()
}
