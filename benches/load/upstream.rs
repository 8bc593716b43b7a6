//! The upstream of every server under test: answers each A query with one address, or simulates a fault.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use namegate::net::batch::{ReceiveBatch, SendBatch, Wait};

use super::reply::ADDRESS;
use super::workload::OPT;

/// Datagrams read per call.
const BATCH: usize = 64;
/// Buffer size, enough for any query.
const ROOM: usize = 1232;
/// Longer than a run, so that cache entries do not expire.
const TTL: u32 = 3_600;

/// Interval at which a faulty upstream checks its state and sends delayed replies.
const TICK: Duration = Duration::from_millis(5);
/// Delay of a slow upstream: below the second after which namegate tries another.
const SLOW: Duration = Duration::from_millis(400);

const TRUNCATED: u8 = 0x02;
const SERVFAIL: u8 = 2;

/// What the upstream does with UDP queries. Over TCP it answers, unless it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Conduct {
    /// Answers.
    Sound,
    /// Reads queries and never replies.
    Silent,
    /// Answers SERVFAIL.
    Failing,
    /// Answers late.
    Slow,
    /// Answers with TC, so that clients retry over TCP.
    Truncating,
    /// Sends bytes that are not a reply.
    Garbling,
    /// Its port is closed.
    Killed,
}

impl Conduct {
    /// All conducts.
    pub(crate) const ALL: [Self; 7] = [
        Self::Sound,
        Self::Silent,
        Self::Failing,
        Self::Slow,
        Self::Truncating,
        Self::Garbling,
        Self::Killed,
    ];
}

/// An upstream whose conduct can be changed.
pub(crate) struct Upstream {
    address: SocketAddr,
    conduct: Arc<AtomicU8>,
}

impl Upstream {
    /// Answers on a loopback port until the process ends, on threads that share the caller's core.
    pub(crate) fn start() -> io::Result<Self> {
        let address = start_tcp()?;
        let conduct = Arc::new(AtomicU8::new(Conduct::Sound as u8));
        let told = Arc::clone(&conduct);
        thread::spawn(move || {
            loop {
                if conduct_of(&told) == Conduct::Killed {
                    thread::sleep(TICK);
                } else if let Ok(socket) = UdpSocket::bind(address) {
                    // Returns when it is killed.
                    let _ = serve_as_told(&socket, &told);
                }
            }
        });
        Ok(Self { address, conduct })
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the conduct.
    pub(crate) fn set(&self, conduct: Conduct) {
        self.conduct.store(conduct as u8, Ordering::Relaxed);
    }
}

fn conduct_of(told: &AtomicU8) -> Conduct {
    Conduct::ALL[usize::from(told.load(Ordering::Relaxed))]
}

/// Answers on a loopback port until the process ends, on threads that share the caller's core.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let address = start_tcp()?;
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || serve(&socket));
    Ok(address)
}

/// Some servers forward over TCP what they received over TCP.
fn start_tcp() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_connection(&stream));
        }
    });
    Ok(address)
}

fn serve(socket: &UdpSocket) {
    let mut requests = ReceiveBatch::new(BATCH, ROOM);
    let mut replies = SendBatch::new(BATCH);
    loop {
        // An error here belongs to an earlier reply whose client is gone.
        if requests.receive(socket, Wait::ForOne).is_err() {
            continue;
        }
        for request in requests.iter() {
            if let Some(question) = question(request.bytes) {
                answer(request.bytes, question, replies.push(request.peer));
            }
        }
        let _ = replies.flush([socket]);
    }
}

fn serve_as_told(socket: &UdpSocket, told: &AtomicU8) -> io::Result<()> {
    socket.set_read_timeout(Some(TICK))?;
    let mut requests = ReceiveBatch::new(BATCH, ROOM);
    let mut replies = SendBatch::new(BATCH);
    let mut held: VecDeque<(Instant, SocketAddr, Vec<u8>)> = VecDeque::new();
    loop {
        let conduct = conduct_of(told);
        if conduct == Conduct::Killed {
            return Ok(());
        }
        let is_received = requests.receive(socket, Wait::ForOne).is_ok();
        for request in requests.iter().filter(|_| is_received) {
            let Some(question) = question(request.bytes) else { continue };
            let mut reply = Vec::new();
            answer(request.bytes, question, &mut reply);
            match conduct {
                Conduct::Silent | Conduct::Killed => continue,
                Conduct::Slow => {
                    held.push_back((Instant::now() + SLOW, request.peer.address, reply));
                    continue;
                }
                Conduct::Sound => {}
                Conduct::Failing => reply[3] |= SERVFAIL,
                Conduct::Truncating => reply[2] |= TRUNCATED,
                Conduct::Garbling => reply[12..].fill(0xff),
            }
            replies.push(request.peer).extend_from_slice(&reply);
        }
        let _ = replies.flush([socket]);
        while held.front().is_some_and(|(due, ..)| *due <= Instant::now()) {
            let _ = held.pop_front().map(|(_, peer, reply)| socket.send_to(&reply, peer));
        }
    }
}

fn serve_connection(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream);
    loop {
        let mut length = [0; 2];
        requests.read_exact(&mut length)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        requests.read_exact(&mut request)?;
        let question = question(&request).ok_or(io::ErrorKind::InvalidData)?;
        let mut reply = vec![0; 2];
        answer(&request, question, &mut reply);
        let length = (reply.len() - 2) as u16;
        reply[..2].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&reply)?;
    }
}

/// The question's bytes, if the question is complete.
fn question(request: &[u8]) -> Option<&[u8]> {
    let mut end = 12;
    loop {
        match usize::from(*request.get(end)?) {
            0 => return request.get(12..end + 5),
            length => end += 1 + length,
        }
    }
}

/// Appends the answer: an address for an A query, NODATA for other types, and an OPT record if the query has one.
fn answer(request: &[u8], question: &[u8], reply: &mut Vec<u8>) {
    let asks_for_address = question.ends_with(&[0, 1, 0, 1]);
    let has_additional = request[11] != 0;
    reply.extend_from_slice(&request[..2]);
    // QR and RA, with the request's opcode, RD and CD.
    reply.extend_from_slice(&[request[2] | 0x80, (request[3] & 0x10) | 0x80]);
    reply.extend_from_slice(&[0, 1, 0, u8::from(asks_for_address), 0, 0, 0, u8::from(has_additional)]);
    reply.extend_from_slice(question);
    if asks_for_address {
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        reply.extend_from_slice(&TTL.to_be_bytes());
        reply.extend_from_slice(&[0, 4]);
        reply.extend_from_slice(&ADDRESS.octets());
    }
    if has_additional {
        reply.extend_from_slice(&OPT);
    }
}
