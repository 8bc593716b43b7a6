//! [`Connections`]: the open TCP connections by client, and which one closes when another client needs its slot.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use strum::VariantArray;
use tokio_util::sync::CancellationToken;

use crate::policy::clients::WholeClient;
use crate::util::sync::lock;

/// If fewer than a quarter of all slots are free, connections of clients that hold their share get a shorter idle
/// timeout.
const ROOMY: usize = 4;

/// Clients outside `allow_clients` together get at most an eighth of all slots: enough to send them REFUSED.
const OUTSIDE_PART: usize = 8;

/// The shortened idle timeout: a tenth.
const HURRY: u32 = 10;

/// Slots for connections. If all slots are taken, a new connection replaces one of the client with the most
/// connections.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_client: usize,
    open: Mutex<Open>,
    refused: [AtomicU64; RefusedConnection::VARIANTS.len()],
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    strangers: usize,
    clients: HashMap<WholeClient, Vec<Arc<Activity>>>,
}

/// Why a connection was refused; the label `reason` of `tcp_connections_refused_total`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray, strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum RefusedConnection {
    /// All slots are taken.
    Total,
    /// The client holds as many connections as one client may.
    Client,
    /// The client is outside `allow_clients`, and the slots for all such clients are taken, or `other_clients` is `"drop"`.
    #[strum(serialize = "not_allowed")]
    Stranger,
}

/// The activity of one connection.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    /// Microseconds from `opened` to the last answered query.
    answered: AtomicU64,
    in_flight: AtomicUsize,
    is_stranger: bool,
    evicted: CancellationToken,
}

impl Activity {
    fn new(is_stranger: bool, now: Instant) -> Self {
        Self {
            opened: now,
            answered: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            is_stranger,
            evicted: CancellationToken::new(),
        }
    }

    /// Restarts the idle time: a query was answered.
    pub fn answered(&self, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_micros() as u64;
        self.answered.fetch_max(since, Ordering::Relaxed);
    }

    /// Marks a query as in flight until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> ConnectionQuery {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        ConnectionQuery(Arc::clone(self))
    }

    /// When the connection became idle; `None` while a query is in flight.
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight.load(Ordering::Relaxed) == 0).then(|| self.last_answer())
    }

    fn last_answer(&self) -> Instant {
        self.opened + Duration::from_micros(self.answered.load(Ordering::Relaxed))
    }

    /// Completes when another client takes this connection's slot.
    pub async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

/// Guard of a query in flight.
#[derive(Debug)]
pub struct ConnectionQuery(Arc<Activity>);

