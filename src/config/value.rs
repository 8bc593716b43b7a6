//! Parsers for the values of settings. Errors have a reason and a hint.

use std::net::SocketAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::address::roots::{Roots, RootsError};
use crate::address::socket::{AddressError, DNS_PORT, parse_socket_address, upstream_socket};
use crate::address::upstream::UpstreamAddress;
use crate::config::limits::{ADMIN_PORT, IDENTITY_BYTES};
use crate::diagnostics::ValueError;
use crate::policy::Mode;
use crate::policy::clients::canonical;
use crate::policy::rule::{Pattern, PatternError, Scope};
use crate::wire::name::{MAX_LABEL, Name};

impl From<AddressError> for ValueError {
    fn from(error: AddressError) -> Self {
        Self { span: None, message: error.message, help: error.help }
    }
}

impl From<PatternError> for ValueError {
    fn from(error: PatternError) -> Self {
        Self { span: Some(error.span), message: error.message, help: error.help }
    }
}

impl From<RootsError> for ValueError {
    fn from(error: RootsError) -> Self {
        Self { span: None, message: error.message, help: Some(error.help) }
    }
}

/// An address to listen on for DNS: `IP:port`; without a port, 53. Port 0 lets the system choose.
pub fn listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    socket_to_bind(text, DNS_PORT)
}

/// The address to listen on for HTTP: `IP:port`; without a port, 9153. An empty text turns it off.
pub fn admin_address(text: &str) -> Result<Option<SocketAddr>, ValueError> {
    if text.is_empty() { Ok(None) } else { socket_to_bind(text, ADMIN_PORT).map(Some) }
}

fn socket_to_bind(text: &str, default_port: u16) -> Result<SocketAddr, ValueError> {
    let address = parse_socket_address(text, default_port)?;
    if address.ip().is_multicast() {
        return Err(ValueError::new(
            "cannot listen on a multicast address",
            "use an address of this machine",
        ));
    }
    Ok(address)
}

/// A plain resolver: `IP:port`; without a port, 53.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, AddressError> {
    upstream_socket(text, DNS_PORT)
}

/// The value that stands for this machine's certificate authorities.
pub(super) const PLATFORM: &str = "platform";

/// `platform`, or a PEM file of certificates, which is read; a relative path starts at `base`.
pub(super) fn roots(text: &str, base: &Path) -> Result<Roots, ValueError> {
    if text == PLATFORM { Ok(Roots::Platform) } else { Ok(Roots::read(&base.join(text))?) }
}

/// The error for a `server` with a host name that no `bootstrap` server can resolve.
pub(crate) fn needs_bootstrap(server: &UpstreamAddress, bootstrap: &[SocketAddr]) -> Option<ValueError> {
    let name = server.host_name().filter(|_| bootstrap.is_empty())?;
    Some(ValueError::new(
        format!("upstream {server}: no bootstrap server to resolve `{name}`"),
        format!(
            "set `upstream.bootstrap`, such as `[\"10.0.0.4\"]`, or write the IP address followed by `#{name}`"
        ),
    ))
}

/// A subnet in CIDR form, or a single address.
pub(super) fn subnet(text: &str) -> Result<IpNet, ValueError> {
    let example = "write a subnet such as `10.0.0.0/8`, or a single address";
    let net: IpNet = match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => parse_socket_address(text, 0)
            .ok()
            .filter(|address| address.port() == 0)
            .map(|address| IpNet::from(address.ip()))
            .ok_or_else(|| ValueError::new(format!("invalid subnet `{text}`"), example))?,
    };
    if net.addr() != net.network() {
        let message = format!("`{text}` has bits set beyond its prefix");
        return Err(ValueError::new(
            message,
            format!("write `{}`, or the address without a prefix", net.trunc()),
        ));
    }
    Ok(canonical(net))
}

/// One of the values of an enumeration.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, ValueError> {
    let deserializer: StrDeserializer<'_, WordError> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|error| ValueError {
        span: None,
        message: error.to_string().replacen("unknown variant", "unknown value", 1),
        help: None,
    })
}

/// `enforce` or `observe`.
impl std::str::FromStr for Mode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        word(text)
    }
}

/// The server's identity, for CHAOS queries: printable ASCII that fits one character-string.
pub(super) fn identity(text: &str) -> Result<String, ValueError> {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match text.len() {
        0..=IDENTITY_BYTES if printable => Ok(text.to_owned()),
        0..=IDENTITY_BYTES => {
            Err(ValueError::new("the identity must be printable ASCII", "use letters, digits and `-`"))
        }
        len => Err(ValueError::new(
            format!("the identity has {len} bytes, too many for a character-string in a TXT record"),
            format!("use at most {IDENTITY_BYTES} bytes"),
        )),
    }
}

