//! [`UpstreamAddress`]: one upstream resolver as written in the settings.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::encrypted::{EncryptedAddress, EncryptedProtocol, ServerHost};
use crate::address::socket::{AddressError, DNS_PORT, upstream_socket};

/// The address and transport of an upstream server.
///
/// Written `system`, `168.63.129.16`, `10.0.0.4:5353`, `[::1]:53`, `udp://…` or `tcp://…`, or as an
/// [`EncryptedAddress`]. [`fmt::Display`] writes the shortest form that parses back to the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamAddress {
    /// The resolvers in the system's configuration at startup.
    System,
    /// UDP, with TCP fallback for answers that do not fit.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
    /// Only over an encrypted connection to an authenticated server.
    Encrypted(EncryptedAddress),
}

impl UpstreamAddress {
    /// The address; `None` for `system` and for a host name.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::System => None,
            Self::Udp(socket) | Self::Tcp(socket) => Some(*socket),
            Self::Encrypted(address) => address.host.socket(),
        }
    }

    /// The host name that must be resolved before the first query; `None` for an address.
    pub fn host_name(&self) -> Option<&str> {
        match self {
            Self::Encrypted(EncryptedAddress { host: ServerHost::Name(name, _), .. }) => Some(name.as_ref()),
            _ => None,
        }
    }

    /// True for an encrypted upstream.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }
}

impl FromStr for UpstreamAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once("://") {
            None if text == "system" => Ok(Self::System),
            None if text.eq_ignore_ascii_case("system") => {
                Err(AddressError::new(format!("invalid upstream `{text}`"), "write `system` in lower case"))
            }
            None => upstream_socket(text, DNS_PORT).map(Self::Udp),
            Some(("udp", address)) => upstream_socket(address, DNS_PORT).map(Self::Udp),
            Some(("tcp", address)) => upstream_socket(address, DNS_PORT).map(Self::Tcp),
            Some((scheme, rest)) => match EncryptedProtocol::from_scheme(scheme) {
                Some(protocol) => EncryptedAddress::parse(protocol, rest).map(Self::Encrypted),
                None => Err(AddressError::new(
                    format!("unsupported upstream scheme `{scheme}://`"),
                    "use `tcp://`, `tls://`, `https://` or `quic://`, or an address without scheme for UDP with TCP \
                     fallback",
                )),
            },
        }
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
            // A scope id needs brackets, which only the form with a port has.
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
            ("[fe80::1%lo]:x", "invalid port `x`", "1 to 65535"),
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
            ("System", "invalid upstream", "lower case"),
            ("dns.example", "`dns.example` is a host name", "10.0.0.4"),
            ("tcp://dns.example:53", "`dns.example` is a host name", "10.0.0.4"),
            ("ftp://10.0.0.4", "unsupported upstream scheme", "tcp://"),
            ("TLS://10.0.0.4", "unsupported upstream scheme", "tls://"),
            ("10.0.0.4:0", "port 0", "1 to 65535"),
            ("10.0.0.4:99999", "invalid port `99999`", "1 to 65535"),
            ("[::1]:dns", "invalid port `dns`", "1 to 65535"),
            (":53", "no address", "10.0.0.4"),
            ("0.0.0.0", "the unspecified address", "one resolver"),
            ("[::]:53", "the unspecified address", "one resolver"),
            ("::ffff:0.0.0.0", "the unspecified address", "one resolver"),
            ("224.0.0.251:5353", "a multicast address", "one resolver"),
            ("ff02::fb", "a multicast address", "one resolver"),
            ("255.255.255.255", "the broadcast address", "one resolver"),
            ("10.0.0.4/32", "invalid IP address", "10.0.0.4"),
            ("10.0.0.256", "invalid IP address", "10.0.0.4"),
        ] {
            let error = text.parse::<UpstreamAddress>().unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
            assert!(error.help.as_deref().unwrap().contains(help), "{text}: {error}");
        }
    }
}
