//! [`UpstreamAddress`]: one upstream resolver as written in the settings.

use std::fmt;
#[cfg(target_os = "linux")]
use std::net::Ipv4Addr;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::encrypted::{EncryptedAddress, Host, Protocol};

/// Port of DNS over UDP and TCP (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// Where allowed queries go, and over which transport.
///
/// Written `system`, `168.63.129.16`, `10.0.0.4:5353`, `[::1]:53`, `udp://…` or `tcp://…`, or as an
/// [`EncryptedAddress`]; [`fmt::Display`] writes the shortest form that reads back equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// The resolvers that the system's own configuration names when the program starts.
    System,
    /// UDP first, TCP where an answer does not fit.
    Udp(SocketAddr),
    /// TCP alone.
    Tcp(SocketAddr),
    /// Over a connection that is encrypted, to a server that proves who it is; never in any other way.
    Encrypted(EncryptedAddress),
}

impl UpstreamAddress {
    /// Where it is, where that is written; none for what has to be looked up.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::System => None,
            Self::Udp(socket) | Self::Tcp(socket) => Some(*socket),
            Self::Encrypted(address) => address.host.socket(),
        }
    }

    /// The name whose addresses have to be looked up before it can be asked; none where an address is written.
    pub fn host_name(&self) -> Option<&str> {
        match self {
            Self::Encrypted(EncryptedAddress { host: Host::Name(name, _), .. }) => Some(name.as_ref()),
            _ => None,
        }
    }

    /// True where it is asked through encrypted connections.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

/// Why a text is no address, and what to write instead where that can be known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AddressError {
    /// What is wrong, for people.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl AddressError {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl FromStr for UpstreamAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once("://") {
            None if text == "system" => Ok(Self::System),
            None if text.eq_ignore_ascii_case("system") => {
                Err(AddressError::new(format!("`{text}` is no upstream"), "write `system` in lower case"))
            }
            None => upstream_socket(text, DNS_PORT).map(Self::Udp),
            Some(("udp", address)) => upstream_socket(address, DNS_PORT).map(Self::Udp),
            Some(("tcp", address)) => upstream_socket(address, DNS_PORT).map(Self::Tcp),
            Some((scheme, rest)) => match Protocol::from_scheme(scheme) {
                Some(protocol) => EncryptedAddress::parse(protocol, rest).map(Self::Encrypted),
                None => Err(AddressError::new(
                    format!("`{scheme}://` is no transport for an upstream"),
                    "write an address alone for UDP and TCP, or `tcp://`, `tls://`, `https://` or `quic://` before it",
                )),
            },
        }
    }
}

/// Reads the address of a resolver, with the port where it is not `default_port`, and refuses what cannot be asked.
pub fn upstream_socket(text: &str, default_port: u16) -> Result<SocketAddr, AddressError> {
    let address = parse_socket_address(text, default_port)?;
    if address.port() == 0 {
        let help = format!("write a port from 1 to 65535, or none for {default_port}");
        return Err(AddressError::new("port 0 cannot be asked", help));
    }
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        let help = format!("write the interface it is reached through behind it, such as `{}%eth0`", v6.ip());
        return Err(AddressError::new(
            format!("`{}` is a link-local address, which each interface has its own of", v6.ip()),
            help,
        ));
    }
    let kind = match address.ip() {
        ip if ip.is_unspecified() => "the unspecified address",
        ip if ip.is_multicast() => "a multicast address",
        IpAddr::V4(ip) if ip.is_broadcast() => "the broadcast address",
        _ => return Ok(address),
    };
    let message = format!("`{}` is {kind}, which no single resolver has", address.ip());
    Err(AddressError::new(message, "write the address of one resolver, or `system`"))
}

/// Reads `IP:port`, `[IPv6]:port` or an address alone, which gets `default_port`.
///
/// IPv4-mapped IPv6 addresses become IPv4. Port 0 is accepted here. Host names are refused. The interface of a link-local address
/// stands behind a `%`, by name or number (RFC 4007 section 11).
pub fn parse_socket_address(text: &str, default_port: u16) -> Result<SocketAddr, AddressError> {
    if let Some(scoped) = parse_scoped(text, default_port) {
        return scoped;
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = text
        .parse::<SocketAddr>()
        .or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, default_port)));
    match parsed {
        Ok(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
            Ok(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(explain_no_address(text)),
    }
}

/// Reads `IPv6%interface`, with or without brackets and port; none where `text` is nothing of the kind.
fn parse_scoped(text: &str, default_port: u16) -> Option<Result<SocketAddr, AddressError>> {
    let (inside, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => (text, ""),
    };
    let (ip, interface) = inside.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    let port = match port.strip_prefix(':') {
        Some(port) => match port.parse() {
            Ok(port) => port,
            Err(_) => {
                return Some(Err(AddressError::new(
                    format!("`{port}` is no port"),
                    "write a port from 1 to 65535",
                )));
            }
        },
        None => default_port,
    };
    let scope = interface.parse().ok().filter(|index| *index > 0).or_else(|| interface_index(interface));
    Some(scope.map(|scope| SocketAddrV6::new(ip, port, 0, scope).into()).ok_or_else(|| {
        let help = "`ip link` lists the interfaces; write one of them behind the `%`";
        AddressError::new(format!("this machine has no network interface `{interface}`"), help)
    }))
}

/// The number of a network interface; none where there is none of that name.
#[cfg(target_os = "linux")]
fn interface_index(name: &str) -> Option<u32> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}

/// The same where interfaces are known by their numbers alone.
#[cfg(not(target_os = "linux"))]
fn interface_index(_: &str) -> Option<u32> {
    None
}

