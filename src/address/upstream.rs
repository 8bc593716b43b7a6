//! [`UpstreamAddress`]: one upstream resolver as written in the settings.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::encrypted::{EncryptedAddress, EncryptedProtocol, ServerHost};
use crate::address::socket::{AddressError, DNS_PORT, upstream_socket};

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
            Self::Encrypted(EncryptedAddress { host: ServerHost::Name(name, _), .. }) => Some(name.as_ref()),
            _ => None,
        }
    }

    /// True where it is asked through encrypted connections.
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
                Err(AddressError::new(format!("`{text}` is no upstream"), "write `system` in lower case"))
            }
            None => upstream_socket(text, DNS_PORT).map(Self::Udp),
            Some(("udp", address)) => upstream_socket(address, DNS_PORT).map(Self::Udp),
            Some(("tcp", address)) => upstream_socket(address, DNS_PORT).map(Self::Tcp),
            Some((scheme, rest)) => match EncryptedProtocol::from_scheme(scheme) {
                Some(protocol) => EncryptedAddress::parse(protocol, rest).map(Self::Encrypted),
                None => Err(AddressError::new(
                    format!("`{scheme}://` is no transport for an upstream"),
                    "write an address alone for UDP and TCP, or `tcp://`, `tls://`, `https://` or `quic://` before it",
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
