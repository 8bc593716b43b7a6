//! The host's own resolver configuration, for the upstream `system`.

use std::net::SocketAddr;

use hickory_resolver::system_conf::read_system_conf;

use super::address::{DNS_PORT, UpstreamAddress};

/// The servers that `/etc/resolv.conf` (or the platform's like) names, in its order.
pub fn servers() -> Result<Vec<UpstreamAddress>, String> {
    let (config, _) = read_system_conf().map_err(|error| error.to_string())?;
    let mut servers: Vec<UpstreamAddress> = Vec::new();
    for server in config.name_servers() {
        let address = UpstreamAddress::Udp(SocketAddr::new(server.ip, DNS_PORT));
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    match servers.is_empty() {
        true => Err("it names no server".to_owned()),
        false => Ok(servers),
    }
}
