//! [`OwnClients`]: sockets from which namegate queries itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};

use crate::util::sync::lock;
use crate::wire::reply::Transport;

/// Most sockets that may be leased at once.
const MAX_LEASED: usize = 256;

/// Sockets of canaries and of `namegate prove`. Queries from them are [own queries](crate::address::client::Client):
/// counted apart, and in no log, list or limit of clients.
///
/// A socket is its transport, IP address and port, so that no other program on that host is affected: the same port of the
/// other transport may belong to anyone.
#[derive(Debug, Default)]
pub struct OwnClients {
    /// False while there are none, as most of the time: packet threads then read nothing else.
    is_any: AtomicBool,
    clients: ArcSwap<Vec<OwnClient>>,
    /// Held during a change.
    change: Mutex<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnClient {
    socket: (IpAddr, u16, Transport),
    /// End of the lease; `None` for a socket of this process.
    until: Option<Instant>,
}

/// Address, port and transport of a socket.
pub type OwnSocket = (SocketAddr, Transport);

/// More sockets than may be leased at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many own clients, at most {MAX_LEASED}; help: end other runs of `namegate prove`, or wait a minute"
)]
pub struct TooManyOwnClients;

/// The sockets at one moment.
pub struct OwnClientsNow(Option<Guard<Arc<Vec<OwnClient>>>>);

impl OwnClients {
    /// Adds a socket of this process. Call this after binding the socket and before using it.
    pub fn add(&self, socket: OwnSocket) {
        let socket = canonical(socket);
        self.change(|clients| clients.push(OwnClient { socket, until: None }));
    }

    /// Adds sockets of another process until `until`, or renews them. Returns those that are new.
    pub fn lease(&self, sockets: &[OwnSocket], until: Instant) -> Result<Vec<OwnSocket>, TooManyOwnClients> {
        let mut new = Vec::new();
        self.change(|clients| {
            let before = clients.clone();
            for socket in sockets {
                let leased = OwnClient { socket: canonical(*socket), until: Some(until) };
                match clients.iter_mut().find(|client| client.socket == leased.socket) {
                    Some(OwnClient { until: Some(end), .. }) => *end = until.max(*end),
                    Some(_) => {}
                    None => {
                        clients.push(leased);
                        new.push(*socket);
                    }
                }
            }
            match clients.iter().filter(|client| client.until.is_some()).count() <= MAX_LEASED {
                true => Ok(new),
                false => {
                    *clients = before;
                    Err(TooManyOwnClients)
                }
            }
        })
    }

    /// Removes sockets of this process. Call this before closing them, because other programs may get their ports.
    pub fn remove(&self, sockets: &[OwnSocket]) {
        let sockets: Vec<_> = sockets.iter().copied().map(canonical).collect();
        self.change(|clients| {
            clients.retain(|client| client.until.is_some() || !sockets.contains(&client.socket));
        });
    }

    /// Ends leases before their time. Returns those that had one.
    pub fn end(&self, sockets: &[OwnSocket]) -> Vec<OwnSocket> {
        let sockets: Vec<_> = sockets.iter().copied().map(canonical).collect();
        self.end_leases(|client, _| sockets.contains(&client.socket))
    }

    /// Ends the leases whose time is over at `now`. Returns them.
    pub fn expire(&self, now: Instant) -> Vec<OwnSocket> {
        self.end_leases(|_, until| until <= now)
    }

    fn end_leases(&self, is_over: impl Fn(&OwnClient, Instant) -> bool) -> Vec<OwnSocket> {
        let is_over = |client: &mut OwnClient| client.until.is_some_and(|until| is_over(client, until));
        self.change(|clients| {
            clients
                .extract_if(.., is_over)
                .map(|OwnClient { socket: (ip, port, transport), .. }| ((ip, port).into(), transport))
                .collect()
        })
    }

