//! [`SubdomainOwner`]: who can create names below one host.

use super::{DomainStanding, shared_suffix, standing};
use crate::wire::name::Name;

/// Who can create names below a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubdomainOwner {
    /// Only the owner of the host, except below these suffixes, where anyone can.
    Same(Vec<Name>),
    /// Anyone: what they create.
    Anyone(&'static str),
}

/// Names of resources below shared suffixes; `*` is one label. The customer who holds such a name holds everything below
/// it. Suffixes are missing whose customers choose names with dots (buckets of Amazon S3, `trafficmanager.net`), or where
/// the label before the suffix may be a region or zone that many customers share (`azurewebsites.net`,
/// `cloudapp.azure.com`).
#[rustfmt::skip]
const RESOURCES: &[&str] = &[
    "*.blob.core.windows.net", "*.file.core.windows.net", "*.dfs.core.windows.net",
    "*.queue.core.windows.net", "*.table.core.windows.net",
    "*.blob.core.usgovcloudapi.net", "*.file.core.usgovcloudapi.net", "*.dfs.core.usgovcloudapi.net",
    "*.queue.core.usgovcloudapi.net", "*.table.core.usgovcloudapi.net",
    "*.blob.core.chinacloudapi.cn", "*.file.core.chinacloudapi.cn", "*.dfs.core.chinacloudapi.cn",
    "*.queue.core.chinacloudapi.cn", "*.table.core.chinacloudapi.cn",
    "*.vault.azure.net", "*.vaultcore.azure.net",
    "*.azurecr.io", "*.azurecr.us", "*.azurecr.cn",
    "*.*.data.azurecr.io", "*.*.data.azurecr.us", "*.*.data.azurecr.cn",
    "*.azureedge.net", "*.*.azurefd.net",
    "*.search.windows.net", "*.documents.azure.com", "*.openai.azure.com", "*.cognitiveservices.azure.com",
    "*.services.ai.azure.com", "*.*.inference.ml.azure.com",
    "*.cloudfront.net", "*.githubusercontent.com", "*.github.io", "*.*.r2.cloudflarestorage.com",
];

/// Who can create names below `host`, which is a host's name and no suffix of others.
pub fn subdomain_owner(host: &Name) -> SubdomainOwner {
    match (shared_suffix(host), standing(host)) {
        (Some(_), _) if is_resource(host) => SubdomainOwner::Same(Vec::new()),
        (Some((_, what)), _) => SubdomainOwner::Anyone(what),
        (None, DomainStanding::Registry) => SubdomainOwner::Anyone("domains"),
        (None, DomainStanding::Provider) => SubdomainOwner::Anyone("names of a provider's customers"),
        (None, DomainStanding::Registered(_)) => {
            SubdomainOwner::Same(shared_suffix::rows_below(host).collect())
        }
    }
}

/// True if the name has the form of a resource's, or of its name behind a private endpoint.
fn is_resource(host: &Name) -> bool {
    let is_private = |label: &[u8]| label == b"privatelink";
    let mut labels: Vec<&[u8]> = host.labels().collect();
    if let Some(index) = labels.iter().skip(1).position(|label| is_private(label)) {
        labels.remove(index + 1);
    }
    let fits = |form: &str| {
        let wanted = form.split('.').collect::<Vec<_>>();
        wanted.len() == labels.len()
            && wanted.iter().zip(&labels).all(|(wanted, label)| match *wanted {
                "*" => !is_private(label) && *label != b"data" && *label != b"scm",
                wanted => wanted.as_bytes() == *label,
            })
    };
    RESOURCES.iter().any(|form| fits(form))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn names_below_a_host_belong_to_its_owner_or_to_anyone() {
        let owner = |text: &str| match subdomain_owner(Pattern::parse(text).unwrap().name()) {
            SubdomainOwner::Anyone(what) => format!("anyone: {what}"),
            SubdomainOwner::Same(except) if except.is_empty() => "same".to_owned(),
            SubdomainOwner::Same(except) => {
                format!("same but {}", except.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
        };
        for (host, expected) in [
            ("pypi.org", "same"),
            ("management.azure.com", "same"),
            ("ml.azure.com", "same but inference.ml.azure.com"),
            ("ai.azure.com", "same but services.ai.azure.com models.ai.azure.com"),
            // A resource's own name, its data endpoint, and its name behind a private endpoint.
            ("contoso.blob.core.windows.net", "same"),
            ("contoso.privatelink.blob.core.windows.net", "same"),
            ("contoso.azurecr.io", "same"),
            ("contoso.westeurope.data.azurecr.io", "same"),
            ("contoso.westeurope.data.privatelink.azurecr.io", "same"),
            ("contoso-a1b2.b02.azurefd.net", "same"),
            ("automlresources-prod.azureedge.net", "same"),
            ("nvidia.github.io", "same"),
            ("bucket.account.r2.cloudflarestorage.com", "same"),
            ("account.r2.cloudflarestorage.com", "anyone: buckets"),
            ("contoso.trafficmanager.net", "anyone: Traffic Manager profiles with any target"),
            // A label between the suffix and its customers' names.
            ("privatelink.blob.core.windows.net", "anyone: storage accounts"),
            ("blob.core.windows.net", "anyone: storage accounts"),
            ("data.azurecr.io", "anyone: container registries"),
            ("westeurope.data.azurecr.io", "anyone: container registries"),
            ("b02.azurefd.net", "anyone: Front Door endpoints"),
            ("westeurope.cloudapp.azure.com", "anyone: virtual machines and load balancers"),
            ("contoso.azurewebsites.net", "anyone: web sites and functions"),
            ("bucket.s3.amazonaws.com", "anyone: buckets, virtual machines and gateways"),
            ("blogspot.com", "anyone: names of a provider's customers"),
            ("co.uk", "anyone: domains"),
        ] {
            assert_eq!(owner(host), expected, "{host}");
        }
    }
}
