//! Fuzzes settings files: every error has a position inside the file, and accepted settings read back equal from their
//! printed form.

use std::path::Path;

use namegate::config::settings;
use namegate::diagnostics::{Report, Severity, Source};

use super::zone_file::{check_places, check_report};

/// `data` is the file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Certificates would be read from paths in the settings: nothing of the machine may be read here.
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
