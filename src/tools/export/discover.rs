//! [`discover`]: resolves names at one server, to learn where their CNAME chains lead.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, RData, Record};

use crate::util::sync::lock;
use crate::wire::code::{Class, Rcode, Type};
use crate::wire::header::{Flags, Header};
use crate::wire::name::Name;
use crate::wire::query::{Question, parse_question};
use crate::wire::request::{self, AnswerFlags};

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
    /// More aliases than a resolver follows, or a loop.
    #[error("{0} answered with more than {MAX_CHAIN} aliases, or with a loop")]
    Long(SocketAddr),
    /// A reply that is no DNS message.
    #[error("the reply of {0} cannot be read")]
    Unreadable(SocketAddr),
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
        let message = Message::from_vec(&reply).map_err(|_| Undiscovered::Unreadable(server))?;
        let found = follow(&message, name).ok_or(Undiscovered::Long(server))?;
        for target in found {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

/// The names that the CNAME records of a reply lead to from `name`, in order. Records with other owners do not count: a
/// server may add any. `None` if the chain is too long or returns to a name of its own.
fn follow(message: &Message, name: &Name) -> Option<Vec<Name>> {
    let mut links: Vec<(Name, Name)> = message.answers.iter().filter_map(link).collect();
    let mut chain: Vec<Name> = Vec::new();
    let mut current = name.clone();
    while let Some(at) = links.iter().position(|(owner, _)| *owner == current) {
        current = links.swap_remove(at).1;
        if chain.len() == MAX_CHAIN || chain.contains(&current) || current == *name {
            return None;
        }
        chain.push(current.clone());
    }
    Some(chain)
}

/// Owner and target of a CNAME record of class IN.
fn link(record: &Record) -> Option<(Name, Name)> {
    let RData::CNAME(target) = &record.data else { return None };
    let read = |name: &hickory_proto::rr::Name| Name::from_labels(name.iter()).ok();
    Some((read(&record.name)?, read(&target.0)?)).filter(|_| record.dns_class == DNSClass::IN)
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
                let leads_on = Message::from_vec(&reply).is_ok_and(|message| {
                    follow(&message, &question.name).is_none_or(|chain| !chain.is_empty())
                });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::str::FromStr;

    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::CNAME;

    use super::*;

    #[test]
    fn only_records_of_the_chain_count() {
        let name = |text: &str| hickory_proto::rr::Name::from_str(text).unwrap();
        let followed = |links: &[(&str, &str)]| {
            let mut message = Message::new(1, MessageType::Response, OpCode::Query);
            for (owner, target) in links {
                message.add_answer(Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target)))));
            }
            let start = Name::from_labels([&b"a"[..], b"example"]).unwrap();
            let chain = follow(&message, &start)?;
            Some(chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        let long: Vec<(String, String)> =
            (0..17).map(|index| (format!("n{index}.example."), format!("n{}.example.", index + 1))).collect();
        let long: Vec<(&str, &str)> = [("a.example.", "n0.example.")]
            .into_iter()
            .chain(long.iter().map(|(owner, target)| (owner.as_str(), target.as_str())))
            .collect();
        for (links, expected) in [
            (&[][..], Some("")),
            (&[("A.example.", "b.test."), ("b.test.", "c.test.")], Some("b.test c.test")),
            (&[("b.test.", "c.test."), ("a.example.", "B.test.")], Some("b.test c.test")),
            // An owner that the chain does not reach.
            (&[("a.example.", "b.test."), ("evil.test.", "c.test.")], Some("b.test")),
            (&[("x.example.", "windows.net.")], Some("")),
            (&[("a.example.", "b.test."), ("b.test.", "a.example.")], None),
            (&long, None),
        ] {
            assert_eq!(followed(links).as_deref(), expected, "{links:?}");
        }
    }
}
