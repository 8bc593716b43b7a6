//! The resolver behind every server under test: each A query has one answer, unless it is told to be at fault.

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

/// Datagrams taken in one call.
const BATCH: usize = 64;
/// Room for any query.
const ROOM: usize = 1232;
/// Longer than a run, so that what was cached stays so.
const TTL: u32 = 3_600;

/// How often a resolver that can be at fault looks whether it is, and sends what it held back.
const TICK: Duration = Duration::from_millis(5);
/// How long a slow one waits: below the second after which a gate asks another.
const SLOW: Duration = Duration::from_millis(400);

const TRUNCATED: u8 = 0x02;
const SERVFAIL: u8 = 2;

/// What a resolver does with queries over UDP. Over TCP it answers, unless it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Conduct {
    /// Answers.
    Sound,
    /// Takes queries, and says nothing.
    Silent,
    /// SERVFAIL to all.
    Failing,
    /// Answers late.
    Slow,
    /// TC to all: to be asked over TCP.
    Truncating,
    /// Bytes that are no reply.
    Garbling,
    /// Its port is closed.
    Killed,
}

impl Conduct {
    /// All of them.
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

/// A resolver that does as it is told.
pub(crate) struct Upstream {
    address: SocketAddr,
    conduct: Arc<AtomicU8>,
}

impl Upstream {
    /// Answers on a port of loopback until the process ends, on threads that stay on the caller's core.
    pub(crate) fn start() -> io::Result<Self> {
        let address = start_tcp()?;
        let conduct = Arc::new(AtomicU8::new(Conduct::Sound as u8));
        let told = Arc::clone(&conduct);
        thread::spawn(move || {
            loop {
                if conduct_of(&told) == Conduct::Killed {
                    thread::sleep(TICK);
                } else if let Ok(socket) = UdpSocket::bind(address) {
                    // Ends when it is killed.
                    let _ = serve_as_told(&socket, &told);
                }
            }
        });
        Ok(Self { address, conduct })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does so from now on.
    pub(crate) fn set(&self, conduct: Conduct) {
        self.conduct.store(conduct as u8, Ordering::Relaxed);
    }
}

fn conduct_of(told: &AtomicU8) -> Conduct {
    Conduct::ALL[usize::from(told.load(Ordering::Relaxed))]
}

/// Answers on a port of loopback until the process ends, on threads that stay on the caller's core.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let address = start_tcp()?;
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || serve(&socket));
    Ok(address)
}

/// Some servers pass on over TCP what they were asked over TCP.
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
        // An error here is an earlier reply's, to a client that has gone.
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

/// The question's bytes, if it is a whole one.
fn question(request: &[u8]) -> Option<&[u8]> {
    let mut end = 12;
    loop {
        match usize::from(*request.get(end)?) {
            0 => return request.get(12..end + 5),
            length => end += 1 + length,
        }
    }
}

/// Appends the answer: an address for an A query, no data for another, and an OPT record where there was one.
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
