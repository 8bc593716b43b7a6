//! One exchange over UDP: a fresh socket, a random id, and patience for the true reply.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::accept::{Channel, Judgement, Sent, judge};
use super::server::ServerStats;
use super::{Exchange, ExchangeError, Prompt, letter_case};
use crate::wire::request;

/// Room for a datagram in bytes: more than we offer, because Azure's resolver is known to overrun.
const DATAGRAM: usize = 4096;

/// Asks `server` and waits for its reply; whatever else arrives is counted and ignored.
///
/// Every exchange has a socket of its own: the kernel gives it a random port, and being connected it takes datagrams
/// from the asked address and port alone.
pub(super) async fn exchange(
    server: SocketAddr,
    prompt: &Prompt,
    stats: &ServerStats,
) -> Result<Exchange, ExchangeError> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await.map_err(ExchangeError::Local)?;
    socket.connect(server).await?;
    let id: u16 = rand::random();
    let mut message = Vec::with_capacity(512);
    let case = letter_case(prompt.randomize_case);
    request::write_in_case(&mut message, id, &prompt.question, prompt.flags, case);
    socket.send(&message).await?;
    let mut datagram = [0; DATAGRAM];
    loop {
        let length = socket.recv(&mut datagram).await?;
        let sent = Sent { id, question: &prompt.question, case };
        match judge(&datagram[..length], sent, Channel::Datagram) {
            Judgement::Answer(answer) => return Ok(Exchange::Answer(answer)),
            Judgement::AskOverTcp => return Ok(Exchange::AskOverTcp),
            Judgement::Unusable => return Err(ExchangeError::Unusable),
            Judgement::Reject(reason) => stats.rejected(reason),
        }
    }
}
