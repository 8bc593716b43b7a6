//! Namegate over a longer time: all kinds of traffic at a moderate rate, reloads, faults of the upstream and readers of its
//! pages side by side; and what must hold meanwhile: nothing grows, everything is counted, no answer is wrong.
//!
//! `cargo bench --bench soak -- --minutes 30`, on any machine that is not idle for it alone. The exit status is the verdict;
//! with `--output DIRECTORY` the curve is kept as CSV, with a table and a chart.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what starts the gate is shared with the tests")]

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

/// How often the gate is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long replies may come after the last query: beyond the upstream deadline of 6 s, and what is left of a fault.
const SETTLE: Duration = Duration::from_secs(9);

/// Namegate over a longer time.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it is asked
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Queries a second, over all kinds
    #[arg(long, default_value_t = 4_000.0)]
    rate: f64,
    /// Where to keep the curve, the table and the chart
    #[arg(long)]
    output: Option<PathBuf>,
    /// What cargo tells a benchmark; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("to soak: cargo bench --bench soak -- --minutes 30");
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
        // One that panicked has said what it found.
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
        println!("kept in {}", report.store(directory)?.display());
    }
    Ok(report.verdict.is_good())
}

/// Asks until it is over, and looks at the gate now and then.
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
