//! [`Addresses`]: the socket addresses of a server; resolves its host name if it has one.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use rustls::pki_types::DnsName;

use crate::address::encrypted::ServerHost;
use crate::util::sync::lock;

/// Addresses tried per host name.
const MAX_ADDRESSES: usize = 4;

/// How long one bootstrap resolver may take to resolve one address type.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The addresses of a server, as of the last resolution.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    found: Mutex<Found>,
}

#[derive(Clone, Debug, Default)]
struct Found {
    sockets: Vec<SocketAddr>,
    /// True after no address worked.
    are_doubtful: bool,
}

impl Addresses {
    /// The addresses of `host`. A name is resolved through the `bootstrap` resolvers, in turn, if it was not resolved
    /// yet or its known addresses are doubtful.
    ///
    /// Errors: no bootstrap resolver resolves the name, and none did before.
    pub(super) async fn of(
        &self,
        host: &ServerHost,
        bootstrap: &[SocketAddr],
    ) -> Result<Vec<SocketAddr>, String> {
        let (name, port) = match host {
            ServerHost::Address(socket) => return Ok(vec![*socket]),
            ServerHost::Name(name, port) => (name, *port),
        };
        let before = self.lock().clone();
        if !before.sockets.is_empty() && !before.are_doubtful {
            return Ok(before.sockets);
        }
        match look_up(name, port, bootstrap).await {
            Ok(sockets) => {
                *self.lock() = Found { sockets: sockets.clone(), are_doubtful: false };
                Ok(sockets)
            }
            Err(_) if !before.sockets.is_empty() => Ok(before.sockets),
            Err(error) => Err(error),
        }
    }

    /// A connection to `socket` worked: the next one is tried there first.
    pub(super) fn works(&self, socket: SocketAddr) {
        let sockets = &mut self.lock().sockets;
        if let Some(place) = sockets.iter().position(|known| *known == socket) {
            sockets[..=place].rotate_right(1);
        }
    }

    /// No connection worked: the name may have moved.
    pub(super) fn doubt(&self) {
        self.lock().are_doubtful = true;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Found> {
        lock(&self.found)
    }
}

/// Resolves `name` through the `bootstrap` resolvers, in turn.
///
/// Errors: none of them resolves it.
pub(crate) async fn look_up(
    name: &DnsName<'_>,
    port: u16,
    bootstrap: &[SocketAddr],
) -> Result<Vec<SocketAddr>, String> {
    let mut reasons = Vec::new();
    for resolver in bootstrap {
        match ask(*resolver, name).await {
            Ok(addresses) => {
                return Ok(addresses
                    .into_iter()
                    .map(|ip| SocketAddr::new(ip, port))
                    .take(MAX_ADDRESSES)
                    .collect());
            }
            Err(error) => reasons.push(format!("{resolver}: {error}")),
        }
    }
    Err(format!("cannot resolve {} through the bootstrap servers ({})", name.as_ref(), reasons.join("; ")))
}

/// Queries one resolver and uses nothing from the system: no hosts file, no search list, no other resolver.
async fn ask(
    resolver: SocketAddr,
    name: &DnsName<'_>,
) -> Result<Vec<std::net::IpAddr>, hickory_resolver::net::NetError> {
    let mut server = NameServerConfig::udp_and_tcp(resolver.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = resolver.port());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::new());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.timeout = TIMEOUT;
    options.attempts = 1;
    let found = builder.build()?.lookup_ip(format!("{}.", name.as_ref())).await?;
    Ok(found.iter().collect())
}
