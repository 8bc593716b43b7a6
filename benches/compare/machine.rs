//! [`Machine`]: the hardware and software that the figures were measured on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::contender::{Contender, Kind};
use crate::packages;

/// Where, when and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    /// One line per processor vulnerability that the kernel knows and the machine has.
    pub(crate) mitigations: Vec<String>,
    /// Namegate's commit, marked if files differ from it.
    pub(crate) commit: String,
    /// Versions of the peers' packages.
    pub(crate) versions: BTreeMap<&'static str, String>,
}

impl Machine {
    pub(crate) fn inspect(contenders: &[Contender]) -> Self {
        let version = |contender: &Contender| match contender.kind {
            Kind::Peer(package) => packages::version(package).map(|version| (package, version)),
            Kind::Floor | Kind::Own => None,
        };
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let mut models = processors.lines().filter_map(|line| line.strip_prefix("model name"));
        let repository = env!("CARGO_MANIFEST_DIR");
        Self {
            date: said_by("date", &["--utc", "+%Y-%m-%d"]),
            cores: models.clone().count(),
            processor: models.next_back().unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned(),
            kernel: said_by("uname", &["-sr"]),
            mitigations: mitigations(),
            commit: said_by("git", &["-C", repository, "describe", "--always", "--dirty"]),
            versions: contenders.iter().filter_map(version).collect(),
        }
    }
}

fn mitigations() -> Vec<String> {
    let directory = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
    let state = |entry: fs::DirEntry| {
        let state = fs::read_to_string(entry.path()).ok()?;
        let name = entry.file_name().display().to_string();
        (state.trim_end() != "Not affected").then(|| format!("{name}: {}", state.trim_end()))
    };
    let mut states: Vec<String> = directory.filter_map(state).collect();
    states.sort();
    states
}

/// What a program prints; empty if it cannot be run.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned()).unwrap_or_default()
}
