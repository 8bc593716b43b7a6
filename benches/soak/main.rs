//! Soak test: runs all kinds of traffic at a moderate rate with reloads, upstream faults and page reads, and checks
//! that nothing grows, everything is counted and no answer is wrong.
//!
//! Run `cargo bench --bench soak -- --minutes 30`; the machine need not be idle. The exit status is the verdict.
//! `--output DIRECTORY` stores a CSV of all samples, a table and a chart.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "starting namegate uses the tests' support code")]

mod disturbance;
#[allow(dead_code, reason = "shared with other benchmarks, which use the rest")]
#[path = "../load/mod.rs"]
mod load;
mod report;
mod sample;
mod site;
#[allow(dead_code, unused_imports, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/support/mod.rs"]
mod support;
mod traffic;
mod trend;
mod verdict;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

use disturbance::Disturbances;
use load::after;
use load::upstream::{Conduct, Upstream};
use report::Report;
use sample::Sample;
use site::Site;
use traffic::Traffic;
use verdict::Verdict;

/// Interval between samples.
const INTERVAL: Duration = Duration::from_secs(5);
/// Wait for replies after the last query: longer than the upstream deadline of 6 s plus the rest of a fault.
const SETTLE: Duration = Duration::from_secs(9);

/// Run namegate over a longer time.
#[derive(Debug, Parser)]
struct Arguments {
    /// Duration in minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Queries per second, over all kinds
    #[arg(long, default_value_t = 4_000.0)]
    rate: f64,
    /// Directory for the samples, the table and the chart
    #[arg(long)]
    output: Option<PathBuf>,
    /// Passed by cargo to benchmarks; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("run: cargo bench --bench soak -- --minutes 30");
        return ExitCode::SUCCESS;
    }
    match soak(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> io::Result<bool> {
    let upstream = Upstream::start()?;
    let site = Site::start(upstream.address())?;
    let mut traffic = Traffic::new(site.address(), arguments.rate)?;
    let (is_over, start) = (AtomicBool::new(false), Instant::now());
    let disturbances = Disturbances::new(&site, &upstream, &is_over);
    let (samples, is_as_wanted) = thread::scope(|scope| {
        let threads = disturbances.start(scope);
        let samples = ask(&mut traffic, &site, start, Duration::from_secs_f64(arguments.minutes * 60.0));
        is_over.store(true, Ordering::Relaxed);
        // A thread that panicked has already printed why.
        let outcomes: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (samples, outcomes.iter().all(Result::is_ok))
    });
    let samples = samples?;
    upstream.set(Conduct::Sound);
    traffic.settle(SETTLE)?;
    let verdict = Verdict::new(&samples, &site, &traffic, &disturbances, is_as_wanted);
    let report = Report { minutes: arguments.minutes, rate: arguments.rate, samples, verdict };
    println!("\n{}", report.markdown());
    if let Some(directory) = &arguments.output {
        println!("stored in {}", report.store(directory)?.display());
    }
    Ok(report.verdict.is_good())
}

/// Sends traffic until the end and takes samples.
fn ask(traffic: &mut Traffic, site: &Site, start: Instant, time: Duration) -> io::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    println!("{}", Sample::HEAD);
    while start.elapsed() < time {
        traffic.run(after(INTERVAL.min(time.saturating_sub(start.elapsed()))))?;
        let sample = Sample::take(site.gate(), start.elapsed())?;
        println!("{sample}");
        samples.push(sample);
    }
    Ok(samples)
}
