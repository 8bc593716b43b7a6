//! [`Budget`]: limits how many queries one upstream gets, at once and per second, and divides them among clients.
//!
//! A client may hold as many slots as it leaves free, and may have recently used as much of the rate as is left. Alone
//! it gets half of the slots and the whole rate; with others it gets its share. A client with few queries never waits
//! for one with many. Queries without a slot wait in a queue in which clients take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rapidhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::policy::clients::ShareHolder;
use crate::util::sync::lock;

/// Queries that may wait for one upstream, or for the answer to one question; more are refused. More could not be
/// answered before the deadline: at 180 in flight and 10 ms each, 1,000 wait 60 ms; at 4 s each they time out.
/// The limit also keeps one unanswered name from taking every slot for cache misses.
pub const MAX_WAITING: usize = 1000;

/// How far a burst may exceed the steady rate: a tenth of a second's worth, well within the difference between our
/// 900 and Azure's 1,000 queries a second.
const BURST: Duration = Duration::from_millis(100);

/// How long a client's use of the rate counts: half of [`BURST`]. A client alone at full rate leaves half of the burst.
const MEMORY: Duration = Duration::from_millis(50);

/// Time that must be left when a query is sent. With less, the answer would come too late.
const USEFUL: Duration = Duration::from_millis(100);

/// How often the queue is checked while only time can free capacity.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A further attempt for the same query gets a slot only if this many times its client's use is free.
const FURTHER: usize = 4;

/// Clients remembered before idle ones are forgotten.
const MAX_IDLE: usize = 1024;

/// Limits on the use of one upstream (Azure's resolver drops beyond 200 pending and 1,000 queries a second per VM).
#[derive(Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max_in_flight: usize,
    /// Queries per second; zero means no limit.
    rate: f64,
    book: Mutex<Book>,
}

/// The current use, by client.
#[derive(Debug)]
struct Book {
    in_flight: usize,
    /// Queries that may be sent now, as of `filled`.
    tokens: f64,
    filled: Instant,
    clients: HashMap<ShareHolder, Share, RandomState>,
    /// Clients with waiting queries, in turn order.
    line: VecDeque<ShareHolder>,
    waiting: usize,
    serial: u64,
    /// True while a task serves the queue.
    is_driven: bool,
}

/// The use of one client.
#[derive(Debug)]
struct Share {
    in_flight: usize,
    /// Queries sent recently, decaying over time, as of `at`.
    used: f64,
    at: Instant,
    /// Waiting queries by number, oldest first.
    waiting: VecDeque<(u64, oneshot::Sender<Permit>)>,
}

/// Which of a query's attempts needs a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The only one in progress.
    First,
    /// One more, while another is in progress: never takes the last slots.
    Further,
}

/// Why a query got no slot.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Shed {
    /// No slot became free, or the client's share of slots was used up.
    InFlight,
    /// The rate, or the client's share of it, was used up.
    Rate,
    /// The wait queue is full.
    Queue,
}

/// Permission to send one query. Dropping it frees the slot.
#[derive(Debug)]
pub struct Permit {
    /// `None` if the slot was already released.
    shared: Option<Arc<Shared>>,
    client: ShareHolder,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let mut book = shared.book();
            book.release(self.client);
            shared.serve_line(&mut book, Instant::now());
        }
    }
}

impl Budget {
    /// At most `max_in_flight` at once and `max_qps` a second; a `max_qps` of 0 means no limit.
    pub fn new(max_in_flight: usize, max_qps: u32) -> Self {
        let rate = f64::from(max_qps);
        let book = Book {
            in_flight: 0,
            tokens: burst(rate),
            filled: Instant::now(),
            clients: HashMap::default(),
            line: VecDeque::new(),
            waiting: 0,
            serial: 0,
            is_driven: false,
        };
        Self(Arc::new(Shared { max_in_flight, rate, book: Mutex::new(book) }))
    }

    /// Queries in flight.
    pub fn in_flight(&self) -> usize {
        self.0.book().in_flight
    }

    /// True if a query of `client` would get a slot at `now`.
    pub fn has_room(&self, client: ShareHolder, now: Instant) -> bool {
        let mut book = self.0.book();
        self.0.refill(&mut book, now);
        self.0.obstacle(&book, client, Attempt::First, now).is_none()
    }

