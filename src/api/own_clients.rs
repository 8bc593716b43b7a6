//! [`OwnClientsJson`]: request body of `/api/v1/own-clients`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a registration lasts; a longer test renews it.
pub const LEASE: Duration = Duration::from_secs(60);

/// Sockets of `namegate prove`: `POST` registers or renews them, so that their lookups do not count as a client's;
/// `DELETE` withdraws them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnClientsJson {
    /// Address and port of each UDP socket, as the resolver sees them.
    #[serde(default)]
    pub udp: Vec<SocketAddr>,
    /// The same for TCP.
    #[serde(default)]
    pub tcp: Vec<SocketAddr>,
}
