//! Refusing to ask ourselves.

use std::net::{IpAddr, SocketAddr};

use crate::address::upstream::UpstreamAddress;
use crate::net::socket::is_own_address;

/// An error where one of `servers` is one of this server's own `listen` addresses: it would ask itself until the
/// deadline, for every query.
pub fn refuse(servers: &[UpstreamAddress], listen: &[SocketAddr]) -> Result<(), String> {
    for server in servers {
        let Some(socket) = server.socket() else { continue };
        if listen.iter().any(|own| own.port() == socket.port() && is_reached(own.ip(), socket.ip())) {
            return Err(format!(
                "the upstream {server} is this server itself\n  help: name the resolver to ask with `servers` in \
                 [upstream]; on a host whose own resolver configuration points here, `system` cannot be used"
            ));
        }
    }
    Ok(())
}

/// True where a packet to `target` arrives at a socket bound to `own`.
fn is_reached(own: IpAddr, target: IpAddr) -> bool {
    let (own, target) = (own.to_canonical(), target.to_canonical());
    own == target || own.is_unspecified() && own.is_ipv4() == target.is_ipv4() && is_own_address(target)
}