    /// Queries waiting for a slot.
    pub fn waiting(&self) -> usize {
        self.0.book().waiting
    }

    /// Takes a slot if one is free now and the rate allows it; otherwise takes nothing.
    pub fn try_acquire(
        &self,
        client: ShareHolder,
        attempt: Attempt,
        now: Instant,
        deadline: Instant,
    ) -> Option<Permit> {
        let mut book = self.0.book();
        self.0.refill(&mut book, now);
        if now + USEFUL > deadline || self.0.obstacle(&book, client, attempt, now).is_some() {
            return None;
        }
        Some(self.0.grant(&mut book, client, now))
    }

    /// Waits for a slot and for the rate, at most until `deadline`.
    pub async fn acquire(&self, client: ShareHolder, deadline: Instant) -> Result<Permit, Shed> {
        let now = Instant::now();
        if let Some(permit) = self.try_acquire(client, Attempt::First, now, deadline) {
            return Ok(permit);
        }
        let (waiting, permit) = self.0.enter_line(client, now)?;
        let last = deadline.checked_sub(USEFUL).unwrap_or(now);
        match timeout_at(last, permit).await {
            Ok(permit) => permit.map_err(|_| Shed::Queue),
            Err(_) => {
                drop(waiting);
                let now = Instant::now();
                let mut book = self.0.book();
                self.0.refill(&mut book, now);
                // If there is room now, the rate was what served the queue too slowly.
                Err(self.0.obstacle(&book, client, Attempt::First, now).unwrap_or(Shed::Rate))
            }
        }
    }
}

/// Queries that may be sent at once after a pause.
fn burst(rate: f64) -> f64 {
    rate * BURST.as_secs_f64() + 1.0
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    fn refill(&self, book: &mut Book, now: Instant) {
        let since = now.saturating_duration_since(book.filled);
        if !since.is_zero() {
            book.tokens = (book.tokens + since.as_secs_f64() * self.rate).min(burst(self.rate));
            book.filled = now;
        }
    }

    /// What prevents sending a query of `client` at `now`.
    fn obstacle(&self, book: &Book, client: ShareHolder, attempt: Attempt, now: Instant) -> Option<Shed> {
        let part = match attempt {
            Attempt::First => 1,
            Attempt::Further => FURTHER,
        };
        let share = book.clients.get(&client);
        let free = self.max_in_flight.saturating_sub(book.in_flight);
        if free < part || share.map_or(0, |share| share.in_flight) * part > free {
            return Some(Shed::InFlight);
        }
        if self.rate == 0.0 {
            return None;
        }
        let used = share.map_or(0.0, |share| share.used_at(now));
        (book.tokens < 1.0 || used * part as f64 > book.tokens).then_some(Shed::Rate)
    }

    /// Takes a slot for `client`, which must be allowed to have it.
    fn grant(self: &Arc<Self>, book: &mut Book, client: ShareHolder, now: Instant) -> Permit {
        if self.rate > 0.0 {
            book.tokens -= 1.0;
        }
        book.in_flight += 1;
        let share = book.share(client, now);
        share.used = share.used_at(now) + 1.0;
        share.at = now;
        share.in_flight += 1;
        Permit { shared: Some(Arc::clone(self)), client }
    }

    /// Adds a query of `client` to the queue. A full queue drops the last query of the client with the most in it,
    /// which may be this one.
    fn enter_line(
        self: &Arc<Self>,
        client: ShareHolder,
        now: Instant,
    ) -> Result<(Waiting<'_>, oneshot::Receiver<Permit>), Shed> {
        let mut book = self.book();
        if book.waiting >= MAX_WAITING && !book.make_room(client) {
            return Err(Shed::Queue);
        }
        let (sender, permit) = oneshot::channel();
        book.serial += 1;
        let serial = book.serial;
        let share = book.share(client, now);
        share.waiting.push_back((serial, sender));
        if share.waiting.len() == 1 {
            book.line.push_back(client);
        }
        book.waiting += 1;
        if !std::mem::replace(&mut book.is_driven, true) {
            tokio::spawn(Arc::clone(self).drive());
        }
        Ok((Waiting { shared: self, client, serial }, permit))
    }

    /// Gives slots to waiting queries while there is room. Clients take turns; a client that may not have a slot now is
    /// skipped.
    fn serve_line(self: &Arc<Self>, book: &mut Book, now: Instant) {
        self.refill(book, now);
        let mut passed_over = 0;
        while passed_over < book.line.len() && self.max_in_flight > book.in_flight {
            let Some(client) = book.line.pop_front() else { return };
            if self.obstacle(book, client, Attempt::First, now).is_some() {
                book.line.push_back(client);
                passed_over += 1;
                continue;
            }
            let Some(share) = book.clients.get_mut(&client) else { continue };
            let Some((_, waiter)) = share.waiting.pop_front() else { continue };
            if !share.waiting.is_empty() {
                book.line.push_back(client);
            }
            book.waiting -= 1;
            passed_over = 0;
            let permit = self.grant(book, client, now);
            if let Err(mut permit) = waiter.send(permit) {
                permit.shared = None;
                book.release(client);
            }
        }
    }

    /// Serves the queue as time frees capacity, until it is empty.
    async fn drive(self: Arc<Self>) {
        loop {
            sleep_until(Instant::now() + LOOK_EVERY).await;
            let mut book = self.book();
            self.serve_line(&mut book, Instant::now());
            if book.line.is_empty() {
                book.is_driven = false;
                return;
            }
        }
    }
}

