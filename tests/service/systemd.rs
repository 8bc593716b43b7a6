//! Tests the units in config/systemd with systemd's own tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::binary;

/// Highest exposure that `systemd-analyze security` may report, in tenths; 0 is none, 100 is full.
const EXPOSURE: u32 = 16;

fn units() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd")
}

fn analyze(arguments: &[&str]) -> String {
    let run = Command::new("systemd-analyze").args(arguments).output().expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{arguments:?}:\n{told}");
    told
}

#[test]
#[ignore = "needs systemd-analyze; .ci/run runs it"]
fn systemd_takes_the_units_without_complaint() {
    let directory = TempDir::new().expect("a temporary directory");
    for unit in ["namegate.service", "namegate.socket"] {
        let text = fs::read_to_string(units().join(unit)).expect("a unit");
        // The unit's binary is not installed here.
        let text = text.replace("ExecStart=/usr/bin/namegate", &format!("ExecStart={}", binary().display()));
        fs::write(directory.path().join(unit), text).expect("a file can be written");
    }
    let at = |unit: &str| directory.path().join(unit).display().to_string();
    let told = analyze(&["verify", &at("namegate.service"), &at("namegate.socket")]);
    assert_eq!(told, "");
}

#[test]
#[ignore = "needs systemd-analyze; .ci/run runs it"]
fn the_service_exposes_little() {
    let unit = units().join("namegate.service").display().to_string();
    let told = analyze(&["security", "--offline=true", &unit]);
    let level = told.split("Overall exposure level for namegate.service: ").nth(1);
    let level = level.and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("no level:\n{told}"));
    let tenths: u32 = level.replace('.', "").parse().expect("a number");
    assert!(tenths <= EXPOSURE, "{told}");
}
