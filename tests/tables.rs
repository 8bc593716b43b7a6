//! Runs the behaviour tables of `tests/data`, one named test per row and transport.
//!
//! `bypass.toml` lists ways to bypass an allowlist, `protocol.toml` requirements of the protocol, `rule_files.toml`
//! valid and invalid rules. Rows of the first two run over UDP and TCP, against rule sets of several sizes, and assert
//! both ends: what the client gets and what the upstream receives.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "the harness reports by printing")]

#[allow(dead_code, reason = "shared with the black_box target, which uses the rest")]
mod support;
mod table;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use table::fleet::Fleet;
use table::{Table, rule_file};

/// Default number of threads: rows wait for processes more than they compute.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let fleets = ["bypass", "protocol"].map(|name| Arc::new(Fleet::new(name, Table::load(name))));
    let mut trials: Vec<Trial> = fleets.iter().flat_map(trials).collect();
    trials.extend(rule_file::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut leaks = 0;
    for fleet in &fleets {
        let tally = fleet.tally();
        println!("{}: {tally}", fleet.name());
        leaks += tally.leaks();
    }
    if conclusion.has_failed() || leaks > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let rows = fleet.table().rows.iter().enumerate();
    let cases = rows.flat_map(|(index, row)| row.over.iter().map(move |transport| (index, row, *transport)));
    cases
        .map(|(index, row, transport)| {
            let fleet = Arc::clone(fleet);
            let name = format!("{}::{}::{transport}", fleet.name(), row.name);
            Trial::test(name, move || Ok(fleet.run(index, transport)?))
        })
        .collect()
}
