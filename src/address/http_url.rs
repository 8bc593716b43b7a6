//! [`HttpUrl`]: an https URL, or an http URL of this host.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::Uri;
use rustls::pki_types::ServerName;

/// A URL whose content nobody else on the network can read: https, or http to a loopback address.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    text: String,
    /// The host that the certificate must match.
    pub name: ServerName<'static>,
    /// The port.
    pub port: u16,
    /// False for plain HTTP to a loopback address.
    pub is_encrypted: bool,
    /// Path and query.
    pub target: String,
    /// The value of the `Host` header.
    pub authority: String,
}

impl HttpUrl {
    /// Reads a URL; none for one of another form, and for one with a user or a password.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, IpAddr::is_loopback)
    }

    /// A URL with plain http to `trusted`, an address that never leaves this host.
    pub(crate) fn parse_link_local(text: &str, trusted: IpAddr) -> Option<Self> {
        Self::read(text, |address| address.is_loopback() || *address == trusted)
    }

    fn read(text: &str, may_be_plain: impl FnOnce(&IpAddr) -> bool) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).ok()?;
        let (is_encrypted, port) = match uri.scheme_str()? {
            "https" => (true, 443),
            "http" if host.parse().is_ok_and(|address| may_be_plain(&address)) => (false, 80),
            _ => return None,
        };
        Some(Self {
            text: text.to_owned(),
            name,
            port: authority.port_u16().unwrap_or(port),
            is_encrypted,
            target: uri.path_and_query().map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned()),
            authority: authority.as_str().to_owned(),
        })
    }

    /// The URL as it was written. A query may hold a secret: show it with `Display` instead.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, if the URL has no host name.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.name {
            ServerName::IpAddress(address) => Some(SocketAddr::new((*address).into(), self.port)),
            _ => None,
        }
    }

    /// Host and port of the server.
    pub(crate) fn endpoint(&self) -> String {
        match self.address() {
            Some(address) => address.to_string(),
            None => format!("{}:{}", self.name.to_str(), self.port),
        }
    }
}

/// Without the query, which holds the signature of a signed URL.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.split(['?', '#']).next().unwrap_or_default())
    }
}

/// As `Display`, so that no message shows the query.
impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_https_leaves_this_host() {
        for (text, is_good) in [
            ("https://hooks.corp.example/namegate?a=b", true),
            ("https://10.0.0.4:8443", true),
            ("https://[2001:db8::1]:8443/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]/x", true),
            ("http://10.0.0.4/x", false),
            ("http://169.254.169.254/x", false),
            ("http://localhost/x", false),
            ("https://user:pw@corp.example/", false),
            ("https:///x", false),
            ("hooks.corp.example", false),
            ("ftp://corp.example/", false),
        ] {
            assert_eq!(HttpUrl::parse(text).is_some(), is_good, "{text}");
        }
        let parsed = HttpUrl::parse("https://[2001:db8::1]/x").unwrap();
        assert_eq!(parsed.address().unwrap().to_string(), "[2001:db8::1]:443");
        assert_eq!((parsed.target.as_str(), parsed.authority.as_str()), ("/x", "[2001:db8::1]"));
        assert_eq!(parsed.endpoint(), "[2001:db8::1]:443");
    }

    #[test]
    fn the_query_is_never_shown() {
        let url = HttpUrl::parse("https://corp.example/p/policy.tar?sv=2024&sig=secret").unwrap();
        assert_eq!(url.target, "/p/policy.tar?sv=2024&sig=secret");
        assert_eq!(url.to_string(), "https://corp.example/p/policy.tar");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