impl Book {
    fn share(&mut self, client: ShareHolder, now: Instant) -> &mut Share {
        if self.clients.len() >= MAX_IDLE + self.in_flight + self.waiting {
            self.clients.retain(|_, share| {
                share.in_flight > 0 || !share.waiting.is_empty() || share.used_at(now) > 0.1
            });
        }
        self.clients.entry(client).or_insert_with(|| Share {
            in_flight: 0,
            used: 0.0,
            at: now,
            waiting: VecDeque::new(),
        })
    }

    fn release(&mut self, client: ShareHolder) {
        self.in_flight -= 1;
        if let Some(share) = self.clients.get_mut(&client) {
            share.in_flight -= 1;
        }
    }

    /// Drops the last waiting query of the client with the most; false if `client` already has its share.
    fn make_room(&mut self, client: ShareHolder) -> bool {
        let waiting = |share: &Share| share.waiting.len();
        let own = self.clients.get(&client).map_or(0, waiting);
        if (own + 1) * self.line.len().max(1) > MAX_WAITING {
            return false;
        }
        let Some(share) = self.clients.values_mut().max_by_key(|share| waiting(share)) else { return false };
        if share.waiting.len() <= own + 1 {
            return false;
        }
        // Dropping the sender ends the wait. At least one query is left, so its client stays in the queue.
        share.waiting.pop_back();
        self.waiting -= 1;
        true
    }
}

impl Share {
    fn used_at(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at);
        if since.is_zero() { self.used } else { self.used * (-since.div_duration_f64(MEMORY)).exp() }
    }
}

