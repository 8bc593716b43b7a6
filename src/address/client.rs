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
}
