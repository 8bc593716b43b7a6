//! An upstream that answers every name, and a client that queries many names at once.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Queries in flight; well below the number at which any server drops some.
const WINDOW: usize = 100;
/// Timeout before a query is sent again.
const WAIT: Duration = Duration::from_millis(1500);
/// Maximum number of attempts per query.
const TRIES: u32 = 5;
/// The address of every name.
const ADDRESS: [u8; 4] = [192, 0, 2, 1];
/// The target of aliases: a name that no policy allows, as with names of Azure's CDNs.
const TARGET: &[u8] = b"\x03cdn\x07content\x04test\x00";

/// The result of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// The upstream's address.
    Yes,
    /// NXDOMAIN or NODATA.
    No,
    /// Another reply, or none.
    Otherwise(Option<u8>),
}

/// A server with an address for every name, for some through an alias. Stopped when dropped.
pub(super) struct Upstream {
    port: u16,
    stopping: Arc<AtomicBool>,
}

impl Upstream {
    pub(super) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        let port = socket.local_addr().expect("an address").port();
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        thread::spawn(move || {
            let mut query = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                if let Some(reply) = reply(&query[..length]) {
                    drop(socket.send_to(&reply, client));
                }
            }
        });
        Self { port, stopping }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// Offset after the question of a message, including type and class.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    while *message.get(at)? != 0 {
        at += 1 + usize::from(message[at]);
    }
    (at + 5 <= message.len()).then_some(at + 5)
}

fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let end = question_end(query)?;
    let is_a = query[end - 4..end] == [0, 1, 0, 1];
    let is_alias = is_a
        && query[12..end - 4] != *TARGET
        && query[12..end].iter().map(|b| u32::from(b | 32)).sum::<u32>() % 2 == 0;
    let answers = if is_a { 1 + u8::from(is_alias) } else { 0 };
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0], &query[12..end]].concat();
    if is_alias {
        reply.extend([0xc0, 0x0c, 0, 5, 0, 1, 0, 0, 0, 60, 0, TARGET.len() as u8]);
        reply.extend(TARGET);
        reply.extend(TARGET);
    } else if is_a {
        reply.extend([0xc0, 0x0c]);
    }
    if is_a {
        reply.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(ADDRESS);
    }
    Some(reply)
}

/// A query for the addresses of `name`.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut query = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

/// Queries `server` for all `names`, many at once; returns the result of each.
pub(super) fn ask_all(server: SocketAddr, names: &[String]) -> Vec<Answered> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.connect(server).expect("a UDP socket can be connected");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
    let mut answers = vec![Answered::Otherwise(None); names.len()];
    let mut flying: HashMap<u16, (usize, Instant, u32)> = HashMap::new();
    let mut next = 0;
    let mut message = [0; 4096];
    while next < names.len() || !flying.is_empty() {
        while flying.len() < WINDOW && next < names.len() {
            // Ids repeat after 65,536 queries; only a window of them is in flight.
            let id = next as u16;
            drop(socket.send(&query(id, &names[next])));
            flying.insert(id, (next, Instant::now(), 1));
            next += 1;
        }
        if let Ok(length) = socket.recv(&mut message)
            && length >= 12
            && let id = u16::from_be_bytes([message[0], message[1]])
            && let Some((index, ..)) = flying.get(&id)
            && question_end(&message[..length])
                .is_some_and(|end| message[12..end].eq_ignore_ascii_case(&query(id, &names[*index])[12..]))
        {
            answers[*index] = judge(&message[..length]);
            flying.remove(&id);
        }
        flying.retain(|id, (index, sent, tries)| {
            if sent.elapsed() < WAIT {
                return true;
            }
            (*sent, *tries) = (Instant::now(), *tries + 1);
            drop(socket.send(&query(*id, &names[*index])));
            *tries <= TRIES
        });
    }
    answers
}

fn judge(reply: &[u8]) -> Answered {
    let has_address = reply.windows(4).any(|bytes| bytes == ADDRESS);
    match (reply[3] & 15, has_address) {
        (0, true) => Answered::Yes,
        (0 | 3, false) => Answered::No,
        (rcode, _) => Answered::Otherwise(Some(rcode)),
    }
}
