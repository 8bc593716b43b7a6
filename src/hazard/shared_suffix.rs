//! Suffixes of clouds and CDNs below which anyone can create a name: data can leave through a wildcard there.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Each suffix, and what anyone can create below it.
///
/// From the broad rules of the shipped allowlists, the providers' documentation and general knowledge, as of 2026-11. The
/// list is not complete. The Public Suffix List has many of these suffixes, but not those without web pages (storage
/// queues, vaults, databases).
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
    ("vault.usgovcloudapi.net", "key vaults"),
    ("vaultcore.usgovcloudapi.net", "key vaults"),
    ("vault.azure.cn", "key vaults"),
    ("vaultcore.azure.cn", "key vaults"),
    ("managedhsm.azure.net", "managed HSMs"),
    ("managedhsm.usgovcloudapi.net", "managed HSMs"),
    ("azurecr.io", "container registries"),
    ("azurecr.us", "container registries"),
    ("azurecr.cn", "container registries"),
    ("database.windows.net", "SQL databases"),
    ("database.usgovcloudapi.net", "SQL databases"),
    ("database.chinacloudapi.cn", "SQL databases"),
    ("database.fabric.microsoft.com", "SQL databases"),
    ("documents.azure.com", "Cosmos DB accounts"),
    ("documents.azure.us", "Cosmos DB accounts"),
    ("documents.azure.cn", "Cosmos DB accounts"),
    ("mongo.cosmos.azure.com", "Cosmos DB accounts"),
    ("mongocluster.cosmos.azure.com", "Cosmos DB clusters"),
    ("cassandra.cosmos.azure.com", "Cosmos DB accounts"),
    ("gremlin.cosmos.azure.com", "Cosmos DB accounts"),
    ("table.cosmos.azure.com", "Cosmos DB accounts"),
    ("postgres.cosmos.azure.com", "Cosmos DB clusters"),
    ("database.azure.com", "PostgreSQL and MySQL databases"),
    ("database.azure.us", "PostgreSQL and MySQL databases"),
    ("database.azure.cn", "PostgreSQL and MySQL databases"),
    ("redis.cache.windows.net", "Redis caches"),
    ("redis.cache.usgovcloudapi.net", "Redis caches"),
    ("redis.cache.chinacloudapi.cn", "Redis caches"),
    ("redis.azure.net", "Redis caches"),
    ("redisenterprise.cache.azure.net", "Redis caches"),
    ("servicebus.windows.net", "message queues, event hubs and relays"),
    ("servicebus.usgovcloudapi.net", "message queues, event hubs and relays"),
    ("servicebus.chinacloudapi.cn", "message queues, event hubs and relays"),
    ("service.signalr.net", "SignalR services"),
    ("signalr.azure.us", "SignalR services"),
    ("signalr.azure.cn", "SignalR services"),
    ("webpubsub.azure.com", "Web PubSub services"),
    ("communication.azure.com", "communication services"),
    ("logic.azure.com", "workflows that receive requests"),
    ("logic.azure.us", "workflows that receive requests"),
    ("logic.azure.cn", "workflows that receive requests"),
    ("azconfig.io", "app configuration stores"),
    ("azconfig.azure.us", "app configuration stores"),
    ("azconfig.azure.cn", "app configuration stores"),
    ("eventgrid.azure.net", "event topics"),
    ("eventgrid.azure.us", "event topics"),
    ("eventgrid.azure.cn", "event topics"),
    ("search.windows.net", "search services"),
    ("search.azure.us", "search services"),
    ("search.azure.cn", "search services"),
    ("kusto.windows.net", "data explorer clusters"),
    ("kusto.usgovcloudapi.net", "data explorer clusters"),
    ("kusto.chinacloudapi.cn", "data explorer clusters"),
    ("kusto.fabric.microsoft.com", "data explorer clusters"),
    ("asazure.windows.net", "Analysis Services servers"),
    ("ods.opinsights.azure.com", "Log Analytics workspaces"),
    ("oms.opinsights.azure.com", "Log Analytics workspaces"),
    ("ods.opinsights.azure.us", "Log Analytics workspaces"),
    ("oms.opinsights.azure.us", "Log Analytics workspaces"),
    ("ods.opinsights.azure.cn", "Log Analytics workspaces"),
    ("oms.opinsights.azure.cn", "Log Analytics workspaces"),
    ("ingest.monitor.azure.com", "data collection endpoints"),
    ("ingest.privatelink.monitor.azure.com", "data collection endpoints"),
    ("ingest.monitor.azure.us", "data collection endpoints"),
    ("ingest.monitor.azure.cn", "data collection endpoints"),
    ("azure-devices.net", "IoT hubs"),
    ("azure-devices.us", "IoT hubs"),
    ("azure-devices.cn", "IoT hubs"),
    ("azure-devices-provisioning.net", "IoT provisioning services"),
    ("azureiotcentral.com", "IoT applications"),
    ("azure-api.net", "API gateways"),
    ("azure-api.us", "API gateways"),
    ("azure-api.cn", "API gateways"),
    ("azuredatabricks.net", "Databricks workspaces"),
    ("databricks.azure.us", "Databricks workspaces"),
    ("databricks.azure.cn", "Databricks workspaces"),
    ("dev.azuresynapse.net", "Synapse workspaces"),
    ("sql.azuresynapse.net", "Synapse databases"),
    ("batch.azure.com", "Batch accounts"),
    ("batch.usgovcloudapi.net", "Batch accounts"),
    ("batch.chinacloudapi.cn", "Batch accounts"),
    ("openai.azure.com", "model deployments"),
    ("openai.azure.us", "model deployments"),
    ("cognitiveservices.azure.com", "AI services"),
    ("cognitiveservices.azure.us", "AI services"),
    ("cognitiveservices.azure.cn", "AI services"),
    ("services.ai.azure.com", "AI services"),
    ("inference.ml.azure.com", "model endpoints"),
    ("inference.ml.azure.us", "model endpoints"),
    ("inference.ml.azure.cn", "model endpoints"),
    ("models.ai.azure.com", "model deployments"),
    ("onmicrosoft.com", "tenants of Microsoft Entra ID"),
    // Azure: sites, gateways and virtual machines.
    ("azurewebsites.net", "web sites and functions"),
    ("azurewebsites.us", "web sites and functions"),
    ("chinacloudsites.cn", "web sites and functions"),
    ("azurestaticapps.net", "web sites"),
    ("azurecontainerapps.io", "container apps"),
    ("azurecontainer.io", "containers"),
    ("azureedge.net", "CDN endpoints"),
    ("azurefd.net", "Front Door endpoints"),
    ("vo.msecnd.net", "CDN endpoints"),
    ("media.azure.net", "media services"),
    ("trafficmanager.net", "Traffic Manager profiles with any target"),
    ("usgovtrafficmanager.net", "Traffic Manager profiles with any target"),
    ("trafficmanager.cn", "Traffic Manager profiles with any target"),
    ("cloudapp.net", "cloud services"),
    ("cloudapp.azure.com", "virtual machines and load balancers"),
    ("cloudapp.usgovcloudapi.net", "virtual machines and load balancers"),
    ("usgovcloudapp.net", "cloud services"),
    ("cloudapp.chinacloudapi.cn", "virtual machines and load balancers"),
    ("chinacloudapp.cn", "cloud services"),
    ("azmk8s.io", "Kubernetes clusters"),
    ("cx.aks.containerservice.azure.us", "Kubernetes clusters"),
    ("cx.prod.service.azk8s.cn", "Kubernetes clusters"),
    ("azurehdinsight.net", "HDInsight clusters"),
    ("azurehdinsight.us", "HDInsight clusters"),
    ("azurehdinsight.cn", "HDInsight clusters"),
    // Files of packages and extensions: anyone can publish, and the publisher's name is in the host.
    ("anaconda.org", "channels of any account"),
    ("vscode-unpkg.net", "files of any publisher of extensions"),
    ("gallery.vsassets.io", "files of any publisher of extensions"),
    ("gallerycdn.vsassets.io", "files of any publisher of extensions"),
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
    // Sites that show whoever opened them each request or lookup they get.
    ("webhook.site", "requests shown to anyone who opens a page"),
    ("requestbin.com", "requests shown to anyone who opens a page"),
    ("requestbin.net", "requests shown to anyone who opens a page"),
    ("pipedream.net", "requests shown to anyone who opens a page"),
    ("requestcatcher.com", "requests shown to anyone who opens a page"),
    ("beeceptor.com", "requests shown to anyone who opens a page"),
    ("requestrepo.com", "lookups and requests shown to anyone who opens a page"),
    ("dnslog.cn", "lookups shown to anyone who opens a page"),
    ("ceye.io", "lookups shown to anyone with an account"),
    ("oastify.com", "lookups and requests shown to a user of Burp Collaborator"),
    ("burpcollaborator.net", "lookups and requests shown to a user of Burp Collaborator"),
    ("interact.sh", "lookups and requests shown to a user of interactsh"),
    ("interactsh.com", "lookups and requests shown to a user of interactsh"),
    ("oast.fun", "lookups and requests shown to a user of interactsh"),
    ("oast.live", "lookups and requests shown to a user of interactsh"),
    ("oast.me", "lookups and requests shown to a user of interactsh"),
    ("oast.online", "lookups and requests shown to a user of interactsh"),
    ("oast.pro", "lookups and requests shown to a user of interactsh"),
    ("oast.site", "lookups and requests shown to a user of interactsh"),
    // Names that lead to any address.
    ("nip.io", "names for any address"),
    ("sslip.io", "names for any address"),
    ("xip.io", "names for any address"),
    ("traefik.me", "names for any address"),
    // Dynamic DNS.
    ("duckdns.org", "names for any address"),
    ("dyndns.org", "names for any address"),
    ("no-ip.org", "names for any address"),
    ("ddns.net", "names for any address"),
    ("dynu.net", "names for any address"),
    ("afraid.org", "names for any address"),
    // Hosts of files.
    ("dropboxusercontent.com", "files of any account"),
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

    #[test]
    fn broad_rules_of_the_shipped_allowlists_reach_a_row() {
        let mut broad = 0;
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/zones")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let list: toml::Table = toml::from_str(&text).unwrap();
            let rules = list.get("allow").and_then(toml::Value::as_array).into_iter().flatten();
            for rule in rules.filter(|rule| rule.get("broad").and_then(toml::Value::as_bool) == Some(true)) {
                let host = rule["host"].as_str().unwrap();
                broad += 1;
                assert!(touching(Pattern::parse(host).unwrap().name()).is_some(), "{host}");
            }
        }
        assert!(broad > 40, "{broad}");
    }

    /// Rules that are not broad although a row reaches them: only one owner has names below them.
    const ONE_OWNER: [&str; 2] = [
        // Private names of the virtual network.
        ".internal.cloudapp.net",
        // Below one CDN endpoint, which is Microsoft's.
        "*.vscodeexperiments.azureedge.net",
    ];

    #[test]
    fn other_shared_wildcards_are_on_the_page_of_what_strict_allows() {
        let root = env!("CARGO_MANIFEST_DIR");
        let page = std::fs::read_to_string(format!("{root}/docs/broad-rules.md")).unwrap();
        let (_, allowed) = page.split_once("## What strict still allows").unwrap();
        for entry in std::fs::read_dir(format!("{root}/zones")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let list: toml::Table = toml::from_str(&text).unwrap();
            let rules = list.get("allow").and_then(toml::Value::as_array).into_iter().flatten();
            for rule in rules.filter(|rule| rule.get("broad").is_none()) {
                let host = rule["host"].as_str().unwrap();
                let plain = host.replace(['{', '}'], "");
                let is_shared = host.starts_with(['*', '.'])
                    && touching(Pattern::parse(&plain).unwrap().name()).is_some();
                let is_known = ONE_OWNER.contains(&host) || allowed.contains(&format!("`{host}`"));
                assert!(!is_shared || is_known, "{host}");
            }
        }
    }

    #[test]
    fn sinks_and_services_of_other_clouds_are_shared() {
        for name in [
            "x.documents.azure.us",
            "x.database.usgovcloudapi.net",
            "x.vault.azure.cn",
            "x.postgres.cosmos.azure.com",
            "prod-01.westeurope.logic.azure.com",
            "x.service.signalr.net",
            "x.azconfig.io",
            "contoso.onmicrosoft.com",
            "x.webhook.site",
            "x.oastify.com",
            "x.oast.fun",
            "x.interact.sh",
            "10.0.0.1.nip.io",
        ] {
            assert!(shared_suffix(Pattern::parse(name).unwrap().name()).is_some(), "{name}");
        }
    }
}
