//! [`Budget`]: limits how many queries one upstream gets, at once and per second, and divides them among clients.
//!
//! A client gets a slot only if it holds no more slots than are free, and has recently used no more of the rate than is
//! left. A client alone gets about half of the slots and the whole rate, so another client usually finds a free slot.
//! Queries without a slot wait in a queue in which clients take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rapidhash::fast::RandomState;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::policy::clients::ShareHolder;
use crate::util::sync::lock;

/// Maximum queries waiting for one upstream, and maximum clients waiting for one pending query. At 180 in flight and
/// 10 ms per query, the last of 1,000 waits 60 ms; with a slow upstream, a longer queue would only time out.
/// The limit also keeps clients that wait for one unanswered name from using up `server.in_flight`, the limit on all
/// waiting queries.
pub const MAX_WAITING: usize = 1000;

/// Burst above the steady rate, as time: 90 queries at 900 a second, which together stay below Azure's 1,000 a second.
const BURST: Duration = Duration::from_millis(100);

/// Decay time of a client's recent use: after it, 37 % still counts. Half of [`BURST`], so a client alone at full rate
/// leaves half of the burst.
const MEMORY: Duration = Duration::from_millis(50);

/// Time that must be left when a query is sent. With less, the answer would come too late.
const USEFUL: Duration = Duration::from_millis(100);

/// Interval at which the wait queue is served, for tokens that time adds.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A further attempt for a query needs this many times as many free slots as its client holds.
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
    state: Mutex<BudgetState>,
}

/// The current use, by client.
#[derive(Debug)]
struct BudgetState {
    in_flight: usize,
    /// Tokens at the time `filled`: queries that may be sent immediately.
    tokens: f64,
    filled: Instant,
    clients: HashMap<ShareHolder, Share, RandomState>,
    /// Clients with waiting queries, in turn order.
    wait_queue: VecDeque<ShareHolder>,
    waiting: usize,
    serial: u64,
    /// True while a task serves the wait queue.
    has_queue_task: bool,
}

/// The use of one client.
#[derive(Debug)]
struct Share {
    in_flight: usize,
    /// Recent use at the time `at`: queries sent, decaying with [`MEMORY`].
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
            let mut state = shared.state();
            state.release(self.client);
            shared.serve_queue(&mut state, Instant::now());
        }
    }
}

impl Budget {
    /// At most `max_in_flight` at once and `max_qps` a second; a `max_qps` of 0 means no limit.
    pub fn new(max_in_flight: usize, max_qps: u32) -> Self {
        let rate = f64::from(max_qps);
        let state = BudgetState {
            in_flight: 0,
            tokens: burst(rate),
            filled: Instant::now(),
            clients: HashMap::default(),
            wait_queue: VecDeque::new(),
            waiting: 0,
            serial: 0,
            has_queue_task: false,
        };
        Self(Arc::new(Shared { max_in_flight, rate, state: Mutex::new(state) }))
    }

    /// Queries in flight.
    pub fn in_flight(&self) -> usize {
        self.0.state().in_flight
    }

    /// True if a query of `client` would get a slot at `now`.
    pub fn has_room(&self, client: ShareHolder, now: Instant) -> bool {
        let mut state = self.0.state();
        self.0.refill(&mut state, now);
        self.0.obstacle(&state, client, Attempt::First, now).is_none()
    }

    /// Queries waiting for a slot.
    pub fn waiting(&self) -> usize {
        self.0.state().waiting
    }

    /// Takes a slot if one is free now and the rate allows it; otherwise takes nothing.
    pub fn try_acquire(
        &self,
        client: ShareHolder,
        attempt: Attempt,
        now: Instant,
        deadline: Instant,
    ) -> Option<Permit> {
        let mut state = self.0.state();
        self.0.refill(&mut state, now);
        if now + USEFUL > deadline || self.0.obstacle(&state, client, attempt, now).is_some() {
            return None;
        }
        Some(self.0.grant(&mut state, client, now))
    }

    /// Waits for a slot and for the rate, at most until `deadline`.
    pub async fn acquire(&self, client: ShareHolder, deadline: Instant) -> Result<Permit, Shed> {
        let now = Instant::now();
        if let Some(permit) = self.try_acquire(client, Attempt::First, now, deadline) {
            return Ok(permit);
        }
        let (waiting, permit) = self.0.enter_queue(client, now)?;
        let last = deadline.checked_sub(USEFUL).unwrap_or(now);
        match timeout_at(last, permit).await {
            Ok(permit) => permit.map_err(|_| Shed::Queue),
            Err(_) => {
                drop(waiting);
                let now = Instant::now();
                let mut state = self.0.state();
                self.0.refill(&mut state, now);
                // If a slot is free now, the rate limit was the reason for the wait.
                Err(self.0.obstacle(&state, client, Attempt::First, now).unwrap_or(Shed::Rate))
            }
        }
    }
}

