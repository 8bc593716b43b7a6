//! Compares namegate with other DNS servers: CPU cost per query, queries per core, client latency, and cost of a
//! million rules.
//!
//! Run `cargo bench --bench compare` as root on Debian with at least two cores; `-- --help` shows how to measure a
//! part. Missing peers are installed from Debian's packages. The results of a full run are stored in
//! `benches/results/`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod contender;
mod floor;
#[allow(dead_code, reason = "shared with other benchmarks, which use the rest")]
#[path = "../load/mod.rs"]
mod load;
mod machine;
mod packages;
mod peers;
mod reloads;
mod report;
mod scenario;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use contender::{Contender, Kind};
use load::process::keep_to;
use load::upstream;
use machine::Machine;
use report::{Report, Row};
use scenario::{Effort, Measurement, Scenario};

/// Compare namegate with its peers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Part>,
    /// Number of rounds; each measures everything once
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per measurement, after one second of the same traffic
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Outstanding queries on each of the 8 UDP sockets, at most 64. All of them together must fit a socket's default
    /// receive buffer (fewer than 200 small datagrams), or servers that do not ask for a larger one lose the rest
    #[arg(long, default_value_t = 16)]
    outstanding: usize,
    /// Measure only these, such as `blocked,cached`
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Measure only these and the floor, such as `namegate,unbound`
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Measure this build of namegate
    #[arg(long, default_value = env!("CARGO_BIN_EXE_namegate"))]
    namegate: PathBuf,
    /// Skip peers that are not installed
    #[arg(long)]
    no_install: bool,
    /// Directory for the results; partial runs are stored only if this is given
    #[arg(long)]
    results: Option<PathBuf>,
    /// Passed by cargo to benchmarks; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Run the floor server: answer NXDOMAIN to everything
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        listen: SocketAddr,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Part::Floor { listen }) => floor::serve(*listen),
        None if arguments.bench => compare(&arguments),
        // `cargo test --all-targets` runs benchmarks too, and must not install servers.
        None => {
            println!("run: cargo bench --bench compare");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> io::Result<()> {
    let contenders = contenders(arguments)?;
    let machine = Machine::inspect(&contenders);
    if machine.cores < 2 {
        return Err(io::Error::other(
            "needs two cores: server and sender on one core would disturb each other",
        ));
    }
    let chosen = |scenario: &&Scenario| arguments.only.is_empty() || arguments.only.contains(scenario);
    let scenarios: Vec<Scenario> = Scenario::value_variants().iter().filter(chosen).copied().collect();

    let (rounds, seconds, outstanding) = (arguments.rounds, arguments.seconds, arguments.outstanding);
    let effort = Effort { window: Duration::from_secs_f64(seconds), outstanding };
    let rows = measure(&contenders, &scenarios, rounds, effort)?;
    let report = Report { machine, rounds, seconds, outstanding, rows };
    println!("\n{}", report.markdown());

    let is_whole = arguments.only.is_empty() && arguments.servers.is_empty();
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    if let Some(directory) = arguments.results.clone().or_else(|| is_whole.then_some(usual)) {
        println!("stored in {}", report.store(&directory)?.display());
    }
    Ok(())
}

/// The servers to measure: the floor, namegate, and the peers that are installed or can be.
fn contenders(arguments: &Arguments) -> io::Result<Vec<Contender>> {
    let chosen = |contender: &Contender| {
        contender.kind == Kind::Floor
            || arguments.servers.is_empty()
            || arguments.servers.iter().any(|server| server == contender.name)
    };
    let (floor, own, peers) = (contender::floor()?, contender::own(&arguments.namegate), peers::all());
    let names: Vec<&str> = own.iter().chain(&peers).map(|contender| contender.name).collect();
    if let Some(unknown) = arguments.servers.iter().find(|server| !names.contains(&server.as_str())) {
        return Err(io::Error::other(format!("unknown server {unknown}; use one of {}", names.join(", "))));
    }
    let mut peers: Vec<Contender> = peers.into_iter().filter(chosen).collect();
    let missing: Vec<&str> =
        peers.iter().filter(|peer| !peer.program.exists()).map(|peer| peer.name).collect();
    if !missing.is_empty() && !arguments.no_install {
        println!("installing {}", missing.join(", "));
        if let Err(error) = packages::install(&missing) {
            eprintln!("compare: {error}");
        }
    }
    peers.retain(|peer| {
        let is_there = peer.program.exists();
        if !is_there {
            eprintln!("compare: {} is not installed, skipped", peer.name);
        }
        is_there
    });
    let own = own.into_iter().filter(chosen);
    Ok([floor].into_iter().chain(own).chain(peers).collect())
}

/// Measures every scenario with every contender in turn, round by round.
fn measure(
    contenders: &[Contender],
    scenarios: &[Scenario],
    rounds: usize,
    effort: Effort,
) -> io::Result<Vec<Row>> {
    let mut rows: BTreeMap<(usize, usize), Row> = BTreeMap::new();
    // The upstream's thread inherits the cores of this one.
    keep_to(std::process::id(), "1")?;
    let upstream = upstream::start()?;
    for round in 1..=rounds {
        for (row, &scenario) in scenarios.iter().enumerate() {
            println!("\nround {round} of {rounds}, {}: {}", scenario.name(), scenario.description());
            keep_to(std::process::id(), scenario.sender_cores())?;
            let suffixes = scenario.suffixes();
            for (column, contender) in contenders.iter().enumerate() {
                if !scenario.takes(contender) {
                    continue;
                }
                let measurement = scenario.measure(contender, upstream, &suffixes, effort);
                tell(contender, &measurement);
                let empty =
                    Row { scenario, server: contender.name, kind: contender.kind, rounds: Vec::new() };
                rows.entry((row, column)).or_insert(empty).rounds.push(measurement.ok());
            }
        }
    }
    Ok(rows.into_values().collect())
}

fn tell(contender: &Contender, measurement: &io::Result<Measurement>) {
    match measurement {
        Ok(Measurement {
            cpu_microseconds,
            queries_per_second,
            p50_microseconds,
            wrong,
            lost,
            complaint,
            ..
        }) => {
            println!(
                "  {:20} {cpu_microseconds:8.2} µs/query {queries_per_second:8.0} queries/s p50 {p50_microseconds:8.0} µs \
                 wrong {wrong} lost {lost} {}",
                contender.name,
                complaint.as_deref().unwrap_or_default(),
            );
        }
        Err(error) => println!("  {:20} {error}", contender.name),
    }
}
