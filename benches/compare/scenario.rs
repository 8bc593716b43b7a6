//! [`Scenario`]: one row of the comparison: which traffic is sent, how, and on which cores.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::contender::{Contender, Kind};
use crate::load::random::Random;
use crate::load::tcp::TcpLoad;
use crate::load::udp::UdpLoad;
use crate::load::workload::{Expected, SUFFIXES, Traffic, Workload};
use crate::load::{Load, Pace, after};
use crate::reloads::Reloads;
use crate::server::Server;

/// Sockets needed together to saturate a server.
const SOCKETS: usize = 8;
/// Connections, and queries on each; fewer than servers accept from one connection by default.
const CONNECTIONS: usize = 4;
const PIPELINED: usize = 32;
/// Rules in the large list.
const MANY: usize = 1_000_000;
/// Queries per second that a two-core machine sustains with the sender on it, over enough sockets to spread evenly.
const OFFERED: f64 = 50_000.0;
const MANY_SOCKETS: usize = 64;
const OUTSTANDING_OF_MANY: usize = 2;
/// Queries per second during reloads, which a server sustains on a fraction of its core. The number outstanding is so
/// high that only a pause of 100 ms blocks the next query, which would hide how long it would have waited.
const STEADY: f64 = 20_000.0;
const SOCKETS_OF_STEADY: usize = 32;
const OUTSTANDING_OF_STEADY: usize = 64;
/// Warm-up before a measurement.
const WARM_UP: Duration = Duration::from_millis(1_000);
/// Warm-up before reloads: long enough that losses of a cold server do not count as losses of reloads.
const LONG_WARM_UP: Duration = Duration::from_millis(3_000);

/// A row of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Names that no rule allows.
    Blocked,
    /// Allowed names, queried before.
    Cached,
    /// 70 % cached, 30 % blocked.
    Mixed,
    /// Allowed names, each queried once.
    Miss,
    /// Blocked names over TCP.
    TcpBlocked,
    /// Cached names over TCP.
    TcpCached,
    /// Blocked names, one query at a time.
    LatencyBlocked,
    /// Cached names, one query at a time.
    LatencyCached,
    /// Blocked names, with a million rules.
    Million,
    /// 70 % cached, 30 % blocked at a fixed rate, while a million rules are reloaded on the server's own core.
    Reload,
    /// Blocked names at a fixed rate, with one and with two workers.
    Workers,
}

/// Load and duration of each measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Duration of the measurement.
    pub(crate) window: Duration,
    /// Outstanding queries per UDP socket, up to 64.
    pub(crate) outstanding: usize,
}

/// What one server did in one scenario and round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    /// Seconds from process start to the first correct answer for an allowed name.
    pub(crate) start_seconds: f64,
    /// CPU time within `start_seconds`.
    pub(crate) start_cpu_seconds: f64,
    /// The server's CPU time per answered query, in microseconds.
    pub(crate) cpu_microseconds: f64,
    /// Answered queries per second.
    pub(crate) queries_per_second: f64,
    /// Share of the time the server was on a CPU; of two CPUs if it has two.
    pub(crate) busy: f64,
    /// Share of the time its threads were runnable but something else had the CPU.
    pub(crate) waiting: f64,
    /// Median latency, in microseconds.
    pub(crate) p50_microseconds: f64,
    /// 99th percentile of latency, in microseconds.
    pub(crate) p99_microseconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    /// The first fault found.
    pub(crate) complaint: Option<String>,
    /// Only for [`Scenario::Reload`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reloads: Option<Reloads>,
}

impl Scenario {
    /// Its name on the command line and in the tables.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// One sentence about it.
    pub(crate) fn description(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    /// Whether its figure is client latency rather than CPU cost.
    pub(crate) fn is_latency(self) -> bool {
        matches!(self, Self::LatencyBlocked | Self::LatencyCached)
    }

    /// Whether a contender takes part.
    pub(crate) fn takes(self, contender: &Contender) -> bool {
        match self {
            Self::Workers => {
                contender.kind == Kind::Floor
                    || contender.kind == Kind::Own
                        && !matches!(contender.name, "namegate-no-admin" | "namegate-no-history")
            }
            Self::Reload => contender.name == "namegate",
            Self::Million => contender.many_rules && contender.workers == 1,
            _ => contender.workers == 1,
        }
    }

    /// The suffixes that its servers allow.
    pub(crate) fn suffixes(self) -> Vec<String> {
        let mut random = Random::new(2);
        let is_large = matches!(self, Self::Million | Self::Reload);
        let more = if is_large { MANY - SUFFIXES.len() } else { 0 };
        SUFFIXES.map(str::to_owned).into_iter().chain((0..more).map(|_| random.listed_name())).collect()
    }

    /// The sender's cores: one of its own, or both if the server has two workers.
    pub(crate) fn sender_cores(self) -> &'static str {
        if self == Self::Workers { "0,1" } else { "1" }
    }

