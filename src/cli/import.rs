//! `namegate import`: allowlists and local zones from the lists of Azure and other resolvers.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::deliver;
use crate::cli::output::{FAILED, OK, USAGE, today, warn};
use crate::diagnostics::{Diagnostic, Report, Source, read_source};
use crate::tools::import::{Format, ImportOptions, Imported, import};

/// What to import, and where to.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Format of the file
    #[arg(value_enum)]
    format: Format,
    /// File to convert; `-` is standard input
    file: PathBuf,
    /// Write to this file or directory [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also convert wildcard patterns: `*.x` and `.x`
    #[arg(long)]
    wildcards: bool,
}

/// Imports; exit status 1 if a line was not imported, 2 if the input cannot be read.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let options = ImportOptions { wildcards: arguments.wildcards, today: today() };
    let imported = match read(&arguments.file).and_then(|source| import(arguments.format, &source, options)) {
        Ok(imported) => imported,
        Err(report) => {
            refuse(&report);
            return USAGE;
        }
    };
    imported.remarks.iter().for_each(|remark| warn(remark));
    match write(&imported, arguments.output.as_deref()) {
        OK if !imported.complete => FAILED,
        status => status,
    }
}

/// Reads a file or standard input.
pub(super) fn read(file: &Path) -> Result<Source, Report> {
    if file != Path::new("-") {
        return read_source(file);
    }
    let mut bytes = Vec::new();
    let unreadable = |error| Diagnostic::unreadable("standard input", &error);
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let help = "save it as UTF-8".to_owned();
        Diagnostic::error("standard input", "not UTF-8").with_help(help)
    })?;
    Ok(Source::new("standard input", text))
}

/// Prints the faults of the input.
pub(super) fn refuse(report: &Report) {
    warn(&report.render(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()));
}

fn write(imported: &Imported, output: Option<&Path>) -> u8 {
    match (output, imported.files.as_slice()) {
        (Some(directory), files) if directory.is_dir() => {
            let each = files.iter().map(|file| deliver(&file.text, Some(&directory.join(&file.name))));
            each.max().unwrap_or(OK)
        }
        (output, [file]) => deliver(&file.text, output),
        (None, files) => {
            let each = files.iter().map(|file| format!("; {}\n{}", file.name, file.text));
            deliver(&each.collect::<Vec<_>>().join("\n"), None)
        }
        (Some(path), files) => {
            warn(&format!(
                "error: {}: {} files to write\n  help: pass a directory with --output",
                path.display(),
                files.len()
            ));
            USAGE
        }
    }
}
