//! [`Watchdog`]: notifies the service manager as long as namegate works.
//!
//! The threads that every query needs pass through their loops at least once a second, with or without traffic, and
//! beat each time. A thread that hangs, spins or has panicked does not beat. Then the notifications stop, and the service
//! manager restarts namegate. The watchdog is a task of the runtime, so its notifications also show that the runtime
//! works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::reply_socket::ReplySocket;
use crate::service::notify;
use crate::util::heartbeat::{AT_REST, Health, Heartbeat};
use crate::util::log_event::log;

/// Longest time between two beats: five passes of the slowest loop, to allow for a busy machine.
const STALL: Duration = Duration::from_secs(5);

/// The same for a thread that queries do not need and that waits for disks.
const PATIENT_STALL: Duration = Duration::from_secs(30);

/// Longest interval between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Notifications per watchdog timeout: systemd asks for two (sd_watchdog_enabled(3)); with three, one may be lost.
const MESSAGES: u32 = 3;

/// Monitors the heartbeats of threads, and whether replies can be sent.
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
    /// Dropped replies at the last check.
    drops: u64,
    full_since: Option<Instant>,
}

#[derive(Debug)]
struct Pulse {
    thread: String,
    heartbeat: Heartbeat,
    /// Longest time between two beats.
    stall: Duration,
    /// True if queries need the thread: if it hangs, the service manager restarts namegate.
    is_vital: bool,
    /// The last change of the beat count, and when it was seen.
    last: Option<(u64, Instant)>,
}

impl Watchdog {
    /// A heartbeat for the thread `thread`, which every query needs.
    pub fn listen_to(&mut self, thread: &str) -> Heartbeat {
        self.listen(thread, STALL, true)
    }

    /// A heartbeat for the thread `thread`, which queries do not need.
    pub fn listen_to_patiently(&mut self, thread: &str) -> Heartbeat {
        self.listen(thread, PATIENT_STALL, false)
    }

    fn listen(&mut self, thread: &str, stall: Duration, is_vital: bool) -> Heartbeat {
        let (thread, heartbeat) = (thread.to_owned(), Heartbeat::default());
        self.pulses.push(Pulse { thread, heartbeat: heartbeat.clone(), stall, is_vital, last: None });
        heartbeat
    }

    /// Monitors whether `worker` can send replies through `socket`.
    pub fn watch_sender(&mut self, worker: &str, socket: &Arc<ReplySocket>) {
        let (worker, socket) = (worker.to_owned(), Arc::clone(socket));
        self.senders.push(Sender { worker, socket, drops: 0, full_since: None });
    }

    /// Its current finding, updated while it runs.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Checks repeatedly, and notifies the service manager as often as it requires; not at all while a vital thread
    /// hangs. Blocked replies do not stop the notifications.
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
            let stalled = stalled.map(|pulse| format!("thread {} makes no progress", pulse.thread));
            let fault = stalled.or_else(|| self.unable_to_send(now));
            if let Some(fault) = fault.as_ref().filter(|_| !told) {
                log!(NotReady, "not ready: {fault}");
            }
            told = fault.is_some();
            self.health.set(fault);
        }
    }

    /// Names a worker that has been unable to send for too long.
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
        Some(format!("worker {} cannot send: all its send buffers are full", stuck.worker))
    }

    /// A thread without a beat for too long; preferably one that queries need.
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
    fn thread_without_a_beat_is_found() {
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
            assert_eq!(
                stalled(&mut watchdog, at(second)),
                None,
                "the relay is within its limit, second {second}"
            );
        }
        worker.beat();
        assert_eq!(stalled(&mut watchdog, at(14)), Some("relay"));
        relay.beat();
        assert_eq!(stalled(&mut watchdog, at(15)), None, "it beats again");
    }

    #[test]
    fn finished_thread_is_not_reported() {
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
    fn thread_not_needed_for_queries_has_more_time() {
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
    fn thread_that_never_started_is_found() {
        let mut watchdog = Watchdog::default();
        let _never = watchdog.listen_to("udp-0");
        let start = Instant::now();
        assert_eq!(stalled(&mut watchdog, start), None);
        assert_eq!(stalled(&mut watchdog, start + STALL), Some("udp-0"));
    }
}