/// True for a valid parameter name: `[a-z_]+`.
pub(crate) fn is_parameter_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// A parameter's value: one label of a host name (RFC 1123 section 2.1), folded to lower case.
pub(crate) fn label(text: &str) -> Result<String, ValueError> {
    let help = "write one label of a host name: letters, digits and `-`, such as `mystorage`";
    let message = if text.is_empty() {
        "the value is empty".to_owned()
    } else if text.len() > MAX_LABEL {
        format!("label has {} bytes, at most {MAX_LABEL} are allowed", text.len())
    } else if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-')) {
        format!("invalid character `{}` in label", bad.escape_debug())
    } else if text.starts_with('-') || text.ends_with('-') {
        "a label must not begin or end with `-`".to_owned()
    } else {
        return Ok(text.to_ascii_lowercase());
    };
    Err(ValueError::new(message, help))
}

/// The name of a local zone.
pub(super) fn origin(text: &str) -> Result<Name, ValueError> {
    if text == "." {
        let help = "write the name of the zone, such as `corp.example`";
        return Err(ValueError::new("a local zone at the root would answer every name", help));
    }
    let pattern = Pattern::parse(text)?;
    match pattern.scope() {
        Scope::Exact => Ok(pattern.name().clone()),
        Scope::Below | Scope::Subtree => {
            let help = format!("write `{}`", pattern.name());
            Err(ValueError::new("an origin is a name, not a pattern; it includes all names below", help))
        }
    }
}

/// A name for the self-test.
pub(super) fn canary(text: &str) -> Result<Name, ValueError> {
    let pattern = Pattern::parse(text)?;
    match pattern.scope() {
        Scope::Exact => Ok(pattern.name().clone()),
        Scope::Below | Scope::Subtree => {
            let help = format!("write `{}`; names below it are queried too", pattern.name());
            Err(ValueError::new("expected a name, not a pattern", help))
        }
    }
}

/// A rule written in the settings. Only allowlists can use parameters.
pub(super) fn inline_rule(text: &str) -> Result<Pattern, ValueError> {
    Pattern::parse(text).map_err(|error| {
        let error = ValueError::from(error);
        let help = text
            .contains(['{', '}'])
            .then(|| "write the value itself; only allowlists can use parameters".to_owned());
        ValueError { help: help.or(error.help), ..error }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::allowlist_name::allowlist_name;

    #[test]
    fn reads_addresses_and_subnets() {
        for (text, shown) in [("10.0.0.4", "10.0.0.4:53"), ("0.0.0.0:0", "0.0.0.0:0"), ("::", "[::]:53")] {
            assert_eq!(listen_address(text).unwrap().to_string(), shown);
        }
        assert_eq!(admin_address("127.0.0.1").unwrap().unwrap().to_string(), "127.0.0.1:9153");
        assert_eq!(admin_address("").unwrap(), None);
        for (text, shown) in [("10.0.0.4", "10.0.0.4/32"), ("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128")] {
            assert_eq!(subnet(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn folds_parameter_values() {
        assert_eq!(label("MyStorage-1").unwrap(), "mystorage-1");
    }

    #[test]
    fn refuses_and_helps() {
        let long = "a".repeat(256);
        let refused = [
            (listen_address("localhost:53").map(drop), "host name", "IP address"),
            (listen_address("224.0.0.1").map(drop), "multicast", "this machine"),
            (subnet("10.0.0.1/8").map(drop), "beyond its prefix", "`10.0.0.0/8`"),
            (subnet("10.0.0.0/33").map(drop), "invalid subnet", "10.0.0.0/8"),
            (subnet("10.0.0.1:53").map(drop), "invalid subnet", "10.0.0.0/8"),
            ("enforced".parse::<Mode>().map(drop), "expected `enforce` or `observe`", ""),
            (identity("ü").map(drop), "printable ASCII", "letters"),
            (identity(&long).map(drop), "256 bytes", "at most 255"),
            (allowlist_name("../azure-ml").map(drop), "neither", "`.toml` or `.list`"),
            (allowlist_name("").map(drop), "neither", "`.toml`"),
            (label("").map(drop), "empty", "one label"),
            (label("a.b").map(drop), "invalid character `.`", "one label"),
            (label("*").map(drop), "invalid character `*`", "one label"),
            (label("-a").map(drop), "must not begin or end", "one label"),
            (label(&long).map(drop), "at most 63", "one label"),
            (origin("*.corp.example").map(drop), "an origin is a name", "`corp.example`"),
            (origin("corp example").map(drop), "contains a space", "`corpexample`"),
            (canary("*.example.com").map(drop), "not a pattern", "`example.com`"),
            (inline_rule("{acr}.azurecr.io").map(drop), "invalid character", "only allowlists"),
            (inline_rule("*").map(drop), "would match every name", "policy.mode"),
        ];
        for (index, (result, message, help)) in refused.into_iter().enumerate() {
            let error = result.unwrap_err();
            assert!(error.message.contains(message), "{index}: {error}");
            assert!(error.help.as_deref().unwrap_or_default().contains(help), "{index}: {error}");
        }
    }
}
