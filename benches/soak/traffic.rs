//! [`Traffic`]: all kinds of queries in parallel, each from its own clients, with tallies.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::load::open::{self, OpenLoad};
use crate::load::tally::Tally;
use crate::load::tcp::TcpLoad;
use crate::load::workload::{self, Expected, OPT, Workload, query};
use crate::load::{Load, Pace, after};
use crate::site::{LOCAL, REFUSED};

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const NOTIMP: u8 = 4;
const REFUSED_CODE: u8 = 5;

/// Parallel connections, outstanding queries on each, and their lifetime.
const CONNECTIONS: usize = 4;
const PIPELINED: usize = 16;
const CONNECTED: Duration = Duration::from_millis(1_500);
/// Wait for the last replies of a connection.
const HANG_UP: Duration = Duration::from_millis(300);

/// A kind of UDP query: its clients, its share of the whole, and its workload.
struct Kind {
    name: &'static str,
    share: f64,
    load: OpenLoad,
}

/// All loads, and the tally of each since the start.
pub(crate) struct Traffic {
    server: SocketAddr,
    rate: f64,
    kinds: Vec<Kind>,
    tallies: Vec<(&'static str, Tally)>,
}

impl Traffic {
    /// Clients for `rate` queries per second.
    pub(crate) fn new(server: SocketAddr, rate: f64) -> io::Result<Self> {
        let of = |traffic| Workload::new(traffic);
        let from = |number| Ipv4Addr::new(127, 0, 1, number);
        // The upstream is at fault half of the time, and a cache entry may have been evicted.
        let kinds: [(_, _, _, Workload); 7] = [
            ("blocked", 0.40, vec![from(1), from(2), from(3)], of(workload::Traffic::Blocked)),
            ("cached", 0.35, vec![from(4), from(5), from(6)], of(workload::Traffic::Cached).may_fail()),
            ("misses", 0.06, vec![from(7), from(8)], of(workload::Traffic::Miss).may_fail()),
            ("local zone", 0.04, vec![from(9)], Workload::of([(LOCAL.to_owned(), Expected::Code(NOERROR))])),
            (
                "refused",
                0.02,
                vec![REFUSED],
                Workload::of_messages([(query("pypi.org"), Expected::Code(REFUSED_CODE))]),
            ),
            ("malformed", 0.02, vec![from(10)], Workload::of_messages(malformed())),
            ("no queries", 0.01, vec![from(11)], Workload::of_messages(unanswerable())),
        ];
        let kind = |(name, share, sources, workload)| {
            let load = OpenLoad::new(server, sources, workload)?;
            Ok(Kind { name, share, load })
        };
        let kinds: Vec<Kind> = kinds.into_iter().map(kind).collect::<io::Result<_>>()?;
        let tallies = kinds.iter().map(|kind| kind.name).chain(["over TCP"]);
        Ok(Self { server, rate, tallies: tallies.map(|name| (name, Tally::default())).collect(), kinds })
    }

    /// Sends queries until `is_over`.
    pub(crate) fn run(&mut self, is_over: impl Fn() -> bool) -> io::Result<()> {
        for kind in &mut self.kinds {
            kind.load.set_rate(self.rate * kind.share);
        }
        let share: f64 = self.kinds.iter().map(|kind| kind.share).sum();
        let (hang_up, over_tcp) = (AtomicBool::new(false), Mutex::new(Tally::default()));
        let (server, rate) = (self.server, self.rate * (1.0 - share));
        let result = thread::scope(|scope| {
            let tcp = scope.spawn(|| ask_over_tcp(server, rate, &hang_up, &over_tcp));
            let mut loads: Vec<&mut OpenLoad> = self.kinds.iter_mut().map(|kind| &mut kind.load).collect();
            let result = open::run(&mut loads, is_over);
            hang_up.store(true, Ordering::Relaxed);
            let tcp = tcp.join().unwrap_or_else(|_| Err(io::Error::other("the TCP client failed")));
            result.and(tcp)
        });
        self.collect();
        if let Some((_, tally)) = self.tallies.last_mut() {
            tally.add(over_tcp.into_inner().unwrap_or_else(PoisonError::into_inner).without_waits());
        }
        result
    }

    /// Reads late replies.
    pub(crate) fn settle(&mut self, patience: Duration) -> io::Result<()> {
        let mut loads: Vec<&mut OpenLoad> = self.kinds.iter_mut().map(|kind| &mut kind.load).collect();
        open::settle(&mut loads, patience)?;
        self.collect();
        Ok(())
    }

    fn collect(&mut self) {
        for (kind, (_, tally)) in self.kinds.iter_mut().zip(&mut self.tallies) {
            tally.add(kind.load.take_tally().without_waits());
        }
    }

    /// The tally of each kind.
    pub(crate) fn tallies(&self) -> &[(&'static str, Tally)] {
        &self.tallies
    }

    /// Replies dropped by the clients' full socket buffers.
    pub(crate) fn dropped(&self) -> u64 {
        self.kinds.iter().map(|kind| kind.load.dropped()).sum()
    }
}

/// Connects, sends queries for a while, closes, and repeats.
fn ask_over_tcp(server: SocketAddr, rate: f64, hang_up: &AtomicBool, all: &Mutex<Tally>) -> io::Result<()> {
    let mut blocked = Workload::new(workload::Traffic::Blocked);
    while !hang_up.load(Ordering::Relaxed) {
        let mut load = TcpLoad::new(server, CONNECTIONS, PIPELINED, Pace::per_second(rate))?;
        let is_over = after(CONNECTED);
        let mut tally = load.run(&mut blocked, &|| is_over() || hang_up.load(Ordering::Relaxed))?;
        load.set_pace(Pace::per_second(0.0));
        tally.add(load.run(&mut blocked, &after(HANG_UP))?);
        all.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
    }
    Ok(())
}

/// Malformed messages that get an error reply.
fn malformed() -> Vec<(Vec<u8>, Expected)> {
    let whole = query("ws.azureml.ms");
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut message = whole.clone();
        change(&mut message);
        message
    };
    vec![
        (changed(|message| message.truncate(20)), Expected::Code(FORMERR)),
        (changed(|message| message[5] = 2), Expected::Code(FORMERR)),
        (changed(|message| message[6..8].fill(0xff)), Expected::Code(FORMERR)),
        (changed(|message| message[12] = 0xc0), Expected::Code(FORMERR)),
        (changed(|message| message[2] |= 2 << 3), Expected::Code(NOTIMP)),
        (changed(|message| message.extend([0; 7])), Expected::Code(FORMERR)),
    ]
}

/// Messages that get no reply.
fn unanswerable() -> Vec<(Vec<u8>, Expected)> {
    let whole = query("ws.azureml.ms");
    let mut response = whole.clone();
    response[2] |= 0x80;
    let long = [whole.as_slice(), &[0; 5_000]].concat();
    [whole[..7].to_vec(), response, long, OPT.to_vec()].map(|message| (message, Expected::Nothing)).into()
}