    /// The current sockets, for a batch of queries that have been received.
    #[inline]
    pub fn now(&self) -> OwnClientsNow {
        OwnClientsNow(self.is_any.load(Ordering::Acquire).then(|| self.clients.load()))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<OwnClient>) -> T) -> T {
        let _alone = lock(&self.change);
        let mut clients = Vec::clone(&self.clients.load());
        let outcome = change(&mut clients);
        let is_any = !clients.is_empty();
        self.clients.store(Arc::new(clients));
        self.is_any.store(is_any, Ordering::Release);
        outcome
    }
}

impl OwnClientsNow {
    /// True if a query from `client` is namegate's own.
    #[inline]
    pub fn has(&self, client: SocketAddr, transport: Transport) -> bool {
        self.0.as_ref().is_some_and(|clients| has(clients, (client, transport)))
    }
}

#[cold]
fn has(clients: &[OwnClient], socket: OwnSocket) -> bool {
    let socket = canonical(socket);
    clients.iter().any(|client| client.socket == socket)
}

/// A listener on `[::]` shows an IPv4 client as an IPv4-mapped address.
fn canonical((client, transport): OwnSocket) -> (IpAddr, u16, Transport) {
    (client.ip().to_canonical(), client.port(), transport)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn udp(text: &str) -> OwnSocket {
        (text.parse().unwrap(), Transport::Udp)
    }

    fn has(own: &OwnClients, (address, transport): OwnSocket) -> bool {
        own.now().has(address, transport)
    }

    #[test]
    fn only_the_exact_socket_is_own_while_it_is_registered() {
        let own = OwnClients::default();
        assert!(!has(&own, udp("127.0.0.1:4000")));
        own.add(udp("127.0.0.1:4000"));
        for (client, is_own) in [
            ("127.0.0.1:4000", true),
            ("[::ffff:127.0.0.1]:4000", true),
            ("127.0.0.1:4001", false),
            ("127.0.0.2:4000", false),
            ("[::1]:4000", false),
        ] {
            assert_eq!(has(&own, udp(client)), is_own, "{client}");
        }
        let tcp = ("127.0.0.1:4000".parse().unwrap(), Transport::Tcp);
        assert!(!has(&own, tcp), "another program may have the port of the other transport");
        own.remove(&[tcp]);
        assert!(has(&own, udp("127.0.0.1:4000")));
        own.remove(&[udp("[::ffff:127.0.0.1]:4000")]);
        assert!(!has(&own, udp("127.0.0.1:4000")));
    }

    #[test]
    fn leases_end_and_can_be_renewed() {
        let (own, start) = (OwnClients::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [leased, ours] = ["10.0.0.1:1", "10.0.0.1:2"].map(udp);
        own.add(ours);
        assert_eq!(own.lease(&[leased, ours], at(60)), Ok(vec![leased]));
        assert_eq!(own.lease(&[leased], at(80)), Ok(Vec::new()));
        assert_eq!(own.lease(&[leased], at(70)), Ok(Vec::new()), "a lease is not shortened");
        assert_eq!(own.expire(at(79)), []);
        assert!(has(&own, leased));
        assert_eq!(own.expire(at(80)), [leased]);
        assert!(!has(&own, leased) && has(&own, ours), "a socket of this process has no lease");
        own.lease(&[leased], at(200)).unwrap();
        assert_eq!(own.end(&[leased, ours]), [leased], "nobody else ends a socket of this process");
        assert!(!has(&own, leased) && has(&own, ours));
    }

    #[test]
    fn leases_are_bounded_and_refused_as_a_whole() {
        let (own, until) = (OwnClients::default(), Instant::now());
        let many: Vec<OwnSocket> =
            (1..=MAX_LEASED as u16).map(|port| (([10, 0, 0, 1], port).into(), Transport::Udp)).collect();
        own.lease(&many[1..], until).unwrap();
        let [one, other] = ["10.0.0.2:1", "10.0.0.2:2"].map(udp);
        assert_eq!(own.lease(&[one, other], until), Err(TooManyOwnClients));
        assert!(!has(&own, one));
        assert_eq!(own.lease(&[other], until), Ok(vec![other]));
    }
}
