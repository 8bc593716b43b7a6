//! [`Untold`]: clients that nobody is told of, because they are the gate itself.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Sockets from which the gate asks itself. What comes from them is counted like all else; but it is in no log, not in
/// dnstap, and not among the most blocked names, which are to show what others ask.
///
/// It is read by the event log alone, off the packet path.
#[derive(Debug, Default)]
pub struct Untold {
    clients: ArcSwap<Vec<SocketAddr>>,
}

impl Untold {
    /// Lookups from `client` are not told of from now on: for a socket that is bound, before it is used.
    pub fn add(&self, client: SocketAddr) {
        self.clients.rcu(|clients| {
            let mut clients = Vec::clone(clients);
            clients.push(client);
            clients
        });
    }

    /// Everyone is told of again: before sockets are closed, since others may get their ports.
    pub fn clear(&self) {
        self.clients.store(Arc::default());
    }

    /// The clients now.
    pub fn clients(&self) -> Arc<Vec<SocketAddr>> {
        self.clients.load_full()
    }
}
