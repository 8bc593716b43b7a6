//! One exchange over UDP: a fresh socket, a random id, and patience for the true reply.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::accept::{Channel, Judgement, SentQuery, judge};
use super::{Exchange, ExchangeError, Prompt, letter_case};
use crate::net::batch::MAX_REPORTS;
use crate::upstream::server_stats::ServerStats;
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
    edns: bool,
    stats: &ServerStats,
) -> Result<Exchange, ExchangeError> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await.map_err(ExchangeError::Local)?;
    // Connecting sends nothing: whatever fails is this host's.
    socket.connect(server).await.map_err(ExchangeError::Local)?;
    let id: u16 = rand::random();
    let mut message = Vec::with_capacity(512);
    let case = letter_case(prompt.randomize_case);
    request::write_in_case(&mut message, id, &prompt.question, prompt.flags, case, edns);
    send(&socket, &message).await?;
    drop(message);
    loop {
        socket.readable().await?;
        // Made when there is something to read: thousands may wait, and none of them needs it meanwhile.
        let mut datagram = [0; DATAGRAM];
        // An error is nothing to read yet, or an ICMP message, which anyone who guesses the port can forge.
        let Ok(length) = socket.try_recv(&mut datagram) else { continue };
        let sent = SentQuery { id, question: &prompt.question, case, edns };
        match judge(&datagram[..length], sent, Channel::Datagram) {
            Judgement::Answer(answer) => return Ok(Exchange::Answer(answer)),
            Judgement::AskOverTcp => return Ok(Exchange::AskOverTcp),
            Judgement::EdnsRefused => return Err(ExchangeError::EdnsRefused),
            Judgement::Unusable => return Err(ExchangeError::Unusable),
            Judgement::Reject(reason) => stats.rejected(reason),
        }
    }
}

/// Sends `message` on a connected socket, which reports ICMP errors that came before in place of sending.
///
/// Errors: the host does not let it out.
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

    /// Room for a datagram in each of thousands that waited took 20 KiB of memory a query.
    #[test]
    fn an_exchange_that_waits_holds_no_room_for_its_reply() {
        let (question, flags) = (crate::wire::query::Question::empty(), AnswerFlags::default());
        let client = ClientPrefix::default().whole(Ipv4Addr::LOCALHOST.into());
        let client = ShareHolder::new(client, false);
        let prompt = Prompt { question, flags, client, randomize_case: false };
        let stats = ServerStats::default();
        let exchange = exchange("127.0.0.1:9".parse().unwrap(), &prompt, true, &stats);
        assert!(size_of_val(&exchange) < DATAGRAM / 4, "{} bytes", size_of_val(&exchange));
    }
}
