//! [`Client`]: the sender of a query.

use std::net::SocketAddr;

use crate::wire::reply::Transport;

/// The sender of a query.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Source address.
    pub address: SocketAddr,
    /// Transport of the query.
    pub transport: Transport,
    /// True for namegate itself: canaries and `namegate prove`. Such queries are counted apart, and left out of logs,
    /// lists and limits of clients.
    pub is_own: bool,
}
