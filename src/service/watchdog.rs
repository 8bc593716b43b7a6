//! [`Watchdog`]: tells the service manager that the gate works, and only while it does.
//!
//! The threads that every query needs go round their loops at least once a second, traffic or not, and leave a beat each
//! time. A thread that hangs, spins or has ended leaves none; then the service manager hears nothing, and starts the gate
//! anew. The task that listens to the beats shows by running that the runtime works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::reply_socket::ReplySocket;
use crate::service::notify;
use crate::util::heartbeat::{AT_REST, Health, Heartbeat};

/// Longest time between two beats: five rounds of the slowest loop, for a machine that has other things to do.
const STALL: Duration = Duration::from_secs(5);

/// The same for a thread that no query needs, and that waits for disks.
const PATIENT_STALL: Duration = Duration::from_secs(30);

/// Longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Messages within the service manager's patience: systemd asks for two (sd_watchdog_enabled(3)); a lost one does no harm.
const MESSAGES: u32 = 3;

/// Listens to the beats of threads, and looks whether replies can be sent.
#[derive(Debug, Default)]
pub struct Watchdog {
    pulses: Vec<Pulse>,
    senders: Vec<Sender>,
    health: Health,
}

/// A worker's sockets, and since when none of them can send.
#[derive(Debug)]
struct Sender {
    worker: String,
    socket: Arc<ReplySocket>,
    /// Replies it had dropped when it was last looked at.
    drops: u64,
    full_since: Option<Instant>,
}

#[derive(Debug)]
struct Pulse {
    thread: String,
    heartbeat: Heartbeat,
    /// Longest time between two beats.
    stall: Duration,
    /// Queries need it: where it hangs, the service manager is to start the gate anew.
    is_vital: bool,
    /// Beats when it was last looked at, and since when there have been so many.
    last: Option<(u64, Instant)>,
}

impl Watchdog {
    /// A heart for the thread called `thread`, which every query needs.
    pub fn listen_to(&mut self, thread: &str) -> Heartbeat {
        self.listen(thread, STALL, true)
    }

    /// A heart for the thread called `thread`, without which queries are still answered.
    pub fn listen_to_patiently(&mut self, thread: &str) -> Heartbeat {
        self.listen(thread, PATIENT_STALL, false)
    }

    fn listen(&mut self, thread: &str, stall: Duration, is_vital: bool) -> Heartbeat {
        let (thread, heartbeat) = (thread.to_owned(), Heartbeat::default());
        self.pulses.push(Pulse { thread, heartbeat: heartbeat.clone(), stall, is_vital, last: None });
        heartbeat
    }

    /// Watches whether replies of `worker` can leave through `socket`.
    pub fn watch_sender(&mut self, worker: &str, socket: &Arc<ReplySocket>) {
        let (worker, socket) = (worker.to_owned(), Arc::clone(socket));
        self.senders.push(Sender { worker, socket, drops: 0, full_since: None });
    }

