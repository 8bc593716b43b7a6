//! Measures namegate under overload: how many known names it still answers during a flood of cache misses or of
//! packets, and how soon it recovers.
//!
//! Run `cargo bench --bench overload` on a machine with at least two cores: namegate runs on the first, its clients and
//! upstream on the second. The exit status says whether every promise was met.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "starting namegate uses the tests' support code")]

#[allow(dead_code, reason = "shared with other benchmarks, which use the rest")]
#[path = "../load/mod.rs"]
mod load;
mod misses;
mod packets;
mod stand;
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Measure namegate under overload.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of rounds; each measures everything once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Measure only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Passed by cargo to benchmarks; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A flood of names that no upstream answers, with the default budget
    Misses,
    /// The same with a budget that is never reached
    ManyMisses,
    /// More packets than namegate can read
    Packets,
}

/// A promise and its measured value.
struct Promise {
    text: &'static str,
    wanted: String,
    measured: f64,
    is_kept: bool,
}

impl Promise {
    fn at_least(text: &'static str, least: f64, measured: f64) -> Self {
        Self { text, wanted: format!("at least {least}"), measured, is_kept: measured >= least }
    }

    fn at_most(text: &'static str, most: f64, measured: f64) -> Self {
        Self { text, wanted: format!("at most {most}"), measured, is_kept: measured <= most }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run: cargo bench --bench overload");
        return ExitCode::SUCCESS;
    }
    match measure(&arguments) {
        Ok(promises) if promises.iter().all(|promise| promise.is_kept) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("overload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<Vec<Promise>> {
    println!(
        "Namegate runs on core 0; clients and upstream on core 1, over loopback. {} rounds.",
        arguments.rounds
    );
    let mut promises = Vec::new();
    for part in Part::value_variants().iter().filter(|part| arguments.only.is_none_or(|only| only == **part))
    {
        promises.extend(match part {
            Part::Misses => misses::measure("default budget", "", arguments)?,
            Part::ManyMisses => {
                misses::measure("65,535 in flight, any rate", misses::LARGE_BUDGET, arguments)?
            }
            Part::Packets => packets::measure(arguments)?,
        });
    }
    println!("\n| promise | | measured | |\n|---|--:|--:|---|");
    for Promise { text, wanted, measured, is_kept } in &promises {
        println!("| {text} | {wanted} | {measured:.3} | {} |", if *is_kept { "kept" } else { "**broken**" });
    }
    Ok(promises)
}

/// The median; NaN for an empty list.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => numbers[length / 2],
        length => f64::midpoint(numbers[length / 2 - 1], numbers[length / 2]),
    }
}

/// Bytes as MiB.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
