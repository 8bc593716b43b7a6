//! Settings files: every fault has a place inside the file, and settings that are taken read back equal from what they print.

use std::path::Path;

use namegate::config::settings;
use namegate::diagnostics::{Report, Severity, Source};

use super::zone_file::{check_places, check_report};

/// `data` is the file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Certificates are read where the settings name them: nothing of the machine is to be.
    if text.contains("roots") {
        return;
    }
    let source = Source::new("fuzz.toml", text);
    let (read, found) = settings(&source, Path::new("/nonexistent"));
    check_places(&source, &found);
    if found.iter().all(|one| one.severity != Severity::Error) {
        let written = read.to_toml();
        let source = Source::new("written.toml", &*written);
        let (again, found) = settings(&source, Path::new(""));
        assert!(found.iter().all(|one| one.severity != Severity::Error), "{}", Report::new(source, found));
        assert_eq!(again, read, "{written}");
    }
    check_report(&Report::new(source, found), data);
}
