//! Replays every committed input of every fuzz target without a fuzzer, as a regression test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, reason = "the harness reports by printing")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "targets/mod.rs"]
pub mod targets;

fn main() -> ExitCode {
    let replayed = Arc::new(AtomicUsize::new(0));
    let trial = |(name, run): targets::Target| {
        let replayed = Arc::clone(&replayed);
        Trial::test(name, move || {
            replayed.fetch_add(replay(name, run)?, Ordering::Relaxed);
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&Arguments::from_args(), targets::ALL.map(trial).into());
    println!("{} inputs of {} targets replayed", replayed.load(Ordering::Relaxed), conclusion.num_passed);
    conclusion.exit_code()
}

/// Runs every input of one target; returns their number.
fn replay(name: &str, run: fn(&[u8])) -> Result<usize, Failed> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<PathBuf>, _>>()?;
    if files.is_empty() {
        return Err(format!("{}: no input", corpus.display()).into());
    }
    for file in &files {
        let input = fs::read(file)?;
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            return Err(format!("fails on {}", file.display()).into());
        }
    }
    Ok(files.len())
}
