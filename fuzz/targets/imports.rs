//! Fuzzes every import format: the result can be read back by its target, and every error has a position inside the
//! file.

use namegate::diagnostics::{Severity, Source};
use namegate::local::LocalZones;
use namegate::tools::import::{File, Format, ImportOptions, Imported, import};
use toml::value::Date;

use super::Action;
use super::zone_file::{check_report, read_zone};

const FORMATS: [Format; 6] = [
    Format::AzureMl,
    Format::AzureFirewall,
    Format::PrivateEndpoint,
    Format::PrivateZone,
    Format::Rpz,
    Format::List,
];

/// `data` is a file of any format.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Source::new("fuzz", text);
    for format in FORMATS {
        for wildcards in [false, true] {
            let options = ImportOptions { wildcards, today: Date { year: 2026, month: 3, day: 19 } };
            match import(format, &source, options) {
                Ok(imported) => check(format, wildcards, &imported),
                Err(report) => check_report(&report, data),
            }
        }
    }
}

fn check(format: Format, wildcards: bool, imported: &Imported) {
    // The last remark of a master file is a settings snippet.
    let is_master_file = matches!(format, Format::PrivateEndpoint | Format::PrivateZone);
    for remark in imported.remarks.iter().filter(|_| !is_master_file) {
        assert!(!remark.contains(char::is_control), "{remark:?}");
    }
    for File { name, text } in &imported.files {
        assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{name:?}");
        if is_master_file {
            let origin = text.lines().find_map(|line| line.strip_prefix("$ORIGIN ")).unwrap();
            if let Err(faults) = LocalZones::from_texts(&[(origin, text)]) {
                panic!("{faults:?}: {text}");
            }
            continue;
        }
        let source = Source::new("imported.toml", &**text);
        let (zone, found) = read_zone(&source);
        assert!(found.iter().all(|one| one.severity != Severity::Error), "{found:?}: {text}");
        for rule in &zone.rules {
            let is_wide = rule.host.starts_with(['*', '.']);
            assert!(
                wildcards || rule.action == Action::Deny || !is_wide,
                "{} is not in the input",
                rule.host
            );
        }
    }
}
