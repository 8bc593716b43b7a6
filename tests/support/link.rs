//! [`Link`]: a proxy that loses, delays, reorders, duplicates and corrupts what it carries.
//!
//! The fate of a datagram depends only on the seed, its bytes after the id, and how often it was seen before, not on
//! the load of the machine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::random::{Random, hash};
use super::upstream::bind_both;

/// Interval at which threads check whether to end.
const TICK: Duration = Duration::from_millis(50);

/// Time without a reply after which a return path is closed.
const IDLE: Duration = Duration::from_secs(10);

/// The impairment in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Impairment {
    /// Lost datagrams per 1,000.
    pub(crate) lost: u32,
    /// Duplicated datagrams per 1,000.
    pub(crate) doubled: u32,
    /// Datagrams per 1,000 that arrive with a byte changed or their end cut off.
    pub(crate) damaged: u32,
    /// Delay of everything, including streams.
    pub(crate) delay: Duration,
    /// Maximum extra delay of a datagram; faster ones overtake it.
    pub(crate) jitter: Duration,
}

/// The proxy, stopped when dropped.
pub(crate) struct Link {
    address: SocketAddr,
    path: Arc<Path>,
}

struct Path {
    target: SocketAddr,
    impairment: Impairment,
    seed: u64,
    seen: Mutex<HashMap<u64, u64>>,
    lost: AtomicUsize,
    stopping: AtomicBool,
    parcels: Sender<Parcel>,
}

/// A datagram on its way.
struct Parcel {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Link {
    /// A proxy to `target` on loopback, for datagrams and streams.
    pub(crate) fn to(target: SocketAddr, impairment: Impairment, seed: u64) -> Self {
        Self::between(Ipv4Addr::LOCALHOST.into(), target, impairment, seed)
    }

    /// A proxy from a port of `near` to `target`.
    pub(crate) fn between(near: IpAddr, target: SocketAddr, impairment: Impairment, seed: u64) -> Self {
        let (udp, tcp) = bind_both(near);
        let address = udp.local_addr().expect("a bound socket has an address");
        let (parcels, posted) = channel();
        let path = Path {
            target,
            impairment,
            seed,
            parcels,
            seen: Mutex::default(),
            lost: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        };
        let path = Arc::new(path);
        let (for_udp, for_tcp) = (Arc::clone(&path), Arc::clone(&path));
        thread::spawn(move || deliver(&posted));
        thread::spawn(move || carry_datagrams(udp, &for_udp));
        thread::spawn(move || carry_streams(&tcp, &for_tcp));
        Self { address, path }
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams lost so far.
    pub(crate) fn lost(&self) -> usize {
        self.path.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.path.stopping.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the accepting thread, which then ends
    }
}

impl Path {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Schedules `bytes` to `to` through `socket`, or drops them.
    fn post(&self, bytes: &[u8], socket: &Arc<UdpSocket>, to: SocketAddr) {
        let now = Instant::now();
        // Letter case and ids are random.
        let content = hash(&bytes.get(2..).unwrap_or_default().to_ascii_lowercase());
        let nth = *self.seen.lock().unwrap().entry(content).and_modify(|count| *count += 1).or_default();
        let mut random = Random::of(self.seed ^ content ^ nth << 48);
        let Impairment { lost, doubled, damaged, delay, jitter } = self.impairment;
        if random.happens(lost) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for _ in 0..=usize::from(random.happens(doubled)) {
            let mut bytes = bytes.to_vec();
            if random.happens(damaged) {
                damage(&mut bytes, &mut random);
            }
            let due = now + delay + random.time(jitter);
            // Nothing receives parcels after the link has ended.
            drop(self.parcels.send(Parcel { due, socket: Arc::clone(socket), to, bytes }));
        }
    }
}

/// Changes a byte, or cuts the end off.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len().max(1));
    match bytes.get_mut(at) {
        Some(byte) if random.happens(500) => *byte ^= 1 << random.below(8),
        _ => bytes.truncate(at),
    }
}

fn carry_datagrams(socket: UdpSocket, path: &Arc<Path>) {
    socket.set_read_timeout(Some(TICK)).expect("a timeout can be set");
    let near = Arc::new(socket);
    let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = [0; 65_535];
    while !path.is_stopping() {
        let Ok((length, client)) = near.recv_from(&mut buffer) else { continue };
        let far = ways.entry(client).or_insert_with(|| {
            let far = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port"));
            far.set_read_timeout(Some(TICK)).expect("a timeout can be set");
            let (near, far_end, path) = (Arc::clone(&near), Arc::clone(&far), Arc::clone(path));
            thread::spawn(move || carry_back(&far_end, &near, client, &path));
            far
        });
        path.post(&buffer[..length], far, path.target);
    }
}

/// Carries what comes back for `client`.
fn carry_back(far: &UdpSocket, near: &Arc<UdpSocket>, client: SocketAddr, path: &Path) {
    let mut buffer = [0; 65_535];
    let mut last = Instant::now();
    while !path.is_stopping() && last.elapsed() < IDLE {
        // A late reply from another test's resolver may reach this port.
        if let Ok((length, source)) = far.recv_from(&mut buffer)
            && source == path.target
        {
            last = Instant::now();
            path.post(&buffer[..length], near, client);
        }
    }
}

/// Sends parcels when they are due; ends when no more can come.
fn deliver(posted: &Receiver<Parcel>) {
    let mut waiting: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut parcels: HashMap<u64, Parcel> = HashMap::new();
    for number in 0.. {
        let due =
            waiting.peek().map_or(IDLE, |Reverse((due, _))| due.saturating_duration_since(Instant::now()));
        match posted.recv_timeout(due) {
            Ok(parcel) => {
                waiting.push(Reverse((parcel.due, number)));
                parcels.insert(number, parcel);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|Reverse((due, _))| *due <= Instant::now()) {
            let parcel = waiting.pop().and_then(|Reverse((_, number))| parcels.remove(&number));
            if let Some(Parcel { socket, to, bytes, .. }) = parcel {
                // The receiver may be gone.
                drop(socket.send_to(&bytes, to));
            }
        }
    }
}

fn carry_streams(listener: &TcpListener, path: &Arc<Path>) {
    for stream in listener.incoming() {
        if path.is_stopping() {
            return;
        }
        let (Ok(near), Ok(far)) = (stream, TcpStream::connect(path.target)) else { continue };
        let delay = path.impairment.delay;
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            thread::spawn(move || carry_stream(&from, &to, delay));
        }
    }
}

fn carry_stream(mut from: &TcpStream, mut to: &TcpStream, delay: Duration) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        thread::sleep(delay);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other side may have closed already.
    drop(to.shutdown(Shutdown::Write));
}