/// Queries that may be sent together after a pause.
fn burst(rate: f64) -> f64 {
    rate * BURST.as_secs_f64() + 1.0
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, BudgetState> {
        lock(&self.state)
    }

    fn refill(&self, state: &mut BudgetState, now: Instant) {
        let since = now.saturating_duration_since(state.filled);
        if !since.is_zero() {
            state.tokens = (state.tokens + since.as_secs_f64() * self.rate).min(burst(self.rate));
            state.filled = now;
        }
    }

    /// What prevents sending a query of `client` at `now`.
    fn obstacle(
        &self,
        state: &BudgetState,
        client: ShareHolder,
        attempt: Attempt,
        now: Instant,
    ) -> Option<Shed> {
        let part = match attempt {
            Attempt::First => 1,
            Attempt::Further => FURTHER,
        };
        let share = state.clients.get(&client);
        let free = self.max_in_flight.saturating_sub(state.in_flight);
        if free < part || share.map_or(0, |share| share.in_flight) * part > free {
            return Some(Shed::InFlight);
        }
        if self.rate == 0.0 {
            return None;
        }
        let used = share.map_or(0.0, |share| share.used_at(now));
        (state.tokens < 1.0 || used * part as f64 > state.tokens).then_some(Shed::Rate)
    }

    /// Takes a slot for `client`, which must be allowed to have it.
    fn grant(self: &Arc<Self>, state: &mut BudgetState, client: ShareHolder, now: Instant) -> Permit {
        if self.rate > 0.0 {
            state.tokens -= 1.0;
        }
        state.in_flight += 1;
        let share = state.share(client, now);
        share.used = share.used_at(now) + 1.0;
        share.at = now;
        share.in_flight += 1;
        Permit { shared: Some(Arc::clone(self)), client }
    }

    /// Adds a query of `client` to the queue. A full queue drops the newest query of the client with the most queries,
    /// or rejects this one.
    fn enter_queue(
        self: &Arc<Self>,
        client: ShareHolder,
        now: Instant,
    ) -> Result<(Waiting<'_>, oneshot::Receiver<Permit>), Shed> {
        let mut state = self.state();
        if state.waiting >= MAX_WAITING && !state.make_room(client) {
            return Err(Shed::Queue);
        }
        let (sender, permit) = oneshot::channel();
        state.serial += 1;
        let serial = state.serial;
        let share = state.share(client, now);
        share.waiting.push_back((serial, sender));
        if share.waiting.len() == 1 {
            state.wait_queue.push_back(client);
        }
        state.waiting += 1;
        if !std::mem::replace(&mut state.has_queue_task, true) {
            tokio::spawn(Arc::clone(self).drive());
        }
        Ok((Waiting { shared: self, client, serial }, permit))
    }

    /// Gives slots to waiting queries while slots are free. Clients take turns; a client at its limit is skipped.
    fn serve_queue(self: &Arc<Self>, state: &mut BudgetState, now: Instant) {
        self.refill(state, now);
        let mut skipped = 0;
        while skipped < state.wait_queue.len() && self.max_in_flight > state.in_flight {
            let Some(client) = state.wait_queue.pop_front() else { return };
            if self.obstacle(state, client, Attempt::First, now).is_some() {
                state.wait_queue.push_back(client);
                skipped += 1;
                continue;
            }
            let Some(share) = state.clients.get_mut(&client) else { continue };
            let Some((_, waiter)) = share.waiting.pop_front() else { continue };
            if !share.waiting.is_empty() {
                state.wait_queue.push_back(client);
            }
            state.waiting -= 1;
            skipped = 0;
            let permit = self.grant(state, client, now);
            if let Err(mut permit) = waiter.send(permit) {
                permit.shared = None;
                state.release(client);
            }
        }
    }

    /// Serves the wait queue every [`LOOK_EVERY`] until it is empty.
    async fn drive(self: Arc<Self>) {
        loop {
            sleep_until(Instant::now() + LOOK_EVERY).await;
            let mut state = self.state();
            self.serve_queue(&mut state, Instant::now());
            if state.wait_queue.is_empty() {
                state.has_queue_task = false;
                return;
            }
        }
    }
}

impl BudgetState {
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

    /// Drops the newest waiting query of the client with the most; false if `client` already has its share.
    fn make_room(&mut self, client: ShareHolder) -> bool {
        let waiting = |share: &Share| share.waiting.len();
        let own = self.clients.get(&client).map_or(0, waiting);
        if (own + 1) * self.wait_queue.len().max(1) > MAX_WAITING {
            return false;
        }
        let Some(share) = self.clients.values_mut().max_by_key(|share| waiting(share)) else { return false };
        if share.waiting.len() <= own + 1 {
            return false;
        }
        // Dropping the sender ends that query's wait. The client has at least one more query, so it stays in the queue.
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
        let mut state = self.shared.state();
        let Some(share) = state.clients.get_mut(&self.client) else { return };
        let Ok(place) = share.waiting.binary_search_by_key(&self.serial, |(serial, _)| *serial) else {
            return;
        };
        share.waiting.remove(place);
        let is_out = share.waiting.is_empty();
        state.waiting -= 1;
        if is_out {
            let client = self.client;
            state.wait_queue.retain(|other| *other != client);
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
    async fn wait_queue_is_fair_between_clients() {
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
        assert_eq!((budget.in_flight(), budget.0.state().waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn full_queue_drops_from_the_largest_client() {
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
        let state = budget.0.state();
        assert_eq!((state.waiting, state.wait_queue.len()), (0, 0));
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
        assert!(budget.0.state().clients.len() <= MAX_IDLE);
    }
}
