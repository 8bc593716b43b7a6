//! [`Client`]: who asks.

use std::net::SocketAddr;

use crate::wire::reply::Transport;

/// Where a query came from.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Source address.
    pub address: SocketAddr,
    /// How it came.
    pub transport: Transport,
}
