//! [`Guesses`]: slows down clients that try wrong tokens, each by itself.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::policy::clients::WholeClient;
use crate::util::sync::lock;

/// A client may try this many wrong tokens at once.
const BURST: u32 = 10;

/// And one more after each such time.
const PAUSE: Duration = Duration::from_secs(6);

/// Most clients stored. Beyond that, the one that could soonest try as often as a new client is forgotten.
const MAX: usize = 1024;

/// The clients that tried wrong tokens, each with the time when all its tries are forgotten.
#[derive(Default)]
pub(super) struct Guesses {
    clients: Mutex<HashMap<WholeClient, Instant>>,
}

impl Guesses {
    /// How long `client` must wait before its next token is looked at; none if it need not.
    pub(super) fn wait(&self, client: WholeClient, now: Instant) -> Option<Duration> {
        let forgotten = lock(&self.clients).get(&client).copied()?;
        let next = PAUSE * (BURST - 1);
        forgotten.saturating_duration_since(now).checked_sub(next).filter(|wait| !wait.is_zero())
    }

    /// Notes a wrong token.
    pub(super) fn note(&self, client: WholeClient, now: Instant) {
        let mut clients = lock(&self.clients);
        if clients.len() >= MAX && !clients.contains_key(&client) {
            clients.retain(|_, forgotten| *forgotten > now);
            let soonest = clients.iter().min_by_key(|(_, forgotten)| **forgotten).map(|(client, _)| *client);
            if let Some(soonest) = soonest.filter(|_| clients.len() >= MAX) {
                clients.remove(&soonest);
            }
        }
        let forgotten = clients.entry(client).or_insert(now);
        *forgotten = (*forgotten).max(now) + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::policy::clients::ClientPrefix;

    fn client(number: u32) -> WholeClient {
        ClientPrefix::default().whole(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn ten_tries_and_then_one_every_six_seconds() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        for number in 0..BURST {
            assert_eq!(guesses.wait(client(1), start), None, "{number}");
            guesses.note(client(1), start);
        }
        assert_eq!(guesses.wait(client(1), start), Some(PAUSE));
        assert_eq!(guesses.wait(client(2), start), None, "another client need not wait");
        assert_eq!(guesses.wait(client(1), start + PAUSE), None);
        guesses.note(client(1), start + PAUSE);
        assert_eq!(guesses.wait(client(1), start + PAUSE), Some(PAUSE));
        assert_eq!(guesses.wait(client(1), start + PAUSE * (BURST + 1)), None);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        (0..BURST).for_each(|_| guesses.note(client(0), start));
        for number in 1..=2 * MAX as u32 {
            guesses.note(client(number), start);
        }
        assert_eq!(lock(&guesses.clients).len(), MAX);
        assert_eq!(guesses.wait(client(0), start), Some(PAUSE));
    }
}
