//! [`ServerTransport`]: how one server is reached.

use std::net::SocketAddr;
use std::sync::Arc;

use super::encrypted::EncryptedServer;
use super::encrypted::encryption::Encryption;
use super::{Exchange, ExchangeError, Prompt, tcp, udp};
use crate::address::upstream::UpstreamAddress;
use crate::upstream::server_stats::ServerStats;
use crate::wire::answer::Answer;

/// How one server is reached.
#[derive(Debug)]
pub(super) enum ServerTransport {
    /// UDP first, TCP where an answer does not fit.
    Udp(SocketAddr),
    /// TCP alone.
    Tcp(SocketAddr),
    /// TLS, HTTPS or QUIC alone.
    Encrypted(EncryptedServer),
}

impl ServerTransport {
    /// The way to `address`; none for [`UpstreamAddress::System`], which stands for others, and none to an encrypted one
    /// where `encryption` is not set up.
    pub(super) fn new(address: &UpstreamAddress, encryption: Option<&Arc<Encryption>>) -> Option<Self> {
        match address {
            UpstreamAddress::System => None,
            UpstreamAddress::Udp(socket) => Some(Self::Udp(*socket)),
            UpstreamAddress::Tcp(socket) => Some(Self::Tcp(*socket)),
            UpstreamAddress::Encrypted(address) => encryption
                .map(|encryption| Self::Encrypted(EncryptedServer::new(address.clone(), encryption))),
        }
    }

    /// Asks once, with an OPT record where `edns` says so.
    pub(super) async fn exchange(
        &self,
        prompt: &Prompt,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Udp(socket) => match udp::exchange(*socket, prompt, edns, stats).await? {
                Exchange::Answer(answer) => Ok(answer),
                Exchange::AskOverTcp => tcp::exchange(*socket, prompt, edns, stats).await,
            },
            Self::Tcp(socket) => tcp::exchange(*socket, prompt, edns, stats).await,
            Self::Encrypted(server) => server.exchange(prompt, edns, stats).await,
        }
    }

    /// Asks once more what was asked over UDP and needs a stream.
    pub(super) async fn go_on_over_tcp(
        &self,
        prompt: &Prompt,
        edns: bool,
        stats: &ServerStats,
    ) -> Result<Answer, ExchangeError> {
        match self {
            Self::Udp(socket) | Self::Tcp(socket) => tcp::exchange(*socket, prompt, edns, stats).await,
            Self::Encrypted(server) => server.exchange(prompt, edns, stats).await,
        }
    }
}
