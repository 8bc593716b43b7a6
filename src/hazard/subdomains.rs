//! [`SubdomainOwner`]: who can create names below one host.

use super::{DomainStanding, public_resolvers, shared_suffix, shared_suffixes, standing, tunnel};
use crate::wire::name::Name;

/// Who can create names below a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubdomainOwner {
    /// Only the owner of the host, except at and below these names: suffixes below which anyone can, and hosts of public
    /// resolvers and tunnels.
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
    "*.vault.usgovcloudapi.net", "*.vaultcore.usgovcloudapi.net", "*.vault.azure.cn", "*.vaultcore.azure.cn",
    "*.azurecr.io", "*.azurecr.us", "*.azurecr.cn",
    "*.*.data.azurecr.io", "*.*.data.azurecr.us", "*.*.data.azurecr.cn",
    "*.azureedge.net", "*.*.azurefd.net",
    "*.search.windows.net", "*.documents.azure.com", "*.openai.azure.com", "*.cognitiveservices.azure.com",
    "*.services.ai.azure.com", "*.*.inference.ml.azure.com", "*.*.inference.ml.azure.us",
    "*.*.inference.ml.azure.cn", "*.ods.opinsights.azure.com", "*.oms.opinsights.azure.com",
    "*.ingest.monitor.azure.com", "*.*.ingest.monitor.azure.com",
    "*.hcp.*.cx.aks.containerservice.azure.us", "*.hcp.*.cx.prod.service.azk8s.cn",
    "*.tun.*.cx.prod.service.azk8s.cn",
    "*.anaconda.org", "*.vscode-unpkg.net", "*.gallery.vsassets.io", "*.gallerycdn.vsassets.io",
    "*.cloudfront.net", "*.githubusercontent.com", "*.github.io", "*.*.r2.cloudflarestorage.com",
];

/// Who can create names below `host`, which is a host's name and no suffix of others.
pub fn subdomain_owner(host: &Name) -> SubdomainOwner {
    match (shared_suffix(host), standing(host)) {
        (Some(_), _) if is_resource(host) => SubdomainOwner::Same(Vec::new()),
        (Some((_, what)), _) => SubdomainOwner::Anyone(what),
        (None, DomainStanding::Registered(_)) if let Some((_, what)) = tunnel(host, false) => {
            SubdomainOwner::Anyone(what)
        }
        (None, DomainStanding::Registry) => SubdomainOwner::Anyone("domains"),
        (None, DomainStanding::Provider) => SubdomainOwner::Anyone("names of a provider's customers"),
        (None, DomainStanding::Registered(_)) => {
            let mut others: Vec<Name> =
                shared_suffix::rows_below(host).chain(resolvers_below(host)).collect();
            if let Some(suffix) = tunnel_below(host)
                && !others.contains(&suffix)
            {
                others.push(suffix);
            }
            SubdomainOwner::Same(others)
        }
    }
}

/// Shared suffixes and hosts of public resolvers: below another host they are exceptions from what its owner holds.
pub fn names_of_others() -> impl Iterator<Item = Name> {
    shared_suffixes().chain(public_resolvers().map(|(name, _)| name))
}

fn resolvers_below(host: &Name) -> impl Iterator<Item = Name> {
    public_resolvers().map(|(name, _)| name).filter(move |name| name != host && name.is_within(host))
}

/// The suffix of a tunnel service below `name`.
pub fn tunnel_below(name: &Name) -> Option<Name> {
    let (suffix, _) = tunnel(name, true)?;
    let suffix = Name::from_labels(suffix.split('.').map(str::as_bytes)).ok()?;
    Some(suffix).filter(|suffix| suffix != name && suffix.is_within(name))
}

/// True if `name` is a shared suffix, a provider's suffix in the Public Suffix List, or the name of a public resolver or
/// a tunnel service: the owner of a name above it does not hold the names below it, or they lead around an allowlist.
pub fn is_name_of_others(name: &Name) -> bool {
    let is_row = |(suffix, _): (&str, &str)| name.to_string() == suffix;
    shared_suffix(name).is_some_and(is_row)
        || tunnel(name, false).is_some_and(is_row)
        || standing(name) == DomainStanding::Provider
        || public_resolvers().any(|(host, _)| host == *name)
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
            // Public resolvers and tunnels below a host, and hosts of tunnels.
            ("cloudflare.com", "same but dns.cloudflare.com"),
            ("icloud.com", "same but mask.icloud.com mask-h2.icloud.com"),
            ("visualstudio.com", "same but tunnels.api.visualstudio.com"),
            ("cfargotunnel.com", "anyone: Cloudflare tunnels"),
            ("edge.argotunnel.com", "anyone: Cloudflare tunnels"),
            ("ai.azure.com", "same but services.ai.azure.com models.ai.azure.com"),
            // A resource's own name, its data endpoint, and its name behind a private endpoint.
            ("contoso.blob.core.windows.net", "same"),
            ("contoso.privatelink.blob.core.windows.net", "same"),
            ("contoso.azurecr.io", "same"),
            ("contoso.privatelink.vaultcore.usgovcloudapi.net", "same"),
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
