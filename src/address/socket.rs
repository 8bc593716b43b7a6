//! Parses addresses with ports.

use std::fmt;
#[cfg(target_os = "linux")]
use std::net::Ipv4Addr;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Port of DNS over UDP and TCP (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// An invalid address: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AddressError {
    /// What is wrong.
    pub message: String,
    /// What to write instead, if known.
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

/// Parses the address of a resolver, with an optional port. Refuses addresses that cannot be queried.
pub fn upstream_socket(text: &str, default_port: u16) -> Result<SocketAddr, AddressError> {
    let address = parse_socket_address(text, default_port)?;
    if address.port() == 0 {
        let help = format!("write a port from 1 to 65535, or no port to use {default_port}");
        return Err(AddressError::new("port 0 cannot be queried", help));
    }
    if let SocketAddr::V6(v6) = address
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        let help = format!("append the interface, such as `{}%eth0`", v6.ip());
        return Err(AddressError::new(
            format!("link-local address `{}` without an interface", v6.ip()),
            help,
        ));
    }
    let kind = match address.ip() {
        ip if ip.is_unspecified() => "the unspecified address",
        ip if ip.is_multicast() => "a multicast address",
        IpAddr::V4(ip) if ip.is_broadcast() => "the broadcast address",
        _ => return Ok(address),
    };
    let message = format!("`{}` is {kind}, not a resolver's address", address.ip());
    Err(AddressError::new(message, "write the address of one resolver, or `system`"))
}

/// Parses `IP:port`, `[IPv6]:port` or an address alone, which gets `default_port`.
///
/// IPv4-mapped addresses become IPv4. Port 0 is accepted, host names are refused. A link-local address has its
/// interface after a `%`, by name or number (RFC 4007 section 11).
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

/// Parses `IPv6%interface`, with or without brackets and port; `None` if `text` has another form.
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
                    format!("invalid port `{port}`"),
                    "write a port from 1 to 65535",
                )));
            }
        },
        None => default_port,
    };
    let scope = interface.parse().ok().filter(|index| *index > 0).or_else(|| interface_index(interface));
    Some(scope.map(|scope| SocketAddrV6::new(ip, port, 0, scope).into()).ok_or_else(|| {
        let help = "write an interface after the `%`; `ip link` lists them";
        AddressError::new(format!("no network interface `{interface}` on this machine"), help)
    }))
}

/// The index of a network interface; `None` if there is no interface with this name.
#[cfg(target_os = "linux")]
fn interface_index(name: &str) -> Option<u32> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}

/// On other systems interfaces have only numbers.
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
        AddressError::new(format!("invalid port `{port}`"), "write a port from 1 to 65535")
    } else if host.is_empty() {
        AddressError::new(format!("`{text}` has a port but no address"), example)
    } else if host.contains(|c: char| c.is_alphabetic()) && !host.contains([':', '/', '%']) {
        AddressError::new(format!("`{host}` is a host name, not an IP address"), example)
    } else {
        AddressError::new(format!("invalid IP address `{text}`"), example)
    }
}
