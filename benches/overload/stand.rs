//! [`Stand`]: a gate on a core of its own, and on the other core all that is put on it.

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

/// The gate's core, and that of everything else.
const CORES: [usize; 2] = [0, 1];
/// Sockets that ask for blocked names, and as many that ask for cached ones.
const CLIENTS: u8 = 8;
/// Sockets, each of another address, that ask for names nobody has an answer to.
const STRANGERS: u8 = 32;
/// What is behind the cached names, before the flood's.
const WARM_UP: (f64, Duration) = (700.0, Duration::from_millis(2_500));
/// How long replies to the last queries of a stretch are waited for.
const SETTLE: Duration = Duration::from_millis(200);
/// How long it is asked before it is counted.
const LEAD: Duration = Duration::from_millis(200);
/// Fresh names asked a second to find out when the upstream is asked again, and how long each look takes.
const FRESH: (f64, Duration) = (100.0, Duration::from_millis(20));
/// Names that the flood does not reach.
const BEYOND_THE_FLOOD: u64 = 5_000_000_000;

/// A gate with one worker, an upstream, and loads that can be put on the gate side by side.
pub(crate) struct Stand {
    gate: Gate,
    upstream: Upstream,
    blocked: OpenLoad,
    cached: OpenLoad,
    flood: OpenLoad,
    ballast: OpenLoad,
    fresh: OpenLoad,
}

/// What is asked for in a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// Blocked names.
    pub(crate) blocked: f64,
    /// Names whose answers are kept.
    pub(crate) cached: f64,
    /// Allowed names, none asked twice.
    pub(crate) misses: f64,
    /// Cached and blocked names whose replies nobody reads: the gate counts them.
    pub(crate) ballast: f64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// How long it was asked.
    pub(crate) time: Duration,
    /// Of the blocked and the cached names.
    pub(crate) known: Tally,
    /// Of the misses: those with an answer are `answered`, those told of a failure `wrong`.
    pub(crate) misses: Tally,
    /// All queries sent.
    pub(crate) sent: u64,
    /// Replies the gate made in a second, by its own count, while it was asked.
    pub(crate) goodput: f64,
    /// Datagrams that the gate's socket had no room for.
    pub(crate) kernel_drops: f64,
    /// The gate's memory at the end, in bytes.
    pub(crate) resident: u64,
    /// What other programs had of the two cores meanwhile: beyond a tenth the figures say little about the gate.
    pub(crate) others: f64,
}

impl Stand {
    /// Starts all of it, asks for the cached names once, and pins this thread.
    pub(crate) fn start(settings: &str) -> io::Result<Self> {
        keep_thread_to(CORES[1])?;
        let upstream = Upstream::start()?;
        // What a thread starts has its cores.
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

    /// Has the upstream do so from now on.
    pub(crate) fn upstream(&self, conduct: Conduct) {
        self.upstream.set(conduct);
    }

    /// Asks for a while.
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
            goodput.join().map_err(|_| io::Error::other("the gate does not tell its counts"))
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

    /// How long it takes until a name is answered that nobody asked for before.
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

    /// Time that neither the gate nor this thread had of the two cores.
    fn foreign(&self) -> io::Result<Duration> {
        let ours = times(self.gate.pid())?.on_cpu + time_of_thread();
        Ok(CORES.map(busy).iter().sum::<Duration>().saturating_sub(ours))
    }

    /// The gate's memory in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        Ok(memory(self.gate.pid())?.resident)
    }
}

/// Replies a second over `time`, after a while of the same.
fn goodput(admin: SocketAddr, time: Duration) -> f64 {
    let count = || (Metrics::fetch(admin).sum("namegate_responses_total", &[]), Instant::now());
    thread::sleep(LEAD);
    let (before, begin) = count();
    thread::sleep(time);
    let (after, end) = count();
    (after - before) / (end - begin).as_secs_f64()
}

impl Stretch {
    /// Of the blocked and the cached names, the share that had the right reply.
    pub(crate) fn share(&self) -> f64 {
        self.known.answered as f64 / self.known.sent as f64
    }

    /// So many of these in a second.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64()
    }
}
