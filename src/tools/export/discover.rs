//! [`discover`]: resolves names at one server, to learn where their CNAME chains lead.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::sync::lock;
use crate::wire::code::{Class, Rcode, Type};
use crate::wire::header::{Flags, Header};
use crate::wire::name::Name;
use crate::wire::query::{Question, parse_question};
use crate::wire::request::{self, AnswerFlags};
use crate::wire::section::records;

/// Names resolved at once: far below the 200 queries that Azure's resolver lets a virtual machine have in flight.
const AT_ONCE: usize = 16;
/// Time for one attempt, and attempts for each question.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// Time for all names.
const TOTAL: Duration = Duration::from_secs(120);
/// Longest chain; resolvers follow no longer ones.
const MAX_CHAIN: usize = 16;

/// Where the CNAME chain of a name leads.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The name.
    pub name: Name,
    /// The targets in the answers for A and AAAA; empty if the name has no CNAME.
    pub chain: Result<Vec<Name>, Undiscovered>,
}

/// Why the targets of a name are unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undiscovered {
    /// No reply, or none in the time for all names.
    #[error("no reply from {0}")]
    Silence(SocketAddr),
    /// The server answered with an error.
    #[error("{0} answered {1}")]
    Error(SocketAddr, &'static str),
    /// The network failed.
    #[error("{0}: {1}")]
    Unreachable(SocketAddr, String),
    /// More aliases than a resolver follows.
    #[error("{0} answered with more than {MAX_CHAIN} aliases")]
    Long(SocketAddr),
}

/// Resolves `names` at `server` over UDP, and over TCP if a reply is truncated. Ends after two minutes at most.
pub fn discover(server: SocketAddr, names: &[Name]) -> Vec<Discovery> {
    let end = Instant::now() + TOTAL;
    let waiting: Mutex<VecDeque<&Name>> = Mutex::new(names.iter().collect());
    let found: Mutex<Vec<Discovery>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            scope.spawn(|| {
                loop {
                    let Some(name) = lock(&waiting).pop_front() else { return };
                    let discovery = Discovery { name: name.clone(), chain: chain(server, name, end) };
                    lock(&found).push(discovery);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_cached_key(|discovery| discovery.name.to_string());
    found
}

/// The targets for A and AAAA.
fn chain(server: SocketAddr, name: &Name, end: Instant) -> Result<Vec<Name>, Undiscovered> {
    let mut targets: Vec<Name> = Vec::new();
    for qtype in [Type::A, Type::AAAA] {
        let reply = ask(server, &Question { name: name.clone(), qtype, class: Class::IN }, end)?;
        let cnames = records(&reply).filter(|record| record.is_answer && record.kind == Type::CNAME);
        let mut length = 0;
        for target in cnames.filter_map(|record| record.target().ok().flatten()) {
            length += 1;
            if length > MAX_CHAIN {
                return Err(Undiscovered::Long(server));
            }
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

fn ask(server: SocketAddr, question: &Question, end: Instant) -> Result<Vec<u8>, Undiscovered> {
    let mut last = Undiscovered::Silence(server);
    for _ in 0..ATTEMPTS {
        let deadline = (Instant::now() + PATIENCE).min(end);
        match attempt(server, question, deadline) {
            Ok(Some(reply)) => {
                let rcode =
                    Rcode(Header::parse(&reply).map_or(Rcode::SERVFAIL.0, |header| header.flags.rcode()));
                // NXDOMAIN may be about the last target of a chain (RFC 6604).
                let leads_on = records(&reply).any(|record| record.is_answer && record.kind == Type::CNAME);
                return match rcode {
                    Rcode::NOERROR => Ok(reply),
                    Rcode::NXDOMAIN if leads_on => Ok(reply),
                    rcode => Err(Undiscovered::Error(server, rcode.label())),
                };
            }
            Ok(None) => {}
            Err(error) => last = Undiscovered::Unreachable(server, error.to_string()),
        }
    }
    Err(last)
}

/// One exchange; `None` after `deadline`. Only a reply with the query's id and question counts.
fn attempt(server: SocketAddr, question: &Question, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let id: u16 = rand::random();
    let mut query = Vec::new();
    request::write(&mut query, id, question, AnswerFlags::default());
    let is_ours = |reply: &[u8]| {
        let is_reply =
            Header::parse(reply).is_some_and(|header| header.id == id && header.flags.has(Flags::QR));
        is_reply && parse_question(reply).is_some_and(|(asked, _)| asked == *question)
    };
    let socket = match server {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(server)?;
    socket.send(&query)?;
    let mut buffer = [0; 4096];
    while let Some(left) = left(deadline) {
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_timeout(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let reply = &buffer[..length];
        if !is_ours(reply) {
            continue;
        }
        if Header::parse(reply).is_some_and(|header| header.flags.has(Flags::TC)) {
            let reply = match by_stream(server, &query, deadline) {
                Err(error) if is_timeout(&error) => return Ok(None),
                reply => reply?,
            };
            return Ok(Some(reply).filter(|reply| is_ours(reply)));
        }
        return Ok(Some(reply.to_vec()));
    }
    Ok(None)
}

fn by_stream(server: SocketAddr, query: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || left(deadline).ok_or(io::ErrorKind::TimedOut);
    let mut stream = TcpStream::connect_timeout(&server, left()?)?;
    stream.set_read_timeout(Some(left()?))?;
    stream.set_write_timeout(Some(left()?))?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    let mut filled = 0;
    while filled < reply.len() {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut reply[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(reply)
}

/// The time until `deadline`; `None` if there is none left.
fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
