//! `namegate import`: allowlists and local zones from the lists of Azure and other resolvers.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::deliver;
use crate::cli::output::{FAILED, OK, USAGE, today, warn};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::foreign::decode;
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
    let mut bytes = Vec::new();
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| Diagnostic::unreadable(&name, &error))?;
    decode(&name, bytes)
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
