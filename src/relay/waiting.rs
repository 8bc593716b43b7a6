//! [`Waiting`]: counts waiting queries, in total and per client.

use std::collections::HashMap;

use rapidhash::fast::RandomState;

use crate::policy::clients::ShareHolder;

/// Counts of waiting queries.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    total: usize,
    clients: HashMap<ShareHolder, usize, RandomState>,
}

impl Waiting {
    /// Waiting queries in total.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Waiting queries of `client`.
    pub(super) fn of(&self, client: ShareHolder) -> usize {
        self.clients.get(&client).copied().unwrap_or(0)
    }

    /// Adds a waiting query of `client`.
    pub(super) fn add(&mut self, client: ShareHolder) {
        self.total += 1;
        *self.clients.entry(client).or_default() += 1;
    }

    /// Removes a waiting query of `client`.
    pub(super) fn remove(&mut self, client: ShareHolder) {
        self.total -= 1;
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
    use crate::policy::clients::ClientPrefix;

    #[test]
    fn clients_are_counted_apart_and_forgotten() {
        let whole = |ip: &str| ClientPrefix::default().whole(ip.parse().unwrap());
        let [one, other, neighbour] =
            ["10.0.0.1", "2001:db8::1", "2001:db8::2"].map(|ip| ShareHolder::new(whole(ip), false));
        let proven = ShareHolder::new(whole("10.0.0.1"), true);
        let mut waiting = Waiting::default();
        [one, one, other].iter().for_each(|client| waiting.add(*client));
        assert_eq!((waiting.total(), waiting.of(one), waiting.of(neighbour)), (3, 2, 1));
        assert_eq!(waiting.of(proven), 0, "forged queries do not use its share");
        [one, neighbour, one].iter().for_each(|client| waiting.remove(*client));
        assert_eq!((waiting.total(), waiting.of(one), waiting.clients.len()), (0, 0, 0));
    }
}
