//! Rejects upstreams that are this resolver itself.

use std::net::{IpAddr, SocketAddr};

use crate::address::upstream::UpstreamAddress;
use crate::net::socket::is_own_address;

/// Returns an error if one of `servers` is one of the `listen` addresses: every query would loop until its deadline.
pub fn refuse(servers: &[UpstreamAddress], listen: &[SocketAddr]) -> Result<(), String> {
    for server in servers {
        let Some(socket) = server.socket() else { continue };
        if listen.iter().any(|own| own.port() == socket.port() && is_reached(own.ip(), socket.ip())) {
            return Err(format!(
                "the upstream {server} is this resolver itself\n  help: set `upstream.servers` to another \
                 resolver; do not use `system` on a host whose own resolver configuration points here"
            ));
        }
    }
    Ok(())
}

/// True if a packet to `target` arrives at a socket bound to `own`.
fn is_reached(own: IpAddr, target: IpAddr) -> bool {
    let (own, target) = (own.to_canonical(), target.to_canonical());
    own == target || own.is_unspecified() && own.is_ipv4() == target.is_ipv4() && is_own_address(target)
}
