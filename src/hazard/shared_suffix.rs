//! Suffixes of clouds and content networks below which anyone can take a name: a wildcard there is a way out for data.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Each suffix and what anyone can have below it.
///
/// From the providers' own lists of their services' domains, as of 2026-11; the Public Suffix List has many of them, but
/// not those without web pages (storage queues, vaults, databases).
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
    // Azure: other services that keep or pass on data.
    ("vault.azure.net", "key vaults"),
    ("vaultcore.azure.net", "key vaults"),
    ("managedhsm.azure.net", "key stores"),
    ("azurecr.io", "container registries"),
    ("azurecr.us", "container registries"),
    ("azurecr.cn", "container registries"),
    ("database.windows.net", "SQL databases"),
    ("documents.azure.com", "Cosmos databases"),
    ("database.azure.com", "PostgreSQL and MySQL databases"),
    ("redis.cache.windows.net", "Redis caches"),
    ("servicebus.windows.net", "message queues, event hubs and relays"),
    ("eventgrid.azure.net", "event topics"),
    ("search.windows.net", "search services"),
    ("kusto.windows.net", "data explorer clusters"),
    ("azure-devices.net", "device hubs"),
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
    // Azure: sites, gateways and machines.
    ("azurewebsites.net", "web sites and functions"),
    ("azurewebsites.us", "web sites and functions"),
    ("chinacloudsites.cn", "web sites and functions"),
    ("azurestaticapps.net", "web sites"),
    ("azurecontainerapps.io", "container apps"),
    ("azurecontainer.io", "containers"),
    ("azureedge.net", "content network endpoints"),
    ("azurefd.net", "front doors"),
    ("trafficmanager.net", "traffic profiles that lead anywhere"),
    ("cloudapp.net", "cloud services"),
    ("cloudapp.azure.com", "machines and load balancers"),
    ("azmk8s.io", "Kubernetes clusters"),
    ("azurehdinsight.net", "HDInsight clusters"),
    // Amazon.
    ("amazonaws.com", "buckets, machines and gateways"),
    ("amazonaws.com.cn", "buckets, machines and gateways"),
    ("cloudfront.net", "content network distributions"),
    ("awsglobalaccelerator.com", "accelerators"),
    ("amplifyapp.com", "web sites"),
    ("elasticbeanstalk.com", "web sites"),
    ("on.aws", "functions"),
    // Google.
    ("googleapis.com", "storage buckets and every Google API"),
    ("googleusercontent.com", "machines and user content"),
    ("appspot.com", "web sites"),
    ("run.app", "containers"),
    ("cloudfunctions.net", "functions"),
    ("web.app", "web sites"),
    ("firebaseapp.com", "web sites"),
    ("firebaseio.com", "databases"),
    // Content networks and hosts of sites, files and tunnels.
    ("akamaized.net", "content network endpoints"),
    ("akamaihd.net", "content network endpoints"),
    ("edgekey.net", "content network endpoints"),
    ("edgesuite.net", "content network endpoints"),
    ("fastly.net", "content network endpoints"),
    ("cdn.cloudflare.net", "content network endpoints"),
    ("workers.dev", "functions"),
    ("pages.dev", "web sites"),
    ("r2.dev", "buckets"),
    ("r2.cloudflarestorage.com", "buckets"),
    ("trycloudflare.com", "tunnels"),
    ("b-cdn.net", "content network endpoints"),
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

/// The shared suffix that `name` is at or below, and what anyone can have below it.
pub fn shared_suffix(name: &Name) -> Option<(&'static str, &'static str)> {
    TABLE.at_or_above(name)
}

/// A shared suffix that a wildcard at `name` opens names of: the one it is at or below, or else one below it.
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
