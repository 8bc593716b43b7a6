//! [`Traffic`]: queries of every kind from several clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{Gate, Query};

/// Clients that send queries of every kind until this is dropped.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Starts the clients.
    pub(super) fn start(gate: &Gate) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, udp, mut tcp) = (Arc::clone(&stop), gate.udp(), gate.tcp());
        let thread = std::thread::spawn(move || {
            for round in 0.. {
                for query in queries(round) {
                    udp.ask(&query);
                    tcp.ask(&query);
                }
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "a client failed");
    }
}

/// Names that are cached, new, failing, not listed, denied and noise; common and rare types; another class.
fn queries(round: u32) -> Vec<Query> {
    let mut queries: Vec<Query> = ["A", "AAAA", "HTTPS", "TXT", "TYPE4711"]
        .into_iter()
        .flat_map(|qtype| {
            ["ws.allowed.example", "beacon.evil.example", "x.denied.allowed.example"]
                .map(|name| Query::new(name, qtype).edns())
        })
        .collect();
    queries.push(Query::new(&format!("n{round}.allowed.example"), "A"));
    queries.push(Query::new("broken.allowed.example", "A"));
    queries.push(Query::new("vm-1.abc.internal.cloudapp.net", "A"));
    queries.push(Query::new("wpad", "A"));
    queries.push(Query::of_class("ws.allowed.example", "A", "CH"));
    queries
}
