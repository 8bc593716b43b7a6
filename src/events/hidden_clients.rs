//! [`HiddenClients`]: clients that are not logged, because they are the resolver itself.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Sockets from which namegate queries itself. Their lookups count in the metrics, but do not appear in the query log,
/// dnstap and the most blocked names, which show the lookups of clients.
///
/// Only the event log reads it, off the packet path.
#[derive(Debug, Default)]
pub struct HiddenClients {
    clients: ArcSwap<Vec<SocketAddr>>,
}

impl HiddenClients {
    /// Hides lookups from `client` from now on. Call this after binding the socket and before using it.
    pub fn add(&self, client: SocketAddr) {
        self.clients.rcu(|clients| {
            let mut clients = Vec::clone(clients);
            clients.push(client);
            clients
        });
    }

    /// Hides no client. Call this before closing the sockets, because others may get their ports.
    pub fn clear(&self) {
        self.clients.store(Arc::default());
    }

    /// The current clients.
    pub fn clients(&self) -> Arc<Vec<SocketAddr>> {
        self.clients.load_full()
    }
}
