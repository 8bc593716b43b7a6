//! [`ExportOptions`]: what the user says about the target, read strictly.

use clap::ValueEnum;

use super::discover::Discovery;
use crate::address::encrypted::{EncryptedAddress, EncryptedProtocol};
use crate::address::upstream::UpstreamAddress;

/// What an export depends on besides the policy. Most options are for some targets only.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// Allow more than a rule does if the target cannot express the rule.
    pub widen: bool,
    /// Virtual networks that an Azure DNS security policy filters.
    pub vnets: Vec<VirtualNetworkId>,
    /// Where the CNAME chains of allowed names lead, as a server answered.
    pub discovered: Vec<Discovery>,
    /// The Azure cloud of the managed network.
    pub cloud: Cloud,
    /// Apply a Kubernetes policy to the pods of these namespaces; empty: of all but `kube-system`.
    pub namespaces: Vec<Namespace>,
    /// Encrypted servers that devices query.
    pub resolvers: Vec<EncryptedAddress>,
}

/// An Azure cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Cloud {
    /// Azure
    #[default]
    Public,
    /// Azure Government
    Government,
    /// Azure China (21Vianet)
    China,
}

/// Why an option's value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(String);

/// The resource ID of a virtual network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualNetworkId(String);

impl VirtualNetworkId {
    /// The ID as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl std::str::FromStr for VirtualNetworkId {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let form = [
            "subscriptions",
            "",
            "resourceGroups",
            "",
            "providers",
            "Microsoft.Network",
            "virtualNetworks",
            "",
        ];
        let parts: Vec<&str> = text.split('/').collect();
        let fits = |(wanted, part): (&&str, &&str)| match *wanted {
            "" => !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "-_.()".contains(c)),
            wanted => wanted.eq_ignore_ascii_case(part),
        };
        match parts.split_first() {
            Some((&"", parts)) if parts.len() == form.len() && form.iter().zip(parts).all(fits) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(OptionError(
                "write the resource ID of a virtual network: \
                 /subscriptions/ID/resourceGroups/RG/providers/Microsoft.Network/virtualNetworks/NAME"
                    .to_owned(),
            )),
        }
    }
}

/// A Kubernetes namespace (RFC 1123 label).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(String);

impl Namespace {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The namespace of the cluster's DNS servers.
pub(super) const DNS_NAMESPACE: &str = "kube-system";

impl std::str::FromStr for Namespace {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let is_label = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        match text {
            DNS_NAMESPACE => Err(OptionError(
                "the policy would cut the cluster's DNS servers off from their upstreams: name the namespaces of your \
                 workloads"
                    .to_owned(),
            )),
            _ if is_label => Ok(Self(text.to_owned())),
            _ => Err(OptionError("write a namespace, such as `training`".to_owned())),
        }
    }
}

/// Reads an encrypted server that ZTDNS supports: TLS or HTTPS, by address.
pub fn device_resolver(text: &str) -> Result<EncryptedAddress, OptionError> {
    let form = "write an encrypted server by its address: tls://10.0.0.4#dns.example or https://10.0.0.4/dns-query#dns.example";
    match text.parse::<UpstreamAddress>() {
        Err(error) => Err(OptionError(format!("{error}; {form}"))),
        Ok(UpstreamAddress::Encrypted(address)) if is_supported(&address) => Ok(address),
        Ok(_) => Err(OptionError(form.to_owned())),
    }
}

fn is_supported(address: &EncryptedAddress) -> bool {
    address.host.socket().is_some() && address.protocol != EncryptedProtocol::Quic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_other_shapes_are_refused() {
        let network = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/hub";
        for (text, is_read) in [
            (network.to_owned(), true),
            (network.to_uppercase(), true),
            (format!("{network}/subnets/default"), false),
            (network[1..].to_owned(), false),
            (format!("{network}'"), false),
            (network.replace("/rg/", "//"), false),
            (network.replace("virtualNetworks", "networkInterfaces"), false),
            (String::new(), false),
        ] {
            assert_eq!(text.parse::<VirtualNetworkId>().is_ok(), is_read, "{text}");
        }
        for (text, is_read) in [
            ("training", true),
            ("a-1", true),
            ("kube-system", false),
            ("-a", false),
            ("A", false),
            ("a.b", false),
        ] {
            assert_eq!(text.parse::<Namespace>().is_ok(), is_read, "{text}");
        }
        for (text, is_read) in [
            ("tls://10.0.0.4#dns.example", true),
            ("https://10.0.0.4/dns-query#dns.example", true),
            ("tls://10.0.0.4", true),
            ("tls://dns.example", false),
            ("quic://10.0.0.4#dns.example", false),
            ("10.0.0.4", false),
            ("tls://", false),
        ] {
            assert_eq!(device_resolver(text).is_ok(), is_read, "{text}");
        }
    }
}
