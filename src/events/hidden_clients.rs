//! [`HiddenClients`]: clients left out of logs, because they are the resolver itself.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Sockets from which namegate queries itself. Their lookups count in all other metrics, but are left out of the query
/// log, dnstap and the most blocked names, which show the lookups of others.
///
/// Only the event log reads it, off the packet path.
#[derive(Debug, Default)]
pub struct HiddenClients {
    clients: ArcSwap<Vec<SocketAddr>>,
}

impl HiddenClients {
    /// Leaves out lookups from `client` from now on. Call this after binding the socket and before using it.
    pub fn add(&self, client: SocketAddr) {
        self.clients.rcu(|clients| {
            let mut clients = Vec::clone(clients);
            clients.push(client);
            clients
        });
    }

    /// Leaves out nobody. Call this before closing the sockets, because others may get their ports.
    pub fn clear(&self) {
        self.clients.store(Arc::default());
    }

    /// The current clients.
    pub fn clients(&self) -> Arc<Vec<SocketAddr>> {
        self.clients.load_full()
    }
}
