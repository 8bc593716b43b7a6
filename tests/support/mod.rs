//! Support for black-box tests: a namegate process, a scripted upstream, a client that sends any bytes, and readable
//! views of what each received.
//!
//! ```text
//!     client ── bytes ──▶ namegate (real binary) ── bytes ──▶ upstream (scripted, records all it receives)
//!        ◀── Message ──┘      │ stdout, stderr, /metrics  ◀── Script ──┘
//! ```
//! Every address is on loopback with a port chosen by the system.

pub(crate) mod authority;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod code;
pub(crate) mod command;
pub(crate) mod encrypted;
pub(crate) mod forge;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod name;
pub(crate) mod namespaces;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod query;
pub(crate) mod random;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod response;
pub(crate) mod script;
pub(crate) mod settings;
pub(crate) mod truth;
pub(crate) mod upstream;

pub(crate) use client::{TcpClient, UdpClient};
pub(crate) use gate::Gate;
pub(crate) use message::Message;
pub(crate) use query::{Edns, Query};
pub(crate) use record::Record;
pub(crate) use response::Response;
pub(crate) use script::Script;
pub(crate) use upstream::ScriptedUpstream;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// Timeout for something that must happen; never reached if all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Calls `probe` until it returns a value; fails with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "timed out after {PATIENCE:?} waiting for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs each case in its own thread, for cases that mostly wait; fails with the first that fails.
pub(crate) fn beside<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    let case = &case;
    std::thread::scope(|scope| cases.into_iter().for_each(|each| drop(scope.spawn(move || case(each)))));
}

/// A loopback address for another program, free over UDP and TCP. The port is below the range from which the system
/// chooses (ip(7), `ip_local_port_range`), so no other socket takes it.
pub(crate) fn free_address() -> SocketAddr {
    eventually("a free port", || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(10_000..32_768)));
        let is_free = UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
        is_free.then_some(address)
    })
}
