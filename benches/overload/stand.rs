//! [`Stand`]: namegate on one core, and all its load on the other.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::after;
use crate::load::open::{self, OpenLoad};
use crate::load::process::{busy, keep_thread_to, memory, time_of_thread, times};
use crate::load::tally::Tally;
use crate::load::upstream::{Conduct, Upstream};
use crate::load::workload::{SUFFIXES, Traffic, Workload};
use crate::support::Gate;
use crate::support::metrics::Metrics;

/// Namegate's core, and the core of everything else.
const CORES: [usize; 2] = [0, 1];
/// Sockets that query blocked names; as many query cached ones.
const CLIENTS: u8 = 8;
/// Sockets with different addresses that query names no upstream answers.
const STRANGERS: u8 = 32;
/// Rate and duration of queries for cached names before the flood.
const WARM_UP: (f64, Duration) = (700.0, Duration::from_millis(2_500));
/// Wait for replies to the last queries of a measurement.
const SETTLE: Duration = Duration::from_millis(200);
/// Time of load before counting starts.
const LEAD: Duration = Duration::from_millis(200);
/// Rate of new names used to detect that upstream lookups work again, and the interval between checks.
const FRESH: (f64, Duration) = (100.0, Duration::from_millis(20));
/// First number of names that the flood does not use.
const BEYOND_THE_FLOOD: u64 = 5_000_000_000;

/// Namegate with one worker, an upstream, and loads that can run in parallel.
pub(crate) struct Stand {
    gate: Gate,
    upstream: Upstream,
    blocked: OpenLoad,
    cached: OpenLoad,
    flood: OpenLoad,
    ballast: OpenLoad,
    fresh: OpenLoad,
}

/// Queries per second of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// Blocked names.
    pub(crate) blocked: f64,
    /// Cached names.
    pub(crate) cached: f64,
    /// Allowed names, each queried once.
    pub(crate) misses: f64,
    /// Cached and blocked names whose replies nobody reads; namegate's counters count them.
    pub(crate) ballast: f64,
}

/// The result of one measurement.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Duration of the load.
    pub(crate) time: Duration,
    /// Tally of blocked and cached names.
    pub(crate) known: Tally,
    /// Tally of cache misses: answered ones are `answered`, reported failures are `wrong`.
    pub(crate) misses: Tally,
    /// All queries sent.
    pub(crate) sent: u64,
    /// Replies per second by namegate's own count, during the load.
    pub(crate) goodput: f64,
    /// Datagrams dropped by namegate's full socket buffer.
    pub(crate) kernel_drops: f64,
    /// Namegate's memory at the end, in bytes.
    pub(crate) resident: u64,
    /// Share of the two cores used by other programs: above a tenth, the figures say little about namegate.
    pub(crate) others: f64,
}

impl Stand {
    /// Starts everything, queries the cached names once, and pins this thread.
    pub(crate) fn start(settings: &str) -> io::Result<Self> {
        keep_thread_to(CORES[1])?;
        let upstream = Upstream::start()?;
        // Child threads and processes inherit the pinning.
        keep_thread_to(CORES[0])?;
        let allow = SUFFIXES.map(|suffix| format!("\".{suffix}\"")).join(", ");
        let settings =
            format!("server.workers = 1\nlog.queries = \"none\"\npolicy.allow = [{allow}]\n{settings}");
        let gate = Gate::with_upstreams(&[upstream.address()], &settings);
        keep_thread_to(CORES[1])?;
        let load =
            |sources: &[Ipv4Addr], workload| OpenLoad::new(gate.address(), sources.iter().copied(), workload);
        let clients = vec![Ipv4Addr::LOCALHOST; CLIENTS.into()];
        let strangers: Vec<_> = (1..=STRANGERS).map(|number| Ipv4Addr::new(127, 0, 1, number)).collect();
        let fresh = Workload::new(Traffic::Miss).after(BEYOND_THE_FLOOD);
        let mut stand = Self {
            blocked: load(&clients, Workload::new(Traffic::Blocked))?,
            cached: load(&clients, Workload::new(Traffic::Cached))?,
            ballast: load(&clients, Workload::new(Traffic::Mixed))?.deaf(),
            flood: load(&strangers, Workload::new(Traffic::Miss))?,
            fresh: load(&clients[..1], fresh)?,
            gate,
            upstream,
        };
        let (rate, time) = WARM_UP;
        stand.measure(Rates { cached: rate, ..Rates::default() }, time)?;
        Ok(stand)
    }

    /// Changes the upstream's conduct.
    pub(crate) fn upstream(&self, conduct: Conduct) {
        self.upstream.set(conduct);
    }

    /// Runs the load for `time`.
    pub(crate) fn measure(&mut self, rates: Rates, time: Duration) -> io::Result<Stretch> {
        let admin = self.gate.admin();
        let drops = || Metrics::fetch(admin).sum("namegate_udp_receive_drops_total", &[]);
        let before = drops();
        let (begin, foreign) = (Instant::now(), self.foreign()?);
        self.blocked.set_rate(rates.blocked);
        self.cached.set_rate(rates.cached);
        self.flood.set_rate(rates.misses);
        self.ballast.set_rate(rates.ballast);
        let mut loads = [&mut self.blocked, &mut self.cached, &mut self.flood, &mut self.ballast];
        let goodput = thread::scope(|scope| {
            let goodput = scope.spawn(|| goodput(admin, time));
            open::run(&mut loads, || goodput.is_finished())?;
            goodput.join().map_err(|_| io::Error::other("namegate does not serve its metrics"))
        })?;
        open::settle(&mut loads, SETTLE)?;
        let [mut known, cached, misses, ballast] = loads.map(OpenLoad::take_tally);
        let foreign = self.foreign()?.saturating_sub(foreign);
        known.add(cached);
        Ok(Stretch {
            time: LEAD + time,
            sent: known.sent + misses.sent + ballast.sent,
            known,
            misses,
            goodput,
            kernel_drops: drops() - before,
            resident: self.resident()?,
            others: foreign.as_secs_f64() / begin.elapsed().as_secs_f64() / CORES.len() as f64,
        })
    }

    /// Time until a name that was never queried before is answered.
    pub(crate) fn recover(&mut self, patience: Duration) -> io::Result<Option<Duration>> {
        let (start, (rate, look)) = (Instant::now(), FRESH);
        self.fresh.set_rate(rate);
        while start.elapsed() < patience {
            open::run(&mut [&mut self.fresh], after(look))?;
            if self.fresh.take_tally().answered > 0 {
                return Ok(Some(start.elapsed()));
            }
        }
        Ok(None)
    }

    /// Time on the two cores that neither namegate nor this thread used.
    fn foreign(&self) -> io::Result<Duration> {
        let ours = times(self.gate.pid())?.on_cpu + time_of_thread();
        Ok(CORES.map(busy).iter().sum::<Duration>().saturating_sub(ours))
    }

    /// Namegate's memory in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        Ok(memory(self.gate.pid())?.resident)
    }
}

/// Replies per second over `time`, after a lead of the same load.
fn goodput(admin: SocketAddr, time: Duration) -> f64 {
    let count = || (Metrics::fetch(admin).sum("namegate_responses_total", &[]), Instant::now());
    thread::sleep(LEAD);
    let (before, begin) = count();
    thread::sleep(time);
    let (after, end) = count();
    (after - before) / (end - begin).as_secs_f64()
}

impl Stretch {
    /// Share of blocked and cached names with the correct reply.
    pub(crate) fn share(&self) -> f64 {
        self.known.answered as f64 / self.known.sent as f64
    }

    /// `count` as a rate per second.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64()
    }
}
