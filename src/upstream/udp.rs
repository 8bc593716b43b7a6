//! One exchange over UDP: a new socket, a random id, and a wait for the matching reply.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::accept::{Channel, Judgement, SentQuery, judge};
use super::{Exchange, ExchangeError, UpstreamQuery, letter_case};
use crate::net::batch::MAX_REPORTS;
use crate::upstream::server_stats::ServerStats;
use crate::wire::request;

/// Receive buffer for one datagram in bytes: more than we offer, because Azure's resolver is known to exceed it.
const DATAGRAM: usize = 4096;

/// Queries `server` and waits for its reply. Anything else that arrives is counted and ignored.
///
/// Every exchange has its own socket with a random port from the kernel. The socket is connected, so it receives
/// datagrams only from the queried address and port.
pub(super) async fn exchange(
    server: SocketAddr,
    prompt: &UpstreamQuery,
    edns: bool,
    stats: &ServerStats,
) -> Result<Exchange, ExchangeError> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await.map_err(ExchangeError::Local)?;
    // Connecting sends nothing, so any error is local.
    socket.connect(server).await.map_err(ExchangeError::Local)?;
    let id: u16 = rand::random();
    let mut message = Vec::with_capacity(512);
    let case = letter_case(prompt.randomize_case);
    request::write_in_case(&mut message, id, &prompt.question, prompt.flags, case, edns);
    send(&socket, &message).await?;
    drop(message);
    loop {
        socket.readable().await?;
        // Allocated only when there is something to read: thousands of exchanges may wait without a buffer.
        let mut datagram = [0; DATAGRAM];
        // An error means nothing to read yet, or an ICMP message, which anyone who guesses the port can forge.
        let Ok(length) = socket.try_recv(&mut datagram) else { continue };
        let sent = SentQuery { id, question: &prompt.question, case, edns };
        match judge(&datagram[..length], sent, Channel::Datagram) {
            Judgement::Answer(answer) => return Ok(Exchange::Answer(answer)),
            Judgement::RetryOverTcp => return Ok(Exchange::RetryOverTcp),
            Judgement::EdnsRefused => return Err(ExchangeError::EdnsRefused),
            Judgement::Unusable => return Err(ExchangeError::Unusable),
            Judgement::Reject(reason) => stats.rejected(reason),
        }
    }
}

/// Sends `message` on a connected socket. Instead of sending, such a socket first reports earlier ICMP errors.
///
/// Errors: this host cannot send it.
async fn send(socket: &UdpSocket, message: &[u8]) -> Result<(), ExchangeError> {
    for _ in 0..MAX_REPORTS {
        if socket.send(message).await.is_ok() {
            return Ok(());
        }
    }
    socket.send(message).await.map(|_| ()).map_err(ExchangeError::Local)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::clients::{ClientPrefix, ShareHolder};
    use crate::wire::request::AnswerFlags;

    /// A buffer in each of thousands of waiting exchanges took 20 KiB of memory per query.
    #[test]
    fn waiting_exchange_holds_no_reply_buffer() {
        let (question, flags) = (crate::wire::query::Question::empty(), AnswerFlags::default());
        let client = ClientPrefix::default().whole(Ipv4Addr::LOCALHOST.into());
        let client = ShareHolder::new(client, false);
        let prompt = UpstreamQuery { question, flags, client, randomize_case: false };
        let stats = ServerStats::default();
        let exchange = exchange("127.0.0.1:9".parse().unwrap(), &prompt, true, &stats);
        assert!(size_of_val(&exchange) < DATAGRAM / 4, "{} bytes", size_of_val(&exchange));
    }
}
