//! [`Connections`]: how many TCP connections are open, in all and for each client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::policy::clients::whole_client;

/// The part of all places that must be free for clients to be given their whole time to idle: a quarter.
const ROOMY: usize = 4;

/// The part of all places that those who may not ask anything can have, together: an eighth. They get as far as being refused.
const STRANGERS: usize = 8;

/// What is left of that time where fewer are free: a tenth.
const HURRY: u32 = 10;

/// Places for connections; who finds none is turned away, and who has one keeps it.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_client: usize,
    open: Mutex<Open>,
    refused: [AtomicU64; Crowded::ALL.len()],
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    strangers: usize,
    clients: HashMap<IpAddr, usize>,
}

/// Why a connection was refused; the label `reason` of `tcp_connections_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// All places are taken.
    Total,
    /// The client has all the places that one may have.
    Client,
    /// The client may not ask, and all places for such clients are taken.
    Stranger,
}

impl Crowded {
    /// All reasons, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Total, Self::Client, Self::Stranger];

    /// Label for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
            Self::Stranger => "not_allowed",
        }
    }
}

/// A connection's place, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    client: IpAddr,
    is_stranger: bool,
}

impl Connections {
    /// At most `most` at once, and `most_per_client` of one client; of an IPv6 address the /64 counts.
    pub fn new(most: usize, most_per_client: usize) -> Self {
        Self { most, most_per_client, open: Mutex::default(), refused: Default::default() }
    }

    /// A place for one more connection of `client`, who is a stranger where nothing may be asked by it.
    pub fn admit(self: &Arc<Self>, client: IpAddr, is_stranger: bool) -> Result<Place, Crowded> {
        let client = whole_client(client);
        let mut open = self.open();
        let of_client = open.clients.get(&client).copied().unwrap_or(0);
        let refuse = |reason: Crowded| {
            self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
            Err(reason)
        };
        if of_client >= self.most_per_client {
            return refuse(Crowded::Client);
        }
        if open.total >= self.most {
            return refuse(Crowded::Total);
        }
        if is_stranger && open.strangers >= (self.most / STRANGERS).max(1) {
            return refuse(Crowded::Stranger);
        }
        open.total += 1;
        open.strangers += usize::from(is_stranger);
        open.clients.insert(client, of_client + 1);
        Ok(Place { connections: Arc::clone(self), client, is_stranger })
    }

    /// How long a connection may idle that may idle for `idle` where there is room: less where places run out.
    pub fn patience(&self, idle: Duration) -> Duration {
        let free = self.most - self.open().total;
        if free * ROOMY >= self.most { idle } else { idle / HURRY }
    }

    /// Connections open now.
    pub fn len(&self) -> usize {
        self.open().total
    }

    /// True where none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections refused so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (Crowded, u64)> {
        Crowded::ALL.into_iter().zip(&self.refused).map(|(why, count)| (why, count.load(Ordering::Relaxed)))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.total -= 1;
        open.strangers -= usize::from(self.is_stranger);
        if let Some(count) = open.clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_for_each_client_and_in_all_and_are_free_again() {
        let connections = Arc::new(Connections::new(5, 2));
        let admit = |from: &str| connections.admit(client(from), false);
        let first = admit("10.0.0.1").unwrap();
        let _second = admit("::ffff:10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), Crowded::Client);
        let _others = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert_eq!(admit("2001:db8::3").unwrap_err(), Crowded::Client, "a /64 is one client");
        let _last = admit("10.0.0.2").unwrap();
        assert_eq!(admit("10.0.0.3").unwrap_err(), Crowded::Total);
        assert_eq!(connections.len(), 5);
        drop(first);
        assert!(admit("10.0.0.1").is_ok());
        let refused: Vec<u64> = connections.refused().map(|(_, count)| count).collect();
        assert_eq!(refused, [1, 2, 0]);
        assert_eq!(connections.open().clients.len(), 3, "who has gone is forgotten");
    }

    #[test]
    fn who_may_not_ask_has_few_places() {
        let connections = Arc::new(Connections::new(16, 16));
        let held = ["10.0.0.1", "10.0.0.2"].map(|from| connections.admit(client(from), true).unwrap());
        assert_eq!(connections.admit(client("10.0.0.3"), true).unwrap_err(), Crowded::Stranger);
        let _others: Vec<Place> =
            (0..14).map(|_| connections.admit(client("10.0.0.9"), false).unwrap()).collect();
        drop(held);
        assert!(connections.admit(client("10.0.0.3"), true).is_ok());
        assert!(Arc::new(Connections::new(1, 1)).admit(client("10.0.0.3"), true).is_ok());
    }

    #[test]
    fn patience_shrinks_where_places_run_out() {
        let connections = Arc::new(Connections::new(8, 8));
        let ten = Duration::from_secs(10);
        let mut places: Vec<Place> =
            (0..6).map(|_| connections.admit(client("10.0.0.1"), false).unwrap()).collect();
        assert_eq!(connections.patience(ten), ten);
        places.push(connections.admit(client("10.0.0.1"), false).unwrap());
        assert_eq!(connections.patience(ten), Duration::from_secs(1));
        drop(places);
        assert!(connections.is_empty() && connections.patience(ten) == ten);
    }
}
