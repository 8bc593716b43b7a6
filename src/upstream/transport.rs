//! [`ServerTransport`]: the transport to one server.

use std::net::SocketAddr;
use std::sync::Arc;

use super::encrypted::EncryptedServer;
use super::encrypted::encryption::Encryption;
use super::{Exchange, ExchangeError, UpstreamQuery, tcp, udp};
use crate::address::upstream::UpstreamAddress;
use crate::upstream::server_stats::ServerStats;
use crate::wire::answer::Answer;

/// The transport to one server.
#[derive(Debug)]
pub(super) enum ServerTransport {
    /// UDP first, TCP if an answer does not fit.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
    /// TLS, HTTPS or QUIC only.
    Encrypted(EncryptedServer),
}

impl ServerTransport {
    /// The transport to `address`. `None` for [`UpstreamAddress::System`], which stands for other servers, and for an
    /// encrypted server without `encryption`.
    pub(super) fn new(address: &UpstreamAddress, encryption: Option<&Arc<Encryption>>) -> Option<Self> {
        match address {
            UpstreamAddress::System => None,
            UpstreamAddress::Udp(socket) => Some(Self::Udp(*socket)),
            UpstreamAddress::Tcp(socket) => Some(Self::Tcp(*socket)),
            UpstreamAddress::Encrypted(address) => encryption
                .map(|encryption| Self::Encrypted(EncryptedServer::new(address.clone(), encryption))),
        }
    }

    /// Makes one exchange, with an OPT record if `edns` is set.
    pub(super) async fn exchange(
        &self,
        prompt: &UpstreamQuery,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Udp(socket) => match udp::exchange(*socket, prompt, edns, stats).await? {
                Exchange::Answer(answer) => Ok(answer),
                Exchange::RetryOverTcp => tcp::exchange(*socket, prompt, edns, stats).await,
            },
            Self::Tcp(socket) => tcp::exchange(*socket, prompt, edns, stats).await,
            Self::Encrypted(server) => server.exchange(prompt, edns, stats).await,
        }
    }

    /// Repeats over a stream a query that was sent over UDP.
    pub(super) async fn go_on_over_tcp(
        &self,
        prompt: &UpstreamQuery,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Udp(socket) | Self::Tcp(socket) => tcp::exchange(*socket, prompt, edns, stats).await,
            Self::Encrypted(server) => server.exchange(prompt, edns, stats).await,
        }
    }
}