    fn workload(self, kind: Kind) -> Workload {
        let traffic = match self {
            Self::Cached | Self::TcpCached | Self::LatencyCached => Traffic::Cached,
            Self::Mixed | Self::Reload => Traffic::Mixed,
            Self::Miss => Traffic::Miss,
            _ => Traffic::Blocked,
        };
        let workload = Workload::new(traffic);
        if kind == Kind::Floor { workload.all_blocked() } else { workload }
    }

    fn load(self, server: &Server, outstanding: usize) -> io::Result<Box<dyn Load>> {
        let (address, closed) = (server.address(), Pace::as_answered());
        Ok(match self {
            Self::TcpBlocked | Self::TcpCached => {
                Box::new(TcpLoad::new(address, CONNECTIONS, PIPELINED, closed)?)
            }
            Self::LatencyBlocked | Self::LatencyCached => Box::new(UdpLoad::new(address, 1, 1, closed)?),
            Self::Reload => {
                let pace = Pace::per_second(STEADY);
                Box::new(UdpLoad::new(address, SOCKETS_OF_STEADY, OUTSTANDING_OF_STEADY, pace)?)
            }
            Self::Workers => {
                let pace = Pace::per_second(OFFERED);
                Box::new(UdpLoad::new(address, MANY_SOCKETS, OUTSTANDING_OF_MANY, pace)?)
            }
            _ => Box::new(UdpLoad::new(address, SOCKETS, outstanding, closed)?),
        })
    }

    /// Starts a contender, queries it for the window, and stops it.
    pub(crate) fn measure(
        self,
        contender: &Contender,
        upstream: SocketAddr,
        suffixes: &[String],
        effort: Effort,
    ) -> io::Result<Measurement> {
        let cores = if contender.workers > 1 { "0,1" } else { "0" };
        let mut server = Server::start(contender, cores, upstream, suffixes)?;
        let allowed = format!("first.{}", suffixes.last().map_or("", String::as_str));
        let expected = if contender.kind == Kind::Floor { Expected::Blocked } else { Expected::Answered };
        let start = server.wait_for(&allowed, expected)?;
        let start_cpu = server.times()?.on_cpu;

        let mut load = self.load(&server, effort.outstanding)?;
        let mut workload = self.workload(contender.kind);
        let warm_up = if self == Self::Reload { LONG_WARM_UP } else { WARM_UP };
        load.run(&mut workload, &after(warm_up))?;
        let (before, begin) = (server.times()?, Instant::now());
        let (reloads, mut tally) = if self == Self::Reload {
            let (reloads, tally) = Reloads::measure(&server, &mut *load, &mut workload, effort.window)?;
            (Some(reloads), tally)
        } else {
            (None, load.run(&mut workload, &after(effort.window))?)
        };
        let (after, elapsed) = (server.times()?, begin.elapsed().as_secs_f64());
        let memory = server.memory()?;

        let on_cpu = after.on_cpu.saturating_sub(before.on_cpu).as_secs_f64();
        let waiting = after.waiting.saturating_sub(before.waiting).as_secs_f64();
        let (answered, wrong, lost) = (tally.answered, tally.wrong, tally.lost);
        let complaint = tally.complaint.take();
        let [p50, p99] = tally.quantiles([0.50, 0.99]);
        Ok(Measurement {
            start_seconds: start.as_secs_f64(),
            start_cpu_seconds: start_cpu.as_secs_f64(),
            cpu_microseconds: on_cpu / answered as f64 * 1e6,
            queries_per_second: answered as f64 / elapsed,
            busy: on_cpu / elapsed / contender.workers as f64,
            waiting: waiting / elapsed,
            p50_microseconds: p50,
            p99_microseconds: p99,
            resident_bytes: memory.resident,
            peak_bytes: memory.peak,
            answered,
            wrong,
            lost,
            complaint,
            reloads,
        })
    }
}
