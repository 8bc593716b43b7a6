//! [`EncryptedAddress`]: an upstream over TLS, HTTPS or QUIC, as written in the settings.

use std::fmt;
use std::net::SocketAddr;

use rustls::pki_types::{DnsName, ServerName};

use crate::address::socket::{AddressError, upstream_socket};

/// The default path of DNS over HTTPS: nearly every server uses it, and so do the examples of RFC 8484.
const USUAL_PATH: &str = "/dns-query";

/// An encrypted DNS transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncryptedProtocol {
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484), HTTP/2.
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl EncryptedProtocol {
    /// The protocol of `scheme://`.
    pub(crate) fn from_scheme(scheme: &str) -> Option<Self> {
        [Self::Tls, Self::Https, Self::Quic].into_iter().find(|protocol| protocol.scheme() == scheme)
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Https => "https",
            Self::Quic => "quic",
        }
    }

    /// RFC 7858 section 3.1, RFC 8484 section 4.1, RFC 9250 section 4.1.1.
    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Tls | Self::Quic => 853,
        }
    }

    fn path(self, text: &str) -> Result<String, AddressError> {
        let is_of_a_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%?".contains(&byte);
        match self {
            Self::Tls | Self::Quic if text.is_empty() => Ok(String::new()),
            Self::Tls | Self::Quic => {
                let message = format!("`{}://` upstreams have no path", self.scheme());
                Err(AddressError::new(message, format!("remove `{text}`")))
            }
            Self::Https if text.is_empty() => Ok(USUAL_PATH.to_owned()),
            Self::Https if text.bytes().all(is_of_a_path) => Ok(text.to_owned()),
            Self::Https => {
                let message = format!("invalid path `{text}`");
                Err(AddressError::new(message, "write a path without a URI template, such as `/dns-query`"))
            }
        }
    }
}

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerHost {
    /// An address with a port.
    Address(SocketAddr),
    /// A name with a port.
    Name(DnsName<'static>, u16),
}

impl ServerHost {
    fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, Some(port)),
            _ => (text, None),
        };
        if !name.contains(|c: char| c.is_alphabetic()) || name.contains([':', '[', '%']) {
            return upstream_socket(text, default_port).map(Self::Address);
        }
        let port = match port {
            None => default_port,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                AddressError::new(format!("invalid port `{port}`"), "write a port from 1 to 65535")
            })?,
        };
        Ok(Self::Name(host_name(name)?, port))
    }

    /// The address; `None` for a name, which must be resolved first.
    pub(crate) fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(socket) => Some(*socket),
            Self::Name(..) => None,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Address(socket) => socket.port(),
            Self::Name(_, port) => *port,
        }
    }

    /// The default server name: the host itself.
    fn server_name(&self) -> ServerName<'static> {
        match self {
            Self::Address(socket) => ServerName::from(socket.ip()),
            Self::Name(name, _) => ServerName::DnsName(name.clone()),
        }
    }
}

fn host_name(text: &str) -> Result<DnsName<'static>, AddressError> {
    let help = match text.is_ascii() {
        true => "write a host name such as `dns.example`",
        false => "write the A-label form of the name: `xn--…`",
    };
    DnsName::try_from(text.to_ascii_lowercase())
        .map_err(|_| AddressError::new(format!("invalid host name `{text}`"), help))
}

/// An upstream over an encrypted and authenticated connection.
///
/// Written `tls://10.0.0.4#dns.example`, `https://dns.example/dns-query` or `quic://[fd00::4]:8853`. The default port
/// is 853, and 443 for HTTPS. The certificate must match the name after `#`, or the host if there is none.
/// [`fmt::Display`] writes the shortest form that parses back to the same value, with the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EncryptedAddress {
    /// The transport.
    pub protocol: EncryptedProtocol,
    /// The server's host and port.
    pub host: ServerHost,
    /// The name or address that the certificate must match.
    pub server_name: ServerName<'static>,
    /// Path and query of the URI for HTTPS; otherwise empty.
    pub path: String,
}

impl EncryptedAddress {
    /// Parses the part after `scheme://`.
    pub(crate) fn parse(protocol: EncryptedProtocol, text: &str) -> Result<Self, AddressError> {
        let (place, name) = match text.split_once('#') {
            Some((place, name)) => (place, Some(name)),
            None => (text, None),
        };
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let host = ServerHost::parse(host, protocol.default_port())?;
        let path = protocol.path(path)?;
        let server_name = match name {
            Some(name) => ServerName::DnsName(host_name(name)?),
            None => host.server_name(),
        };
        Ok(Self { protocol, host, server_name, path })
    }
}

