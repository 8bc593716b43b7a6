//! The host's own resolver configuration, for the upstream `system`.

use crate::address::upstream::UpstreamAddress;

/// The system's resolver configuration (resolv.conf(5)).
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The servers in `/etc/resolv.conf` (or the platform's equivalent), in order.
///
/// Errors: the configuration cannot be read or names no server.
pub fn servers() -> Result<Vec<UpstreamAddress>, String> {
    let servers = read()?;
    match servers.is_empty() {
        true => Err("no nameserver configured".to_owned()),
        false => Ok(servers),
    }
}

/// Reads only the servers. hickory parses the whole file and fails on a search list it does not accept.
#[cfg(unix)]
fn read() -> Result<Vec<UpstreamAddress>, String> {
    let bytes = std::fs::read(RESOLV_CONF).map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
    Ok(servers_of(&String::from_utf8_lossy(&bytes)))
}

#[cfg(not(unix))]
fn read() -> Result<Vec<UpstreamAddress>, String> {
    use crate::address::socket::DNS_PORT;
    let (config, _) = hickory_resolver::system_conf::read_system_conf().map_err(|error| error.to_string())?;
    let addresses = config.name_servers().iter().map(|server| std::net::SocketAddr::new(server.ip, DNS_PORT));
    Ok(unique(addresses.map(UpstreamAddress::Udp)))
}

/// The servers of the `nameserver ADDRESS` lines (resolv.conf(5)). Unusable addresses are skipped, as in the C library.
#[cfg(unix)]
fn servers_of(text: &str) -> Vec<UpstreamAddress> {
    let server = |line: &str| {
        let mut words = line.trim_start_matches('\u{feff}').split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.parse().ok().filter(|address| matches!(address, UpstreamAddress::Udp(_)))
    };
    unique(text.lines().filter_map(server))
}

/// Removes duplicates and preserves order.
fn unique(servers: impl Iterator<Item = UpstreamAddress>) -> Vec<UpstreamAddress> {
    let mut unique: Vec<UpstreamAddress> = Vec::new();
    for server in servers {
        if !unique.contains(&server) {
            unique.push(server);
        }
    }
    unique
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_nameserver_lines_are_read() {
        for (text, expected) in [
            ("nameserver 127.0.0.1\nsearch .corp.example\noptions ndots:2\n", "127.0.0.1"),
            ("nameserver fe80::1%lo\n", "[fe80::1%1]:53"),
            ("\u{feff}nameserver 10.0.0.4\r\nnameserver 10.0.0.5\r\n", "10.0.0.4 10.0.0.5"),
            (
                "; comment\n# nameserver 10.0.0.9\n\tnameserver\t10.0.0.4 # one\nnameserver 10.0.0.4\n",
                "10.0.0.4",
            ),
            ("domain -x-\nsortlist ???\nnameserver none\nnameserver\nnameserver ::1\n", "::1"),
            ("nameserver 0.0.0.0\nnameserver tcp://10.0.0.4\nnameserver system\n", ""),
            ("", ""),
        ] {
            let servers: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
            assert_eq!(servers.join(" "), expected, "{text:?}");
        }
    }
}
