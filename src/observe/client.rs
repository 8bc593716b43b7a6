//! [`ShownClient`]: a client's address as `log.client` lets it be shown.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{AddrParseError, IpNet};

use crate::config::ClientAddress;

/// Prefix length shown for IPv4: a common subnet size.
const IPV4_PREFIX: u8 = 24;

/// Prefix length shown for IPv6: a common assignment to one site (RFC 6177).
const IPV6_PREFIX: u8 = 56;

/// A client's address, or its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShownClient(IpNet);

impl ShownClient {
    /// Reduces `address` as `shown` says. An IPv4-mapped address counts as the IPv4 address.
    pub fn of(address: IpAddr, shown: ClientAddress) -> Option<Self> {
        let address = address.to_canonical();
        let prefix = match (shown, address) {
            (ClientAddress::None, _) => return None,
            (ClientAddress::Full, _) => return Some(Self(IpNet::from(address))),
            (ClientAddress::Subnet, IpAddr::V4(_)) => IPV4_PREFIX,
            (ClientAddress::Subnet, IpAddr::V6(_)) => IPV6_PREFIX,
        };
        IpNet::new(address, prefix).ok().map(|net| Self(net.trunc()))
    }

    /// The address with the port of `socket`, or the subnet's address with port 0.
    pub fn socket(self, socket: SocketAddr) -> SocketAddr {
        let port = if self.is_whole() { socket.port() } else { 0 };
        SocketAddr::new(self.0.addr(), port)
    }

    /// The subnet; for a whole address, of only this address.
    pub fn net(self) -> IpNet {
        self.0
    }

    fn is_whole(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

/// `10.0.0.4`, or `10.0.0.0/24`.
impl fmt::Display for ShownClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_whole() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Parses the [`fmt::Display`] form.
impl FromStr for ShownClient {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        text.parse::<IpAddr>().map_or_else(|_| text.parse(), |address| Ok(IpNet::from(address))).map(Self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shows_as_much_as_is_allowed() {
        for (address, full, subnet) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.3", "10.1.2.0/24"),
            ("fd00:1:2:3ff:4::5", "fd00:1:2:3ff:4::5", "fd00:1:2:300::/56"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let shown = |shown| ShownClient::of(address, shown).map(|client| client.to_string());
            assert_eq!(shown(ClientAddress::Full).unwrap(), full);
            assert_eq!(shown(ClientAddress::Subnet).unwrap(), subnet);
            assert_eq!(shown(ClientAddress::None), None);
            for text in [full, subnet] {
                assert_eq!(text.parse::<ShownClient>().unwrap().to_string(), text);
            }
        }
    }

    #[test]
    fn a_subnet_has_no_port() {
        let socket: SocketAddr = "10.1.2.3:4711".parse().unwrap();
        let shown = |shown| ShownClient::of(socket.ip(), shown).unwrap().socket(socket).to_string();
        assert_eq!(shown(ClientAddress::Full), "10.1.2.3:4711");
        assert_eq!(shown(ClientAddress::Subnet), "10.1.2.0:0");
    }
}
