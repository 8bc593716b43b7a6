//! Tests rules for the source and for builds: unsafe code, locked dependencies.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the source tree") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The compiler denies unsafe code; only these files allow it.
#[test]
fn unsafe_code_is_in_two_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "benches"] {
        sources(&root.join(directory), &mut found);
    }
    let mut allowing: Vec<_> = found
        .into_iter()
        .filter(|path| fs::read_to_string(path).expect("a source file").contains("unsafe_code"))
        .collect();
    allowing.sort();
    assert_eq!(allowing, ["src/net/batch/linux.rs", "src/util/allocator.rs"].map(|file| root.join(file)));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""));
}

/// Every line of the log has its event in the list.
#[test]
fn log_lines_are_written_with_their_event() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    let list = root.join("src/util/log_event.rs");
    assert!(found.contains(&list));
    for path in found.into_iter().filter(|path| *path != list) {
        let text = fs::read_to_string(&path).expect("a source file");
        for level in ["error", "warn", "info", "debug", "trace", "event"] {
            let call = format!("tracing::{level}!");
            assert!(!text.contains(&call), "{}: write `log!(EVENT, …)` for `{call}`", path.display());
        }
    }
}

/// The cargo commands in the scripts of `.ci` and in the Dockerfile, each split into words.
fn cargo_calls() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = fs::read_dir(root.join(".ci")).expect(".ci").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = scripts.chain(["Dockerfile", "justfile"].map(|file| root.join(file))).collect();
    assert!(files.len() >= 4, "{files:?}");
    let mut calls = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a script").replace("\\\n", " ");
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let words = line.split(|end: char| end.is_whitespace() || "();".contains(end));
            let words: Vec<String> = words.map(str::to_owned).collect();
            let starts = words.iter().enumerate().filter(|(_, word)| *word == "cargo");
            calls.extend(starts.map(|(start, _)| {
                let rest =
                    words[start + 1..].iter().take_while(|word| !["&&", "||", "|"].contains(&word.as_str()));
                rest.cloned().collect()
            }));
        }
    }
    calls
}

/// Without `--locked`, a build uses whatever the registry has that day.
#[test]
fn what_is_built_is_what_is_locked() {
    let calls = cargo_calls();
    assert!(calls.len() >= 12, "{calls:?}");
    // `cyclonedx` has no such option; the build before it has checked the lock file.
    let builds_nothing = |call: &&Vec<String>| ["cyclonedx", "fmt", "update"].contains(&call[0].as_str());
    for call in calls.iter().filter(|call| !builds_nothing(call)) {
        assert!(call.iter().any(|word| word == "--locked"), "cargo {}", call.join(" "));
    }
}

/// Release binaries embed the list of their dependencies.
#[test]
fn release_binaries_list_their_dependencies() {
    let release = |call: &&Vec<String>| call[0] != "run" && call.iter().any(|word| word == "--release");
    let calls = cargo_calls();
    let builds: Vec<&Vec<String>> = calls.iter().filter(release).collect();
    assert!(builds.len() >= 3, "{builds:?}");
    assert!(builds.iter().all(|call| call.starts_with(&["auditable".into(), "build".into()])), "{builds:?}");
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).expect(".ci/run");
    let version = script.split("tool cargo-auditable ").nth(1).and_then(|rest| rest.lines().next());
    let pinned = format!("={}", version.expect("a version"));
    let install = calls.iter().find(|call| call.iter().any(|word| word == "cargo-auditable"));
    assert!(install.expect("the image installs it").contains(&pinned), "the image has another version");
}
