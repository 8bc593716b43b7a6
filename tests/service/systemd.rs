//! Tests the units in config/systemd with systemd's own tools.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::command::binary;

/// Highest exposure that `systemd-analyze security` may report, in tenths; 0 is none, 100 is full.
const EXPOSURE: u32 = 16;

const UNITS: [&str; 4] =
    ["namegate.service", "namegate.socket", "namegate-pull.service", "namegate-pull.timer"];

fn units() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd")
}

fn analyze(arguments: &[String]) -> String {
    let run = Command::new("systemd-analyze").args(arguments).output().expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{arguments:?}:\n{told}");
    told
}

#[test]
#[ignore = "needs systemd-analyze; .ci/run runs it"]
fn systemd_takes_the_units_without_complaint() {
    let directory = TempDir::new().expect("a temporary directory");
    for unit in UNITS {
        let text = fs::read_to_string(units().join(unit)).expect("a unit");
        // The unit's binary is not installed here.
        let text = text.replace("ExecStart=/usr/bin/namegate", &format!("ExecStart={}", binary().display()));
        fs::write(directory.path().join(unit), text).expect("a file can be written");
    }
    let at = |unit: &str| directory.path().join(unit).display().to_string();
    let told = analyze(&[&["verify".to_owned()], &UNITS.map(at)[..]].concat());
    assert_eq!(told, "");
}

#[test]
#[ignore = "needs systemd-analyze; .ci/run runs it"]
fn the_services_expose_little() {
    for unit in ["namegate.service", "namegate-pull.service"] {
        let path = units().join(unit).display().to_string();
        let told = analyze(&["security".to_owned(), "--offline=true".to_owned(), path]);
        let level = told.split(&format!("Overall exposure level for {unit}: ")).nth(1);
        let level =
            level.and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("no level:\n{told}"));
        let tenths: u32 = level.replace('.', "").parse().expect("a number");
        assert!(tenths <= EXPOSURE, "{told}");
    }
}