impl fmt::Display for EncryptedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.scheme())?;
        let default_port = self.protocol.default_port();
        match &self.host {
            // A scope id can be parsed only with a port.
            ServerHost::Address(SocketAddr::V6(socket)) if socket.scope_id() != 0 => write!(f, "{socket}")?,
            ServerHost::Address(socket) if socket.port() != default_port => write!(f, "{socket}")?,
            ServerHost::Address(SocketAddr::V6(socket)) => write!(f, "[{}]", socket.ip())?,
            ServerHost::Address(SocketAddr::V4(socket)) => write!(f, "{}", socket.ip())?,
            ServerHost::Name(name, port) if *port != default_port => write!(f, "{}:{port}", name.as_ref())?,
            ServerHost::Name(name, _) => f.write_str(name.as_ref())?,
        }
        f.write_str(&self.path)?;
        if self.server_name != self.host.server_name() {
            write!(f, "#{}", self.server_name.to_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::address::upstream::UpstreamAddress;

    #[test]
    fn reads_and_shows() {
        for (text, host, server_name, path, shown) in [
            ("tls://10.0.0.4#dns.example", "10.0.0.4:853", "dns.example", "", "tls://10.0.0.4#dns.example"),
            ("tls://10.0.0.4:853", "10.0.0.4:853", "10.0.0.4", "", "tls://10.0.0.4"),
            (
                "tls://10.0.0.4:8853#n.example",
                "10.0.0.4:8853",
                "n.example",
                "",
                "tls://10.0.0.4:8853#n.example",
            ),
            ("tls://fd00::4", "[fd00::4]:853", "fd00::4", "", "tls://[fd00::4]"),
            ("tls://[fd00::4]:8853", "[fd00::4]:8853", "fd00::4", "", "tls://[fd00::4]:8853"),
            (
                "tls://[fe80::1%2]:853#n.example",
                "[fe80::1%2]:853",
                "n.example",
                "",
                "tls://[fe80::1%2]:853#n.example",
            ),
            ("tls://DNS.example.", "dns.example 853", "dns.example", "", "tls://dns.example"),
            ("tls://dns.example#dns.example", "dns.example 853", "dns.example", "", "tls://dns.example"),
            (
                "tls://dns.example:53#other.example",
                "dns.example 53",
                "other.example",
                "",
                "tls://dns.example:53#other.example",
            ),
            (
                "https://dns.example",
                "dns.example 443",
                "dns.example",
                "/dns-query",
                "https://dns.example/dns-query",
            ),
            ("https://dns.example/", "dns.example 443", "dns.example", "/", "https://dns.example/"),
            (
                "https://10.0.0.4/q?k=1#dns.example",
                "10.0.0.4:443",
                "dns.example",
                "/q?k=1",
                "https://10.0.0.4/q?k=1#dns.example",
            ),
            (
                "https://10.0.0.4:8443/dns-query",
                "10.0.0.4:8443",
                "10.0.0.4",
                "/dns-query",
                "https://10.0.0.4:8443/dns-query",
            ),
            (
                "https://[fd00::4]/dns-query#n.example",
                "[fd00::4]:443",
                "n.example",
                "/dns-query",
                "https://[fd00::4]/dns-query#n.example",
            ),
            ("quic://10.0.0.4#dns.example", "10.0.0.4:853", "dns.example", "", "quic://10.0.0.4#dns.example"),
        ] {
            let read: UpstreamAddress = text.parse().unwrap();
            let UpstreamAddress::Encrypted(address) = &read else { panic!("{text}: {read:?}") };
            let place = match &address.host {
                ServerHost::Address(socket) => socket.to_string(),
                ServerHost::Name(name, port) => format!("{} {port}", name.as_ref()),
            };
            assert_eq!((&*place, &*address.path), (host, path), "{text}");
            assert_eq!(address.server_name.to_str(), server_name, "{text}");
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn refuses_and_helps() {
        for (text, message, help) in [
            ("tls://", "empty", "10.0.0.4"),
            ("tls://10.0.0.4#", "invalid host name ``", "dns.example"),
            ("tls://10.0.0.4#dns example", "invalid host name", "dns.example"),
            ("tls://10.0.0.4#10.0.0.5", "invalid host name `10.0.0.5`", "dns.example"),
            ("tls://10.0.0.4/dns-query", "no path", "remove `/dns-query`"),
            ("quic://dns.example/", "no path", "remove `/`"),
            ("tls://10.0.0.4:0", "port 0", "use 853"),
            ("https://10.0.0.4:0", "port 0", "use 443"),
            ("tls://dns.example:0", "invalid port `0`", "1 to 65535"),
            ("tls://dns.example:dns", "invalid port `dns`", "1 to 65535"),
            ("tls://dns..example", "invalid host name", "dns.example"),
            ("tls://user@dns.example", "invalid host name", "dns.example"),
            ("tls://bücher.example", "invalid host name", "xn--"),
            ("tls://0.0.0.0", "the unspecified address", "one resolver"),
            ("https://dns.example/dns-query{?dns}", "invalid path", "without a URI template"),
        ] {
            let error = text.parse::<UpstreamAddress>().unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.help.as_deref().unwrap().contains(help), "{text}: {error}");
        }
    }
}
