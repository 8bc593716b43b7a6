//! `namegate demo traffic`: clients of a resolver, at a steady low rate.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::Name;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::mix::{DemoQuestion, question};
use crate::address::socket::DNS_PORT;
use crate::cli::output::try_print;
use crate::service::StartError;
use crate::service::shutdown::{Request, Signals};

/// Time for an answer, and for the last answers at the end.
const PATIENCE: Duration = Duration::from_secs(2);
/// TCP queries waiting at once; further ones go over UDP.
const TCP_AT_ONCE: usize = 32;

/// The server to query, and the rate.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Resolver to query: `HOST`, `HOST:PORT` or an address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1053")]
    server: String,
    /// Queries per second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Stop after this time, such as 30s [default: run until SIGTERM or Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

/// Counts of queries and answers.
#[derive(Debug, Default)]
struct Tally {
    udp: u64,
    tcp: u64,
    noerror: u64,
    nxdomain: u64,
    other: u64,
}

/// Queries the server until a signal or the end of the time, then prints one line.
pub(super) fn run(arguments: &Arguments) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        let mut clients = Clients::of(resolve(&arguments.server).await?).await?;
        clients.ask(arguments.rate, arguments.duration).await?;
        Ok::<_, StartError>(format!("queried {}: {}", clients.server, clients.tally))
    })?;
    try_print(&line)?;
    Ok(())
}

/// Finds the address. No other name is looked up by the system.
async fn resolve(server: &str) -> Result<SocketAddr, StartError> {
    let bare = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DNS_PORT));
    }
    let with_port = if server.contains(':') { server.to_owned() } else { format!("{server}:{DNS_PORT}") };
    let cannot = |why: String| format!("cannot find `{server}`: {why}\n  help: use `--server IP:PORT`");
    let mut found = lookup_host(with_port).await.map_err(|error| cannot(error.to_string()))?;
    found.next().ok_or_else(|| cannot("it has no address".to_owned()).into())
}

/// The clients of one server.
struct Clients {
    server: SocketAddr,
    /// Connected, so that it only exchanges datagrams with the server.
    udp: UdpSocket,
    tcp: JoinSet<Option<u8>>,
    tally: Tally,
}

impl Clients {
    async fn of(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let udp = UdpSocket::bind((any, 0)).await?;
        udp.connect(server).await?;
        Ok(Self { server, udp, tcp: JoinSet::new(), tally: Tally::default() })
    }

    /// Sends `rate` queries a second, for `duration` or until a signal, and waits for the last answers.
    async fn ask(&mut self, rate: u32, duration: Option<Duration>) -> Result<(), StartError> {
        let mut signals = Signals::new()?;
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = async {
            match duration {
                Some(duration) => sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        let mut end = std::pin::pin!(end);
        let mut number = 0;
        loop {
            tokio::select! {
                biased;
                request = signals.next() => if request == Request::Stop { break },
                () = &mut end => break,
                () = self.hear() => {}
                _ = ticks.tick() => {
                    self.send(number).await?;
                    number += 1;
                }
            }
        }
        let last = async {
            while self.tally.unanswered() > 0 {
                self.hear().await;
            }
        };
        let _ = timeout(PATIENCE, last).await;
        Ok(())
    }

    async fn send(&mut self, number: usize) -> Result<(), StartError> {
        let question = question(number);
        let message = encode(&question, number as u16)?;
        if question.over_tcp && self.tcp.len() < TCP_AT_ONCE {
            self.tally.tcp += 1;
            let server = self.server;
            self.tcp.spawn(async move { timeout(PATIENCE, exchange(server, &message)).await.ok()?.ok() });
        } else {
            self.tally.udp += 1;
            // A resolver that is not running counts as one that does not answer.
            let _ = self.udp.send(&message).await;
        }
        Ok(())
    }

    /// Receives one answer; dropping the future loses none.
    async fn hear(&mut self) {
        let mut datagram = [0; 4096];
        let rcode = tokio::select! {
            received = self.udp.recv(&mut datagram) => {
                received.ok().and_then(|length| rcode(&datagram[..length]))
            }
            Some(answered) = self.tcp.join_next() => answered.ok().flatten(),
        };
        match rcode {
            Some(0) => self.tally.noerror += 1,
            Some(3) => self.tally.nxdomain += 1,
            Some(_) => self.tally.other += 1,
            None => {}
        }
    }
}

fn encode(question: &DemoQuestion, id: u16) -> Result<Vec<u8>, StartError> {
    let mut query = Message::query();
    query.metadata.id = id;
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(&question.name)?, question.kind));
    query.edns = Some(Edns::new());
    Ok(query.to_vec()?)
}

/// One query on a connection of its own (RFC 1035 section 4.2.2): the answer's response code.
async fn exchange(server: SocketAddr, message: &[u8]) -> io::Result<u8> {
    let mut stream = TcpStream::connect(server).await?;
    let framed = [&(message.len() as u16).to_be_bytes(), message].concat();
    stream.write_all(&framed).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    rcode(&reply).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The response code of a reply.
fn rcode(message: &[u8]) -> Option<u8> {
    Some(message.get(3)? & 0xf)
}

impl Tally {
    fn unanswered(&self) -> u64 {
        (self.udp + self.tcp).saturating_sub(self.noerror + self.nxdomain + self.other)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { udp, tcp, noerror, nxdomain, other } = self;
        let (asked, unanswered) = (udp + tcp, self.unanswered());
        write!(f, "{asked} queries ({udp} udp, {tcp} tcp): {noerror} NOERROR, {nxdomain} NXDOMAIN, ")?;
        write!(f, "{other} other, {unanswered} unanswered")
    }
}
