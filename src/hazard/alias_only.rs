//! Suffixes that only occur within CNAME chains: load balancers and CDNs behind a service's own names.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Known from CNAME chains of Microsoft's services and of package mirrors, as of 2026-11. Not every row has a published
/// source, and the list is not complete. Suffixes that software also queries, such as `azureedge.net` or `cloudfront.net`,
/// are not here.
#[rustfmt::skip]
const ROWS: &[SuffixRow] = &[
    ("trafficmanager.net", "Azure Traffic Manager"),
    ("cloudapp.net", "cloud services behind a name of their own"),
    ("cloudapp.azure.com", "virtual machines and load balancers behind a name of their own"),
    ("a-msedge.net", "Azure Front Door"),
    ("ax-msedge.net", "Azure Front Door"),
    ("b-msedge.net", "Azure Front Door"),
    ("bx-msedge.net", "Azure Front Door"),
    ("e-msedge.net", "Azure Front Door"),
    ("l-msedge.net", "Azure Front Door"),
    ("s-msedge.net", "Azure Front Door"),
    ("t-msedge.net", "Azure Front Door"),
    ("arc-msedge.net", "Azure Front Door"),
    ("arm-msedge.net", "Azure Front Door"),
    ("arm-dc-msedge.net", "Azure Front Door"),
    ("dual-s-msedge.net", "Azure Front Door"),
    ("fb-t-msedge.net", "Azure Front Door"),
    ("mcr-msedge.net", "Azure Front Door, for mcr.microsoft.com"),
    ("msedge.net", "Azure Front Door"),
    ("tm-azurefd.net", "Azure Front Door"),
    ("t-azurefd.net", "Azure Front Door"),
    ("azcr.io", "front ends of Azure Container Registry"),
    ("mscr.io", "front ends of mcr.microsoft.com"),
    ("store.core.windows.net", "clusters of Azure Storage"),
    ("vaultcore.azure.net", "front ends of Azure Key Vault"),
    ("msidentity.com", "front ends of Microsoft Entra ID"),
    ("nsatc.net", "load balancers of Microsoft"),
    ("akadns.net", "Akamai load balancers"),
    ("akamai.net", "Akamai edge servers"),
    ("akamaiedge.net", "Akamai edge servers"),
    ("edgekey.net", "Akamai edge servers"),
    ("edgesuite.net", "Akamai edge servers"),
    ("fastly.net", "Fastly edge servers"),
    ("fastlylb.net", "Fastly load balancers"),
    ("cdn.cloudflare.net", "Cloudflare edge servers"),
    ("pacloudflare.com", "Cloudflare load balancers"),
    ("dns-tm.com", "load balancers"),
    ("azure-dns.com", "name servers of Azure DNS, which only resolvers query"),
    ("azureprivatedns.net", "name servers of Azure private zones, which only resolvers query"),
];

static TABLE: LazyLock<SuffixTable> = LazyLock::new(|| SuffixTable::new(ROWS.iter().copied()));

/// What is at `name`, if software never queries it but meets it in CNAME chains.
pub fn alias_only(name: &Name) -> Option<&'static str> {
    if name.labels().any(|label| label == b"privatelink") {
        return Some("private endpoints behind a public name");
    }
    TABLE.at_or_above(name).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn rows_are_hosts_and_names_are_found_below_them() {
        for (suffix, what) in ROWS {
            assert_eq!(Pattern::parse(suffix).unwrap().to_string(), *suffix);
            assert!(
                !what.is_empty() && ROWS.iter().filter(|(other, _)| other == suffix).count() == 1,
                "{suffix}"
            );
        }
        let found = |text: &str| alias_only(Pattern::parse(text).unwrap().name());
        assert!(found("x.trafficmanager.net").is_some() && found("mine.privatelink.azurecr.io").is_some());
        assert!(found("azureedge.net").is_none() && found("privatelinked.example").is_none());
    }
}
