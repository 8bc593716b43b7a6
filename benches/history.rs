//! Simulates a day of lookups, 1,000 a second and one hour with a flood, in the real history: its size on disk at any
//! moment, bytes per row, and how long searches take.
//!
//! Run `cargo bench --bench history`. The clock is simulated, so a day takes some minutes. The exit status says whether
//! the size stayed within its limit and the searches within 200 ms.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use namegate::address::client::Client;
use namegate::config::{ClientAddress, Settings};
use namegate::events::counters::Counters;
use namegate::events::event::{AnsweredQuery, QueryEvent};
use namegate::events::outcome::{AnswerSource, Decision, LookupClass, QueryOutcome};
use namegate::events::sender::{EventSender, Interest};
use namegate::observe::history::recorder::Recorder;
use namegate::observe::history::search::{CountBy, HistoryFilter};
use namegate::observe::history::{FILE, History, Place};
use namegate::policy::verdict::BlockReason;
use namegate::policy::{Compile, Mode, Policies, PolicyBuilder};
use namegate::wire::code::{Class, Rcode, Type};
use namegate::wire::name::Name;
use namegate::wire::presentation::read_name;
use namegate::wire::query::Question;
use namegate::wire::reply::Transport;

/// Simulate a day in the history.
#[derive(Debug, Parser)]
struct Arguments {
    /// Hours to simulate
    #[arg(long, default_value_t = 24)]
    hours: u64,
    /// Lookups a second
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Size limit in MiB
    #[arg(long, default_value_t = 256)]
    size: u64,
    /// Passed by cargo to benchmarks; without it, nothing is measured
    #[arg(long, hide = true)]
    bench: bool,
}

const CLIENTS: u64 = 200;
const NAMES: usize = 3000;
const BLOCKED_NAMES: usize = 400;

/// Seconds of simulated time between two writes.
const WRITE: u64 = 10;

/// Lookups a second that the packet threads pass on in a flood of 100,000 a second: 500 in each tenth, and one in 64.
const FLOOD: u64 = 5000 + 95_000 / 64;

const FLOODING: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 9);

/// Random numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

struct Traffic {
    random: Random,
    names: Vec<Name>,
    blocked: Vec<Name>,
    outcomes: [QueryOutcome; 4],
    received: Instant,
}

impl Traffic {
    fn new() -> Self {
        let name = |text: String| read_name(&text).unwrap();
        let upstream: Arc<str> = "168.63.129.16".into();
        let allowed = |source| QueryOutcome::new(Decision::Allowed, source, Rcode::NOERROR);
        let blocked = QueryOutcome::new(Decision::Blocked, AnswerSource::Policy, Rcode::NXDOMAIN);
        Self {
            random: Random(88_172_645_463_325_252),
            names: (0..NAMES).map(|n| name(format!("host-{n}.workspace.azureml.ms"))).collect(),
            blocked: (0..BLOCKED_NAMES).map(|n| name(format!("cdn-{n}.vendor.example.com"))).collect(),
            outcomes: [
                allowed(AnswerSource::Cache),
                QueryOutcome { upstream: Some(Arc::clone(&upstream)), ..allowed(AnswerSource::Upstream) },
                QueryOutcome { reason: Some(BlockReason::NotListed), ..blocked },
                QueryOutcome {
                    rcode: Rcode::SERVFAIL,
                    upstream: Some(upstream),
                    ..allowed(AnswerSource::Upstream)
                },
            ],
            received: Instant::now(),
        }
    }

    /// A place in a list of which few entries are frequent.
    fn place(&mut self, length: usize) -> usize {
        let draw = self.random.below(1 << 32) as f64 / (1_u64 << 32) as f64;
        ((length as f64).powf(draw) - 1.0) as usize
    }

    /// 95% allowed, four of five from the cache; 4% blocked; 1% failed.
    fn usual(&mut self) -> QueryEvent {
        let client = self.random.below(CLIENTS);
        let outcome = match self.random.below(100) {
            0..76 => 0,
            76..95 => 1,
            95..99 => 2,
            _ => 3,
        };
        let name = match outcome {
            2 => {
                let place = self.place(BLOCKED_NAMES);
                self.blocked[place].clone()
            }
            _ => {
                let place = self.place(NAMES);
                self.names[place].clone()
            }
        };
        let qtype = if self.random.below(3) == 0 { Type::AAAA } else { Type::A };
        let client = Ipv4Addr::new(10, 0, (client / 250) as u8, (client % 250) as u8 + 1);
        self.event(client, name, qtype, outcome)
    }

