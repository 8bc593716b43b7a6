//! [`PendingTable`]: the pending queries and their waiters.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rapidhash::fast::RandomState;
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::port::PortId;
use super::waiting::Waiting;
use crate::policy::AllowedQuery;
use crate::policy::clients::ShareHolder;
use crate::upstream::server::ExchangeGuard;
use crate::upstream::{ExchangeError, Upstream};
use crate::wire::answer::Answer;
use crate::wire::letter_case::LetterCase;

/// Handle of a pending query. The handle of a completed query matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    place: usize,
    serial: u64,
}

/// A pending query.
pub(super) struct Asked {
    pub(super) query: AllowedQuery<'static>,
    /// The servers it is sent to.
    pub(super) upstream: Arc<Upstream>,
    pub(super) deadline: Instant,
    /// The clients have waited too long: they get a stale answer if the cache has one.
    pub(super) is_overdue: bool,
    /// The relay's own attempt, until it ends.
    pub(super) attempt: Option<RelayAttempt>,
}

/// The attempt that the relay sends itself.
pub(super) struct RelayAttempt {
    /// Index of the server.
    pub(super) index: usize,
    pub(super) port: PortId,
    pub(super) id: u16,
    /// The letter case of the question; `None` if any is accepted.
    pub(super) case: Option<LetterCase>,
    /// The query had an OPT record.
    pub(super) edns: bool,
    pub(super) ending: ExchangeGuard,
    /// Reports the outcome to the task that waits for it.
    pub(super) report: Option<oneshot::Sender<Result<Answer, ExchangeError>>>,
}

/// The waiters for one pending query, each with its client: nearly always one.
pub type Waiters<W> = SmallVec<[(ShareHolder, W); 1]>;

struct Entry<W> {
    serial: u64,
    hash: u64,
    asked: Asked,
    waiters: Waiters<W>,
}

/// Pending queries; see the module documentation.
pub(super) struct PendingTable<W> {
    entries: Slab<Entry<W>>,
    /// Entry indices by question.
    questions: HashTable<usize>,
    hasher: RandomState,
    serial: u64,
    waiting: Waiting,
}

impl<W> PendingTable<W> {
    /// No pending queries.
    pub(super) fn new() -> Self {
        Self {
            entries: Slab::new(),
            questions: HashTable::new(),
            hasher: RandomState::default(),
            serial: 0,
            waiting: Waiting::default(),
        }
    }

    /// The number of waiters.
    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The identical pending query, if any.
    pub(super) fn find(&self, query: &AllowedQuery<'_>) -> Option<Ticket> {
        let place = *self
            .questions
            .find(self.hash(query), |place| is_same(&self.entries[*place].asked.query, query))?;
        Some(Ticket { place, serial: self.entries[place].serial })
    }

    /// Adds `client`'s `waiter` to a pending query. Returns the waiter if `most` are waiting already, or if the client
    /// has as many waiters as there are free slots.
    pub(super) fn join(
        &mut self,
        ticket: Ticket,
        client: ShareHolder,
        waiter: W,
        most: usize,
    ) -> Result<(), W> {
        let Some(entry) = self.entry(ticket) else { return Err(waiter) };
        let free = most.saturating_sub(entry.waiters.len());
        // A client cannot exceed its share if there are too few waiters in total.
        let is_share_taken = entry.waiters.len() >= free
            && entry.waiters.iter().filter(|(other, _)| *other == client).count() >= free;
        if free == 0 || is_share_taken {
            return Err(waiter);
        }
        entry.waiters.push((client, waiter));
        self.waiting.add(client);
        Ok(())
    }

    /// Adds a pending query.
    pub(super) fn begin(&mut self, asked: Asked, waiter: Option<W>) -> Ticket {
        let hash = self.hash(&asked.query);
        self.serial += 1;
        let client = asked.query.holder();
        let waiters: Waiters<W> = waiter.into_iter().map(|waiter| (client, waiter)).collect();
        waiters.iter().for_each(|(client, _)| self.waiting.add(*client));
        let place = self.entries.insert(Entry { serial: self.serial, hash, asked, waiters });
        self.questions.insert_unique(hash, place, |place| self.entries[*place].hash);
        Ticket { place, serial: self.serial }
    }

    /// Removes and returns the relay's own attempt.
    pub(super) fn end_attempt(&mut self, ticket: Ticket) -> Option<RelayAttempt> {
        self.entry(ticket)?.asked.attempt.take()
    }

    /// The question of `ticket`.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&Asked> {
        self.entries.get(ticket.place).filter(|entry| entry.serial == ticket.serial).map(|entry| &entry.asked)
    }

    /// The question of `ticket`.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Asked> {
        self.entry(ticket).map(|entry| &mut entry.asked)
    }

    /// Removes and returns the waiters; the query stays pending.
    pub(super) fn take_waiters(&mut self, ticket: Ticket) -> Waiters<W> {
        let waiters = self.entry(ticket).map(|entry| std::mem::take(&mut entry.waiters)).unwrap_or_default();
        self.released(waiters)
    }

    /// Removes and returns a pending query with its waiters.
    pub(super) fn end(&mut self, ticket: Ticket) -> Option<(Asked, Waiters<W>)> {
        self.entry(ticket)?;
        let entry = self.entries.remove(ticket.place);
        if let Ok(found) = self.questions.find_entry(entry.hash, |place| *place == ticket.place) {
            found.remove();
        }
        Some((entry.asked, self.released(entry.waiters)))
    }

    /// Stops counting `waiters` and returns them.
    fn released(&mut self, waiters: Waiters<W>) -> Waiters<W> {
        waiters.iter().for_each(|(client, _)| self.waiting.remove(*client));
        waiters
    }

    fn entry(&mut self, ticket: Ticket) -> Option<&mut Entry<W>> {
        self.entries.get_mut(ticket.place).filter(|entry| entry.serial == ticket.serial)
    }

    fn hash(&self, query: &AllowedQuery<'_>) -> u64 {
        let question = query.question();
        self.hasher.hash_one((&question.name, question.qtype, query.flags(), query.route()))
    }
}

fn is_same(one: &AllowedQuery<'_>, other: &AllowedQuery<'_>) -> bool {
    one.question() == other.question() && one.flags() == other.flags() && one.route() == other.route()
}
