//! [`Waiting`]: how many queries wait for answers, in all and for each client.

use std::collections::HashMap;
use std::net::IpAddr;

use rapidhash::fast::RandomState;

use crate::policy::clients::whole_client;

/// Queries that wait; of an IPv6 address the /64 counts.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    total: usize,
    clients: HashMap<IpAddr, usize, RandomState>,
}

impl Waiting {
    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// How many of them are `client`'s.
    pub(super) fn of(&self, client: IpAddr) -> usize {
        self.clients.get(&whole_client(client)).copied().unwrap_or(0)
    }

    /// One more of `client`'s waits.
    pub(super) fn add(&mut self, client: IpAddr) {
        self.total += 1;
        *self.clients.entry(whole_client(client)).or_default() += 1;
    }

    /// One of `client`'s waits no more.
    pub(super) fn remove(&mut self, client: IpAddr) {
        self.total -= 1;
        let client = whole_client(client);
        if let Some(count) = self.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clients_are_counted_apart_and_forgotten() {
        let [one, other, neighbour] =
            ["10.0.0.1", "2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().unwrap());
        let mut waiting = Waiting::default();
        [one, one, other].iter().for_each(|client| waiting.add(*client));
        assert_eq!((waiting.total(), waiting.of(one), waiting.of(neighbour)), (3, 2, 1));
        [one, neighbour, one].iter().for_each(|client| waiting.remove(*client));
        assert_eq!((waiting.total(), waiting.of(one), waiting.clients.len()), (0, 0, 0));
    }
}