impl ConnectionQuery {
    /// The connection of the query.
    pub fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for ConnectionQuery {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's slot, released on drop.
#[derive(Debug)]
pub struct ConnectionPermit {
    connections: Arc<Connections>,
    client: WholeClient,
    activity: Arc<Activity>,
}

impl ConnectionPermit {
    /// The connection's activity.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    /// The idle timeout of this connection: normally `idle`; less if slots run low and its client holds its share.
    pub fn patience(&self, idle: Duration) -> Duration {
        let Connections { most, open, .. } = &*self.connections;
        let open = lock(open);
        let is_roomy = (most - open.total.min(*most)) * ROOMY >= *most;
        let of_client = open.clients.get(&self.client).map_or(0, Vec::len);
        if is_roomy || of_client * open.clients.len() < *most { idle } else { idle / HURRY }
    }
}

impl Connections {
    /// At most `most` connections in total and `most_per_client` per client.
    pub fn new(most: usize, most_per_client: usize) -> Self {
        Self {
            most,
            most_per_client,
            open: Mutex::default(),
            refused: Default::default(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes a slot for a connection of `client`. `is_stranger` marks clients outside `allow_clients`.
    pub fn admit(
        self: &Arc<Self>,
        client: WholeClient,
        is_stranger: bool,
        now: Instant,
    ) -> Result<ConnectionPermit, RefusedConnection> {
        let mut open = self.open();
        let of_client = open.clients.get(&client).map_or(0, Vec::len);
        if of_client >= self.most_per_client {
            return Err(self.refuse(RefusedConnection::Client));
        }
        if is_stranger && open.strangers >= (self.most / OUTSIDE_PART).max(1) {
            return Err(self.refuse(RefusedConnection::Stranger));
        }
        if open.total >= self.most {
            if is_stranger || !open.evict_for(of_client) {
                return Err(self.refuse(RefusedConnection::Total));
            }
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let activity = Arc::new(Activity::new(is_stranger, now));
        open.total += 1;
        open.strangers += usize::from(is_stranger);
        open.clients.entry(client).or_default().push(Arc::clone(&activity));
        Ok(ConnectionPermit { connections: Arc::clone(self), client, activity })
    }

    /// Counts a refused connection and returns `reason`.
    pub fn refuse(&self, reason: RefusedConnection) -> RefusedConnection {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        reason
    }

    /// Open connections.
    pub fn len(&self) -> usize {
        self.open().total
    }

    /// True if no connection is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections refused so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (RefusedConnection, u64)> {
        RefusedConnection::VARIANTS
            .iter()
            .copied()
            .zip(&self.refused)
            .map(|(why, count)| (why, count.load(Ordering::Relaxed)))
    }

    /// Connections closed so far because another client needed their slot.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.open)
    }
}

impl Open {
    /// Closes a connection of the client with the most, for a client with `of_client` connections; false if no
    /// connection may be closed for it.
    ///
    /// Closes the connection that was idle longest; a busy one only if none is idle. Afterwards the client that lost it
    /// must still have at least as many connections as the other, or the two would evict each other forever. Exception:
    /// a client with no connection can take an idle one.
    fn evict_for(&mut self, of_client: usize) -> bool {
        let most = self.clients.values().map(Vec::len).max().unwrap_or(0);
        if most <= of_client + usize::from(of_client > 0) {
            return false;
        }
        let held = self.clients.iter().filter(|(_, held)| held.len() == most);
        let all = held.flat_map(|(client, held)| held.iter().map(|activity| (*client, activity)));
        let rank = |activity: &Activity| (activity.idle_since().is_some(), Reverse(activity.last_answer()));
        let Some((client, activity)) = all.max_by_key(|(_, activity)| rank(activity)) else { return false };
        if activity.idle_since().is_none() && most <= of_client + 1 {
            return false;
        }
        activity.evicted.cancel();
        let activity = Arc::clone(activity);
        self.forget(client, &activity);
        true
    }

    /// Releases the slot of a connection, unless another one already has it.
    fn forget(&mut self, client: WholeClient, activity: &Arc<Activity>) {
        let Some(held) = self.clients.get_mut(&client) else { return };
        let Some(index) = held.iter().position(|one| Arc::ptr_eq(one, activity)) else { return };
        held.swap_remove(index);
        if held.is_empty() {
            self.clients.remove(&client);
        }
        self.total -= 1;
        self.strangers -= usize::from(activity.is_stranger);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.connections.open().forget(self.client, &self.activity);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::clients::ClientPrefix;

    fn client(text: &str) -> WholeClient {
        ClientPrefix::default().whole(text.parse().unwrap())
    }

    fn admit(
        connections: &Arc<Connections>,
        from: &str,
        count: usize,
        now: Instant,
    ) -> Vec<ConnectionPermit> {
        (0..count).map(|_| connections.admit(client(from), false, now).unwrap()).collect()
    }

    fn is_evicted(permit: &ConnectionPermit) -> bool {
        permit.activity.evicted.is_cancelled()
    }

    #[test]
    fn slots_are_limited_per_client_and_in_total() {
        let (connections, now) = (Arc::new(Connections::new(4, 2)), Instant::now());
        let admit = |from: &str| connections.admit(client(from), false, now);
        let first = admit("10.0.0.1").unwrap();
        let _second = admit("::ffff:10.0.0.1").unwrap();
        assert_eq!(admit("10.0.0.1").unwrap_err(), RefusedConnection::Client);
        let others = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert_eq!(admit("2001:db8::3").unwrap_err(), RefusedConnection::Client, "a /64 is one client");
        assert_eq!(connections.len(), 4);
        drop(first);
        assert!(admit("10.0.0.1").is_ok());
        drop(others);
        let refused: Vec<u64> = connections.refused().map(|(_, count)| count).collect();
        assert_eq!(refused, [0, 2, 0]);
        assert_eq!(connections.open().clients.len(), 1, "departed clients are forgotten");
    }

    #[test]
    fn largest_client_loses_its_longest_idle_connection() {
        let (connections, start) = (Arc::new(Connections::new(6, 6)), Instant::now());
        let greedy = admit(&connections, "10.0.0.1", 4, start);
        let modest = admit(&connections, "10.0.0.2", 2, start);
        let at = |second| start + Duration::from_secs(second);
        greedy.iter().zip([4, 2, 1, 3]).for_each(|(permit, second)| permit.activity.answered(at(second)));
        let _in_flight = greedy[2].activity.begin();
        let _late = connections.admit(client("10.0.0.3"), false, at(5)).unwrap();
        assert_eq!(greedy.iter().map(is_evicted).collect::<Vec<_>>(), [false, true, false, false]);
        assert_eq!((connections.len(), connections.evicted()), (6, 1));
        let _later = connections.admit(client("10.0.0.3"), false, at(5)).unwrap();
        assert_eq!(greedy.iter().map(is_evicted).collect::<Vec<_>>(), [false, true, false, true]);
        // All clients now hold two connections.
        for equal in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(connections.admit(client(equal), false, at(5)).unwrap_err(), RefusedConnection::Total);
        }
        drop(greedy);
        assert_eq!(connections.len(), 4, "what was evicted is not freed twice");
        assert!(!modest.iter().any(is_evicted));
    }

    #[test]
    fn equal_clients_do_not_evict_each_other() {
        let (connections, now) = (Arc::new(Connections::new(3, 3)), Instant::now());
        let greedy = admit(&connections, "10.0.0.1", 3, now);
        let busy: Vec<ConnectionQuery> = greedy.iter().map(|permit| permit.activity.begin()).collect();
        let one = connections.admit(client("10.0.0.2"), false, now).unwrap();
        drop(busy);
        assert_eq!(connections.admit(client("10.0.0.2"), false, now).unwrap_err(), RefusedConnection::Total);
        assert!(!is_evicted(&one) && greedy.iter().filter(|permit| is_evicted(permit)).count() == 1);
    }

    #[test]
    fn a_client_without_a_connection_gets_an_idle_one() {
        let (connections, start) = (Arc::new(Connections::new(2, 2)), Instant::now());
        let first = connections.admit(client("10.0.0.1"), false, start).unwrap();
        let second = connections.admit(client("10.0.0.2"), false, start).unwrap();
        second.activity.answered(start + Duration::from_secs(1));
        let busy = first.activity.begin();
        let third = connections.admit(client("10.0.0.3"), false, start).unwrap();
        assert!(is_evicted(&second) && !is_evicted(&first));
        let _busy = [busy, third.activity.begin()];
        assert_eq!(
            connections.admit(client("10.0.0.4"), false, start).unwrap_err(),
            RefusedConnection::Total
        );
    }

    #[test]
    fn clients_outside_allow_clients_get_an_eighth() {
        let (connections, now) = (Arc::new(Connections::new(16, 16)), Instant::now());
        let stranger = |from: &str| connections.admit(client(from), true, now);
        let held = ["10.0.0.1", "10.0.0.2"].map(|from| stranger(from).unwrap());
        assert_eq!(stranger("10.0.0.3").unwrap_err(), RefusedConnection::Stranger);
        let _others = admit(&connections, "10.0.0.9", 14, now);
        drop(held);
        let _filled = [stranger("10.0.0.3").unwrap(), stranger("10.0.0.3").unwrap()];
        assert_eq!(stranger("10.0.0.4").unwrap_err(), RefusedConnection::Stranger);
        assert!(Arc::new(Connections::new(1, 1)).admit(client("10.0.0.3"), true, now).is_ok());
        let full = Arc::new(Connections::new(16, 16));
        let _all = admit(&full, "10.0.0.9", 16, now);
        assert_eq!(full.admit(client("10.0.0.3"), true, now).unwrap_err(), RefusedConnection::Total);
    }

    #[test]
    fn idle_timeout_is_short_when_slots_run_low() {
        let (connections, now) = (Arc::new(Connections::new(8, 8)), Instant::now());
        let (ten, one) = (Duration::from_secs(10), Duration::from_secs(1));
        let mut greedy = admit(&connections, "10.0.0.1", 5, now);
        let modest = admit(&connections, "10.0.0.2", 1, now);
        assert_eq!((greedy[0].patience(ten), modest[0].patience(ten)), (ten, ten));
        greedy.extend(admit(&connections, "10.0.0.1", 1, now));
        assert_eq!((greedy[0].patience(ten), modest[0].patience(ten)), (one, ten));
        greedy.truncate(5);
        assert_eq!(greedy[0].patience(ten), ten);
    }
}