    /// What it finds, kept up to date while it runs.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Looks again and again, and tells the service manager that the gate works, as often as that wants to hear it; not at
    /// all where a thread hangs. That replies cannot be sent is no reason to start anew.
    pub async fn run(mut self) {
        let patience = sd_notify::watchdog_enabled();
        let interval = patience.map_or(LOOK_EVERY, |patience| (patience / MESSAGES).min(LOOK_EVERY));
        let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
        let mut told = false;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let stalled = self.stalled(now);
            if patience.is_some() && stalled.is_none_or(|pulse| !pulse.is_vital) {
                notify::alive();
            }
            let stalled = stalled.map(|pulse| format!("the thread {} makes no progress", pulse.thread));
            let fault = stalled.or_else(|| self.unable_to_send(now));
            if let Some(fault) = fault.as_ref().filter(|_| !told) {
                tracing::error!("not ready: {fault}");
            }
            told = fault.is_some();
            self.health.set(fault);
        }
    }

    /// A worker none of whose replies could be sent for too long.
    fn unable_to_send(&mut self, now: Instant) -> Option<String> {
        for sender in &mut self.senders {
            let drops = sender.socket.drops().map(|(_, count)| count).sum();
            let is_dropping = std::mem::replace(&mut sender.drops, drops) != drops;
            sender.full_since = match is_dropping && !sender.socket.can_send() {
                true => Some(sender.full_since.unwrap_or(now)),
                false => None,
            };
        }
        let is_stuck = |sender: &&Sender| {
            sender.full_since.is_some_and(|since| now.saturating_duration_since(since) >= STALL)
        };
        let stuck = self.senders.iter().find(is_stuck)?;
        Some(format!("the worker {} cannot send: all its send buffers are full", stuck.worker))
    }

    /// A thread that has left no beat for too long; one that queries need, if there is one.
    fn stalled(&mut self, now: Instant) -> Option<&Pulse> {
        for pulse in &mut self.pulses {
            let count = pulse.heartbeat.count();
            if pulse.last.is_none_or(|(last, _)| last != count) {
                pulse.last = Some((count, now));
            }
        }
        let is_stalled = |pulse: &&Pulse| {
            let stalled =
                |(last, since)| last != AT_REST && now.saturating_duration_since(since) >= pulse.stall;
            pulse.last.is_some_and(stalled)
        };
        self.pulses.iter().filter(is_stalled).max_by_key(|pulse| pulse.is_vital)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(watchdog: &mut Watchdog, now: Instant) -> Option<&str> {
        watchdog.stalled(now).map(|pulse| &*pulse.thread)
    }

    #[test]
    fn a_thread_that_leaves_no_beat_is_found() {
        let mut watchdog = Watchdog::default();
        let (worker, relay) = (watchdog.listen_to("udp-0"), watchdog.listen_to("relay"));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for second in 0..10 {
            worker.beat();
            relay.beat();
            assert_eq!(stalled(&mut watchdog, at(second)), None, "both beat, second {second}");
        }
        for second in 10..14 {
            worker.beat();
            assert_eq!(stalled(&mut watchdog, at(second)), None, "the relay has its time, second {second}");
        }
        worker.beat();
        assert_eq!(stalled(&mut watchdog, at(14)), Some("relay"));
        relay.beat();
        assert_eq!(stalled(&mut watchdog, at(15)), None, "it beats again");
    }

    #[test]
    fn a_thread_that_has_done_its_work_is_not_missed() {
        let mut watchdog = Watchdog::default();
        let worker = watchdog.listen_to("udp-0");
        let start = Instant::now();
        worker.beat();
        assert_eq!(stalled(&mut watchdog, start), None);
        worker.rest();
        assert_eq!(stalled(&mut watchdog, start), None);
        assert_eq!(stalled(&mut watchdog, start + STALL * 10), None);
    }

    #[test]
    fn a_thread_that_no_query_needs_has_longer() {
        let mut watchdog = Watchdog::default();
        let (_reload, worker) = (watchdog.listen_to_patiently("reload"), watchdog.listen_to("udp-0"));
        let start = Instant::now();
        assert_eq!(stalled(&mut watchdog, start), None);
        worker.beat();
        assert_eq!(stalled(&mut watchdog, start + PATIENT_STALL - STALL), None);
        assert_eq!(
            stalled(&mut watchdog, start + PATIENT_STALL),
            Some("udp-0"),
            "what queries need comes first"
        );
        worker.beat();
        assert_eq!(stalled(&mut watchdog, start + PATIENT_STALL), Some("reload"));
    }

    #[test]
    fn a_thread_that_never_began_is_found() {
        let mut watchdog = Watchdog::default();
        let _never = watchdog.listen_to("udp-0");
        let start = Instant::now();
        assert_eq!(stalled(&mut watchdog, start), None);
        assert_eq!(stalled(&mut watchdog, start + STALL), Some("udp-0"));
    }
}