fn explain_no_address(text: &str) -> AddressError {
    let example = "write an IP address, such as `10.0.0.4`, `10.0.0.4:5353` or `[fd00::4]:53`";
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if text.is_empty() {
        AddressError::new("the address is empty", example)
    } else if host.parse::<IpAddr>().is_ok() {
        AddressError::new(format!("`{port}` is no port"), "write a port from 1 to 65535")
    } else if host.is_empty() {
        AddressError::new(format!("`{text}` has a port but no address"), example)
    } else if host.contains(|c: char| c.is_alphabetic()) && !host.contains([':', '/', '%']) {
        AddressError::new(format!("`{host}` is a host name, which would itself have to be resolved"), example)
    } else {
        AddressError::new(format!("`{text}` is no IP address"), example)
    }
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, address) = match self {
            Self::System => return f.write_str("system"),
            Self::Udp(address) => ("", address),
            Self::Tcp(address) => ("tcp://", address),
            Self::Encrypted(address) => return address.fmt(f),
        };
        match address.port() {
            // A scope id needs the brackets that only the form with a port has.
            DNS_PORT if !matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) => {
                write!(f, "{scheme}{}", address.ip())
            }
            _ => write!(f, "{scheme}{address}"),
        }
    }
}

impl Serialize for UpstreamAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UpstreamAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn link_local_addresses_have_an_interface_by_name_or_number() {
        for (text, expected) in [
            ("fe80::1%lo", "[fe80::1%1]:53"),
            ("[fe80::1%lo]", "[fe80::1%1]:53"),
            ("[fe80::1%lo]:5353", "[fe80::1%1]:5353"),
            ("fe80::1%7", "[fe80::1%7]:53"),
            ("tcp://[fe80::1%7]:5353", "[fe80::1%7]:5353"),
            ("tls://fe80::1%lo#dns.example", "[fe80::1%1]:853"),
            ("https://[fe80::1%lo]:8443/q#dns.example", "[fe80::1%1]:8443"),
        ] {
            let address: UpstreamAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                address.socket().map(|socket| socket.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
        for (text, message, help) in [
            ("fe80::1", "link-local", "`fe80::1%eth0`"),
            ("[fe80::1]:53", "link-local", "`fe80::1%eth0`"),
            ("fe80::1%no-such-one", "no network interface `no-such-one`", "ip link"),
            ("[fe80::1%lo]:x", "`x` is no port", "1 to 65535"),
        ] {
            let error = text.parse::<UpstreamAddress>().map_err(|error| error.to_string()).err();
            let error = error.unwrap_or_default();
            assert!(error.contains(message) && error.contains(help), "{text}: {error}");
        }
    }

    #[test]
    fn reads_and_shows() {
        let udp = |text: &str| UpstreamAddress::Udp(text.parse().unwrap());
        let tcp = |text: &str| UpstreamAddress::Tcp(text.parse().unwrap());
        for (text, address, shown) in [
            ("system", UpstreamAddress::System, "system"),
            ("168.63.129.16", udp("168.63.129.16:53"), "168.63.129.16"),
            ("10.0.0.4:53", udp("10.0.0.4:53"), "10.0.0.4"),
            ("10.0.0.4:5353", udp("10.0.0.4:5353"), "10.0.0.4:5353"),
            ("udp://10.0.0.4", udp("10.0.0.4:53"), "10.0.0.4"),
            ("tcp://10.0.0.4", tcp("10.0.0.4:53"), "tcp://10.0.0.4"),
            ("tcp://[fd00::4]:5353", tcp("[fd00::4]:5353"), "tcp://[fd00::4]:5353"),
            ("::1", udp("[::1]:53"), "::1"),
            ("[::1]", udp("[::1]:53"), "::1"),
            ("[::1]:53", udp("[::1]:53"), "::1"),
            ("::ffff:10.0.0.4", udp("10.0.0.4:53"), "10.0.0.4"),
            ("[fe80::1%2]:53", udp("[fe80::1%2]:53"), "[fe80::1%2]:53"),
        ] {
            let read: UpstreamAddress = text.parse().unwrap();
            assert_eq!((&read, read.to_string().as_str()), (&address, shown), "{text}");
            assert_eq!(shown.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn refuses_and_helps() {
        for (text, message, help) in [
            ("", "empty", "10.0.0.4"),
            ("System", "no upstream", "lower case"),
            ("dns.example", "`dns.example` is a host name", "10.0.0.4"),
            ("tcp://dns.example:53", "`dns.example` is a host name", "10.0.0.4"),
            ("ftp://10.0.0.4", "no transport", "tcp://"),
            ("TLS://10.0.0.4", "no transport", "tls://"),
            ("10.0.0.4:0", "port 0", "1 to 65535"),
            ("10.0.0.4:99999", "`99999` is no port", "1 to 65535"),
            ("[::1]:dns", "`dns` is no port", "1 to 65535"),
            (":53", "no address", "10.0.0.4"),
            ("0.0.0.0", "the unspecified address", "one resolver"),
            ("[::]:53", "the unspecified address", "one resolver"),
            ("::ffff:0.0.0.0", "the unspecified address", "one resolver"),
            ("224.0.0.251:5353", "a multicast address", "one resolver"),
            ("ff02::fb", "a multicast address", "one resolver"),
            ("255.255.255.255", "the broadcast address", "one resolver"),
            ("10.0.0.4/32", "no IP address", "10.0.0.4"),
            ("10.0.0.256", "no IP address", "10.0.0.4"),
        ] {
            let error = text.parse::<UpstreamAddress>().unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.help.as_deref().unwrap().contains(help), "{text}: {error}");
        }
    }
}
