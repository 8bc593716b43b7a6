//! Suffixes of clouds and CDNs below which anyone can create a name: data can leave through a wildcard there.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Each suffix, and what anyone can create below it.
///
/// From the providers' lists of service domains, as of 2026-11. The Public Suffix List has many of them, but not those
/// without web pages (storage queues, vaults, databases).
#[rustfmt::skip]
const ROWS: &[SuffixRow] = &[
    // Azure: storage, public cloud, Government, 21Vianet.
    ("blob.core.windows.net", "storage accounts"),
    ("file.core.windows.net", "storage accounts"),
    ("dfs.core.windows.net", "storage accounts"),
    ("queue.core.windows.net", "storage accounts"),
    ("table.core.windows.net", "storage accounts"),
    ("web.core.windows.net", "static sites in storage accounts"),
    ("storage.azure.net", "storage accounts in DNS zones"),
    ("core.usgovcloudapi.net", "storage accounts"),
    ("core.chinacloudapi.cn", "storage accounts"),
    // Azure: other services that store or forward data.
    ("vault.azure.net", "key vaults"),
    ("vaultcore.azure.net", "key vaults"),
    ("managedhsm.azure.net", "managed HSMs"),
    ("azurecr.io", "container registries"),
    ("azurecr.us", "container registries"),
    ("azurecr.cn", "container registries"),
    ("database.windows.net", "SQL databases"),
    ("documents.azure.com", "Cosmos DB accounts"),
    ("database.azure.com", "PostgreSQL and MySQL databases"),
    ("redis.cache.windows.net", "Redis caches"),
    ("servicebus.windows.net", "message queues, event hubs and relays"),
    ("eventgrid.azure.net", "event topics"),
    ("search.windows.net", "search services"),
    ("kusto.windows.net", "data explorer clusters"),
    ("azure-devices.net", "IoT hubs"),
    ("azure-api.net", "API gateways"),
    ("azuredatabricks.net", "Databricks workspaces"),
    ("dev.azuresynapse.net", "Synapse workspaces"),
    ("sql.azuresynapse.net", "Synapse databases"),
    ("batch.azure.com", "Batch accounts"),
    ("openai.azure.com", "model deployments"),
    ("cognitiveservices.azure.com", "AI services"),
    ("services.ai.azure.com", "AI services"),
    ("inference.ml.azure.com", "model endpoints"),
    ("models.ai.azure.com", "model deployments"),
    // Azure: sites, gateways and virtual machines.
    ("azurewebsites.net", "web sites and functions"),
    ("azurewebsites.us", "web sites and functions"),
    ("chinacloudsites.cn", "web sites and functions"),
    ("azurestaticapps.net", "web sites"),
    ("azurecontainerapps.io", "container apps"),
    ("azurecontainer.io", "containers"),
    ("azureedge.net", "CDN endpoints"),
    ("azurefd.net", "Front Door endpoints"),
    ("trafficmanager.net", "Traffic Manager profiles with any target"),
    ("cloudapp.net", "cloud services"),
    ("cloudapp.azure.com", "virtual machines and load balancers"),
    ("azmk8s.io", "Kubernetes clusters"),
    ("azurehdinsight.net", "HDInsight clusters"),
    // Amazon.
    ("amazonaws.com", "buckets, virtual machines and gateways"),
    ("amazonaws.com.cn", "buckets, virtual machines and gateways"),
    ("cloudfront.net", "CDN distributions"),
    ("awsglobalaccelerator.com", "accelerators"),
    ("amplifyapp.com", "web sites"),
    ("elasticbeanstalk.com", "web sites"),
    ("on.aws", "functions"),
    // Google.
    ("googleapis.com", "storage buckets and every Google API"),
    ("googleusercontent.com", "virtual machines and user content"),
    ("appspot.com", "web sites"),
    ("run.app", "containers"),
    ("cloudfunctions.net", "functions"),
    ("web.app", "web sites"),
    ("firebaseapp.com", "web sites"),
    ("firebaseio.com", "databases"),
    // CDNs, and hosts of sites, files and tunnels.
    ("akamaized.net", "CDN endpoints"),
    ("akamaihd.net", "CDN endpoints"),
    ("edgekey.net", "CDN endpoints"),
    ("edgesuite.net", "CDN endpoints"),
    ("fastly.net", "CDN endpoints"),
    ("cdn.cloudflare.net", "CDN endpoints"),
    ("workers.dev", "functions"),
    ("pages.dev", "web sites"),
    ("r2.dev", "buckets"),
    ("r2.cloudflarestorage.com", "buckets"),
    ("trycloudflare.com", "tunnels"),
    ("b-cdn.net", "CDN endpoints"),
    ("digitaloceanspaces.com", "buckets"),
    ("ondigitalocean.app", "web sites"),
    ("backblazeb2.com", "buckets"),
    ("wasabisys.com", "buckets"),
    ("github.io", "web sites"),
    ("githubusercontent.com", "files of any repository"),
    ("gitlab.io", "web sites"),
    ("netlify.app", "web sites"),
    ("vercel.app", "web sites"),
    ("herokuapp.com", "web sites"),
    ("onrender.com", "web sites"),
    ("fly.dev", "web sites"),
    ("hf.space", "web sites"),
    ("ngrok.io", "tunnels"),
    ("ngrok.app", "tunnels"),
    ("ngrok-free.app", "tunnels"),
    ("devtunnels.ms", "tunnels"),
    ("sharepoint.com", "files of any company"),
];

static TABLE: LazyLock<SuffixTable> = LazyLock::new(|| SuffixTable::new(ROWS.iter().copied()));

/// The shared suffix at or above `name`, and what anyone can create below it.
pub fn shared_suffix(name: &Name) -> Option<(&'static str, &'static str)> {
    TABLE.at_or_above(name)
}

/// The names of all shared suffixes.
pub fn shared_suffixes() -> impl Iterator<Item = Name> {
    ROWS.iter().filter_map(|(suffix, _)| Name::from_labels(suffix.split('.').map(str::as_bytes)).ok())
}

/// The shared suffixes below `name`.
pub(super) fn rows_below(name: &Name) -> impl Iterator<Item = Name> {
    shared_suffixes().filter(move |suffix| suffix != name && suffix.is_within(name))
}

/// A shared suffix whose names a wildcard at `name` allows: one at or above `name`, else one below it.
pub(super) fn touching(name: &Name) -> Option<SuffixRow> {
    TABLE.at_or_above(name).or_else(|| TABLE.below(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn every_row_is_a_host_below_a_registry() {
        for (suffix, what) in ROWS {
            let pattern = Pattern::parse(suffix).unwrap();
            assert_eq!(pattern.to_string(), *suffix);
            assert!(pattern.name().labels().count() >= 2 && !what.is_empty(), "{suffix}");
            assert_eq!(ROWS.iter().filter(|(other, _)| other == suffix).count(), 1, "{suffix}");
        }
    }
}