/// A query in the queue. Dropping it removes it from the queue.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    client: ShareHolder,
    serial: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut book = self.shared.book();
        let Some(share) = book.clients.get_mut(&self.client) else { return };
        let Ok(place) = share.waiting.binary_search_by_key(&self.serial, |(serial, _)| *serial) else {
            return;
        };
        share.waiting.remove(place);
        let is_out = share.waiting.is_empty();
        book.waiting -= 1;
        if is_out {
            let client = self.client;
            book.line.retain(|other| *other != client);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::policy::clients::ClientPrefix;

    fn client(number: u8) -> ShareHolder {
        ShareHolder::new(ClientPrefix::default().whole(Ipv4Addr::new(10, 0, 0, number).into()), false)
    }

    /// Takes all permits available at once.
    fn all(budget: &Budget, client: ShareHolder, attempt: Attempt, now: Instant) -> Vec<Permit> {
        let deadline = now + Duration::from_secs(5);
        (0..1000).map_while(|_| budget.try_acquire(client, attempt, now, deadline)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_half_of_the_slots() {
        let budget = Budget::new(180, 0);
        let now = Instant::now();
        let silent = all(&budget, client(1), Attempt::First, now);
        assert_eq!(silent.len(), 91);
        assert!(all(&budget, client(1), Attempt::Further, now).is_empty());
        let others: Vec<_> =
            (2..22).map(|number| all(&budget, client(number), Attempt::First, now).len()).collect();
        assert!(others.iter().all(|count| *count >= 1), "{others:?}");
        drop(silent);
        assert_eq!(budget.in_flight(), 0);
        assert!(Budget::new(1, 0).has_room(client(1), now));
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_attempt_leaves_the_last_slots() {
        let budget = Budget::new(8, 0);
        let now = Instant::now();
        let _first = all(&budget, client(1), Attempt::First, now);
        assert_eq!(budget.in_flight(), 5);
        assert!(all(&budget, client(2), Attempt::Further, now).is_empty(), "three slots are left");
        assert_eq!(all(&budget, client(2), Attempt::First, now).len(), 2);
        let idle = Budget::new(180, 0);
        assert_eq!(all(&idle, client(2), Attempt::Further, now).len(), 37);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_held_and_one_client_leaves_half_of_the_burst() {
        let budget = Budget::new(10_000, 900);
        let mut sent = Vec::new();
        for millisecond in 0..1000 {
            let now = Instant::now();
            sent.push(all(&budget, client(1), Attempt::First, now).len());
            if millisecond % 100 == 99 {
                assert_eq!(all(&budget, client(2), Attempt::First, now).len().min(1), 1, "{millisecond}");
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let total: usize = sent.iter().sum();
        assert_eq!(sent[0], 46, "half of the burst of 91");
        assert!((750..=990).contains(&total), "{total} in a second");
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_gives_each_client_its_turn() {
        let budget = Arc::new(Budget::new(2, 0));
        let now = Instant::now();
        let mut held = all(&budget, client(1), Attempt::First, now);
        assert_eq!(held.len(), 2);
        let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
        for number in [1, 1, 1, 1, 2] {
            let (budget, order) = (Arc::clone(&budget), order.clone());
            tokio::spawn(async move {
                let permit = budget.acquire(client(number), now + Duration::from_secs(5)).await;
                order.send((number, permit)).unwrap();
            });
            tokio::task::yield_now().await;
        }
        held.clear();
        let mut turns = Vec::new();
        for _ in 0..5 {
            let (number, permit) = served.recv().await.unwrap();
            assert!(permit.is_ok());
            turns.push(number);
        }
        assert!(turns[..2].contains(&2), "{turns:?}");
        assert_eq!((budget.in_flight(), budget.0.book().waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_line_makes_room_for_who_has_less_in_it() {
        let budget = Arc::new(Budget::new(1, 0));
        let now = Instant::now();
        let _held = all(&budget, client(9), Attempt::First, now);
        let wait = |number| {
            let budget = Arc::clone(&budget);
            tokio::spawn(
                async move { budget.acquire(client(number), now + Duration::from_secs(5)).await.err() },
            )
        };
        let greedy: Vec<_> = (0..=MAX_WAITING).map(|_| wait(1)).collect();
        tokio::task::yield_now().await;
        let modest: Vec<_> = (2..22).map(wait).collect();
        let mut shed = HashMap::<_, usize>::new();
        for task in greedy {
            *shed.entry(format!("{:?}", task.await.unwrap())).or_default() += 1;
        }
        assert_eq!(shed["Some(Queue)"], 21, "{shed:?}");
        for task in modest {
            assert_eq!(task.await.unwrap(), Some(Shed::InFlight), "waits until its deadline");
        }
        assert_eq!(Instant::now() - now, Duration::from_millis(4900));
        let book = budget.0.book();
        assert_eq!((book.waiting, book.line.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_use_nothing_are_forgotten() {
        let budget = Budget::new(180, 0);
        for number in 0..100_000_u32 {
            let client = ClientPrefix::default().whole(Ipv4Addr::from(number).into());
            let client = ShareHolder::new(client, false);
            drop(all(&budget, client, Attempt::First, Instant::now()).pop());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(budget.0.book().clients.len() <= MAX_IDLE);
    }
}
