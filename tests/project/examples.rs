//! Tests the shipped files: settings, allowlists, and the names they are made for.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{available_parallelism, scope};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use toml::{Table, Value};

use crate::support::command::namegate;

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a directory with this ending, sorted.
pub(super) fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|have| have == ending)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no .{ending} file in {directory}");
    paths
}

pub(super) fn data<T: DeserializeOwned>(name: &str) -> T {
    let text = fs::read_to_string(root().join("tests/data").join(name)).expect("a data file");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A directory with settings that enable these allowlists.
pub(super) fn settings(zones: &[&str], parameters: &Table, strict: bool) -> TempDir {
    let policy = Table::from_iter([
        ("zones".to_owned(), Value::from(zones.to_vec())),
        ("strict".to_owned(), Value::from(strict)),
    ]);
    let upstream = Table::from_iter([("servers".to_owned(), Value::from(vec!["127.0.0.1:53535"]))]);
    let settings = Table::from_iter([
        ("policy".to_owned(), Value::from(policy)),
        ("upstream".to_owned(), Value::from(upstream)),
        ("parameters".to_owned(), Value::from(parameters.clone())),
    ]);
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("namegate.toml"), settings.to_string()).expect("a file can be written");
    directory
}

/// True if `namegate explain` allows the name.
pub(super) fn allows(directory: &Path, name: &str) -> bool {
    let run = namegate(directory, &["explain", name, "--config", "namegate.toml"]);
    match run.code {
        0 => true,
        1 if run.stdout.starts_with("blocked") => false,
        _ => panic!("explain {name}: {run:?}"),
    }
}

/// Runs `check` on every item, on all cores, and fails with all its messages.
pub(super) fn in_parallel<T: Sync>(items: &[T], check: impl Fn(&T) -> Vec<String> + Sync) {
    let threads = available_parallelism().map_or(2, usize::from);
    let size = items.len().div_ceil(threads).max(1);
    let failures: Vec<String> = scope(|scope| {
        let check = &check;
        let runs: Vec<_> = items
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().flat_map(check).collect::<Vec<_>>()))
            .collect();
        runs.into_iter().flat_map(|run| run.join().expect("a check ends")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_settings_file_is_good() {
    for path in files("config", "toml") {
        let path = path.to_str().expect("a path in UTF-8");
        namegate(&root(), &["check", "--files-only", "--config", path]).expect_code(0);
    }
}

#[test]
fn every_option_is_printed_at_its_default() {
    let every = root().join("config/every-option.toml");
    let printed = |arguments: &[&str]| namegate(&root(), arguments).expect_code(0).stdout;
    let from_file = printed(&["config", "--config", every.to_str().expect("a path in UTF-8")]);
    let empty = TempDir::new().expect("a temporary directory");
    fs::write(empty.path().join("namegate.toml"), "# defaults\n").expect("a file can be written");
    let defaults = namegate(empty.path(), &["config", "--config", "namegate.toml"]).expect_code(0).stdout;
    assert_eq!(from_file.parse::<Table>().expect("TOML"), defaults.parse::<Table>().expect("TOML"));
}

#[test]
fn every_zone_is_good_alone() {
    in_parallel(&files("zones", "toml"), |path| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8");
        let directory = settings(&[name], &Table::new(), false);
        let run = namegate(directory.path(), &["check", "--config", "namegate.toml"]);
        if run.code == 0 { Vec::new() } else { vec![format!("{name}: {}", run.stderr)] }
    });
}

#[test]
fn every_zone_is_good_together() {
    let paths = files("zones", "toml");
    let names: Vec<&str> = paths.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let directory = settings(&names, &Table::new(), false);
    namegate(directory.path(), &["check", "--config", "namegate.toml"]).expect_code(0);
}

#[derive(Deserialize)]
struct Founding {
    row: Vec<FoundingRow>,
}

#[derive(Deserialize)]
struct FoundingRow {
    printed: String,
    zone: String,
    must_resolve: Vec<String>,
    #[serde(default)]
    parameters: Table,
}

#[test]
fn every_row_of_the_founding_list_is_allowed_by_its_zone() {
    let rows = data::<Founding>("founding-2020-07-17.toml").row;
    assert!(rows.len() > 20);
    in_parallel(&rows, |row| {
        let directory = settings(&[&row.zone], &row.parameters, false);
        let missing = row.must_resolve.iter().filter(|name| !allows(directory.path(), name));
        missing
            .map(|name| format!("{name} of row `{}` is not allowed by {}", row.printed, row.zone))
            .collect()
    });
}

#[test]
fn every_row_of_the_founding_list_is_allowed_by_default() {
    let rows = data::<Founding>("founding-2020-07-17.toml").row;
    let zones = ["azure-ml", "azure-government", "sign-in", "python", "r"];
    in_parallel(&rows, |row| {
        let directory = settings(&zones, &row.parameters, false);
        let missing = row.must_resolve.iter().filter(|name| !allows(directory.path(), name));
        missing.map(|name| format!("{name} of row `{}` is not allowed", row.printed)).collect()
    });
}

#[derive(Deserialize)]
struct Workspace {
    parameters: Table,
    name: Vec<WorkspaceName>,
}

#[derive(Deserialize)]
struct WorkspaceName {
    name: String,
    zone: String,
    strict: bool,
}

#[test]
fn every_name_a_workspace_asks_for_is_allowed() {
    let workspace: Workspace = data("workspace-2026-03-19.toml");
    in_parallel(&workspace.name, |row| {
        let allowed = |strict| {
            let directory = settings(&[&row.zone], &workspace.parameters, strict);
            allows(directory.path(), &row.name)
        };
        let lenient = (!allowed(false)).then(|| format!("{} is not allowed by {}", row.name, row.zone));
        let strict =
            (allowed(true) != row.strict).then(|| format!("{}: strict is not {}", row.name, row.strict));
        lenient.into_iter().chain(strict).collect()
    });
}