    fn flood(&mut self) -> QueryEvent {
        let label = format!("{:020x}", self.random.next());
        let name = Name::from_labels([label.as_bytes(), b"tunnel", b"example", b"com"]).unwrap();
        self.event(FLOODING, name, Type::TXT, 2)
    }

    fn event(&self, client: Ipv4Addr, name: Name, qtype: Type, outcome: usize) -> QueryEvent {
        QueryEvent {
            client: SocketAddr::new(IpAddr::V4(client), 40_000),
            transport: Transport::Udp,
            question: Question { name, qtype, class: Class::IN },
            record: self.outcomes[outcome].clone(),
            received: self.received,
            elapsed: Duration::from_micros(50),
            messages: None,
            logged: false,
            tapped: false,
            weight: 1,
        }
    }
}

/// Bytes of all files in `directory`.
fn bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    for rate in [1_000, 10_000, 200_000] {
        let (off, on) = (sending(rate, "0s"), sending(rate, "24h"));
        println!("{rate} replies a second: {off:.0} ns per reply without a history, {on:.0} ns with it");
    }
    let directory = tempfile::tempdir().unwrap();
    let limit = arguments.size << 20;
    let day = Duration::from_secs(24 * 3600);
    let place = Place::File(directory.path().join(FILE));
    let history = Arc::new(History::new(place, day, limit, ClientAddress::Full));
    let mut recorder = Recorder::new(Arc::clone(&history));
    let policies = Policies::for_all(PolicyBuilder::new().build(Compile::new(Mode::Enforce)), 1);
    let largest = Arc::new(AtomicU64::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (largest, ended, directory) =
            (Arc::clone(&largest), Arc::clone(&ended), directory.path().to_owned());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                largest.fetch_max(bytes(&directory), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let start = UNIX_EPOCH + Duration::from_secs(1_795_392_000);
    let flood_hour = arguments.hours * 5 / 8;
    let mut traffic = Traffic::new();
    let (mut lookups, mut writing, mut longest) = (0_u64, Duration::ZERO, Duration::ZERO);
    let began = Instant::now();
    for second in 0..arguments.hours * 3600 {
        let now = start + Duration::from_secs(second);
        for number in 0..arguments.rate {
            let time = now + Duration::from_micros(1_000_000 * number / arguments.rate);
            recorder.add(&traffic.usual(), time, &policies);
        }
        lookups += arguments.rate;
        if second / 3600 == flood_hour {
            for number in 0..FLOOD {
                let time = now + Duration::from_micros(1_000_000 * number / FLOOD);
                recorder.add(&traffic.flood(), time, &policies);
            }
            lookups += FLOOD;
        }
        if second % WRITE == WRITE - 1 {
            let before = Instant::now();
            assert!(recorder.write(now, true), "{:?}", history.status());
            let took = before.elapsed();
            (writing, longest) = (writing + took, longest.max(took));
        }
        if second % 3600 == 3599 {
            let status = history.status();
            println!(
                "hour {:>2}: {} rows, {} MiB, largest {} MiB, since hour {:.1}; {:.0} s",
                second / 3600 + 1,
                status.rows,
                status.bytes >> 20,
                largest.load(Ordering::Relaxed) >> 20,
                status
                    .oldest
                    .map_or(0.0, |oldest| oldest.duration_since(start).unwrap().as_secs_f64() / 3600.0),
                began.elapsed().as_secs_f64(),
            );
        }
    }
    let elapsed = began.elapsed();
    ended.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    let (status, largest) = (history.status(), largest.load(Ordering::Relaxed));
    println!(
        "{lookups} lookups in {:.0} s, of which writing {:.0} s",
        elapsed.as_secs_f64(),
        writing.as_secs_f64()
    );
    println!(
        "{:.2} µs per lookup; longest write {} ms",
        elapsed.as_secs_f64() * 1e6 / lookups as f64,
        longest.as_millis()
    );
    println!(
        "{} rows, {:.1} bytes per row, lost {}",
        status.rows,
        status.bytes as f64 / status.rows as f64,
        status.lost
    );
    println!("largest size {largest} of {limit} bytes");
    let slowest = searches(&history, start, arguments.hours);
    let is_good = largest <= limit && slowest < Duration::from_millis(200) && status.lost == 0;
    println!("{}", if is_good { "good" } else { "NOT GOOD" });
    ExitCode::from(u8::from(!is_good))
}

/// Nanoseconds that a packet thread spends on counting and queueing one reply from the cache, at `rate` replies a second.
fn sending(rate: u64, max_age: &str) -> f64 {
    let mut settings = Settings::default();
    settings.history.max_age = humantime::parse_duration(max_age).unwrap();
    let counters = Arc::new(Counters::of_one_thread());
    let (mut sender, mut events) = EventSender::new(counters, Interest::of(&settings), Arc::default());
    let name = b"\x0ahost-12345\x09workspace\x07azureml\x02ms\0";
    let request = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat();
    let record = QueryOutcome::new(Decision::Allowed, AnswerSource::Cache, Rcode::NOERROR);
    let client = Client {
        address: SocketAddr::new(FLOODING.into(), 40_000),
        transport: Transport::Udp,
        is_own: false,
    };
    let start = Instant::now();
    let mut spent = Duration::ZERO;
    const ROUNDS: u64 = 4000;
    const BATCH: u64 = 32;
    for round in 0..ROUNDS {
        let received = start + Duration::from_nanos(1_000_000_000 * BATCH * round / rate);
        let elapsed = Duration::from_micros(50);
        let query =
            AnsweredQuery { client, request: &request, reply: &request, record: &record, received, elapsed };
        let before = Instant::now();
        for _ in 0..BATCH {
            sender.replied(&query);
        }
        spent += before.elapsed();
        while events.pop().is_ok() {}
    }
    spent.as_nanos() as f64 / (ROUNDS * BATCH) as f64
}

/// Searches for one client's hour; returns the longest time of those that must be fast.
fn searches(history: &History, start: SystemTime, hours: u64) -> Duration {
    let hour = |hour: u64| Some(start + Duration::from_secs(hour * 3600));
    let last = hours.saturating_sub(2);
    let client = |client: Ipv4Addr| Some(IpAddr::V4(client).into());
    let of_client = HistoryFilter {
        client: client(Ipv4Addr::new(10, 0, 0, 7)),
        since: hour(last),
        until: hour(last + 1),
        ..HistoryFilter::default()
    };
    let flooding = HistoryFilter { client: client(FLOODING), ..HistoryFilter::default() };
    let blocked =
        |filter: &HistoryFilter| HistoryFilter { class: Some(LookupClass::Blocked), ..filter.clone() };
    let first = HistoryFilter { since: hour(2), until: hour(3), ..of_client.clone() };
    let below = HistoryFilter { below: read_name("vendor.example.com"), ..HistoryFilter::default() };
    let name = HistoryFilter { name: read_name("host-7.workspace.azureml.ms"), ..HistoryFilter::default() };
    let mut slowest = Duration::ZERO;
    for (what, filter, is_promised) in [
        ("a client's hour, blocked", blocked(&of_client), true),
        ("a client's hour, all", of_client, true),
        ("the same, early: blocked", blocked(&first), true),
        ("the same, early: all", first, true),
        ("the flooding client", flooding, false),
        ("the newest lookups", HistoryFilter::default(), false),
        ("the newest blocked lookups", blocked(&HistoryFilter::default()), false),
        ("a name", name, false),
        ("names below another", below, false),
    ] {
        let mut times = Vec::new();
        let mut found = None;
        for _ in 0..5 {
            let before = Instant::now();
            found = Some(history.find(&filter, 1000).unwrap());
            times.push(before.elapsed());
        }
        times.sort();
        let found = found.unwrap();
        println!(
            "find {what}: {} ms, {} rows, sampled {}",
            times[2].as_millis(),
            found.found.len(),
            found.is_sampled
        );
        if is_promised {
            slowest = slowest.max(times[4]);
        }
    }
    for (what, filter) in
        [("everything", HistoryFilter::default()), ("blocked", blocked(&HistoryFilter::default()))]
    {
        let before = Instant::now();
        let range = (start, start + Duration::from_secs(hours * 3600));
        let graph = history.graph(&filter, range, Duration::from_secs(360)).unwrap();
        println!("graph of {what}: {} ms, complete {}", before.elapsed().as_millis(), graph.next.is_none());
        let before = Instant::now();
        let counts = history.count(&filter, CountBy::Client, 10).unwrap();
        println!(
            "clients of {what}: {} ms, complete {}",
            before.elapsed().as_millis(),
            counts.next.is_none()
        );
    }
    slowest
}
