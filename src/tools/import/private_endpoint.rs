//! Imports a private endpoint's network interface as local zones. The interface lists names and addresses (Microsoft
//! Learn, "Use a workspace with a custom DNS server", 2026-03-26).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use hickory_proto::rr;

use super::suffix::refusal;
use super::{Imported, master_file};
use crate::diagnostics::{Report, Source};
use crate::foreign::{Json, parse};
use crate::policy::rule::{Pattern, Scope};
use crate::util::escape::on_one_line;

const SHAPE: &str = "use the output of `az network nic show` for a private endpoint's network interface: \
                     `ipConfigurations` with `privateIPAddress` and `privateLinkConnectionProperties.fqdns`";

/// Public zones and the private zones that their names are aliases into (Microsoft Learn, "Azure Private Endpoint
/// private DNS zone values", 2026-05-07).
const PRIVATE_LINK: [(&str, &str); 19] = [
    ("api.azureml.ms", "privatelink.api.azureml.ms"),
    ("notebooks.azure.net", "privatelink.notebooks.azure.net"),
    ("blob.core.windows.net", "privatelink.blob.core.windows.net"),
    ("file.core.windows.net", "privatelink.file.core.windows.net"),
    ("dfs.core.windows.net", "privatelink.dfs.core.windows.net"),
    ("table.core.windows.net", "privatelink.table.core.windows.net"),
    ("queue.core.windows.net", "privatelink.queue.core.windows.net"),
    ("vault.azure.net", "privatelink.vaultcore.azure.net"),
    ("azurecr.io", "privatelink.azurecr.io"),
    ("api.ml.azure.us", "privatelink.api.ml.azure.us"),
    ("notebooks.usgovcloudapi.net", "privatelink.notebooks.usgovcloudapi.net"),
    ("blob.core.usgovcloudapi.net", "privatelink.blob.core.usgovcloudapi.net"),
    ("file.core.usgovcloudapi.net", "privatelink.file.core.usgovcloudapi.net"),
    ("azurecr.us", "privatelink.azurecr.us"),
    ("api.ml.azure.cn", "privatelink.api.ml.azure.cn"),
    ("notebooks.chinacloudapi.cn", "privatelink.notebooks.chinacloudapi.cn"),
    ("blob.core.chinacloudapi.cn", "privatelink.blob.core.chinacloudapi.cn"),
    ("file.core.chinacloudapi.cn", "privatelink.file.core.chinacloudapi.cn"),
    ("azurecr.cn", "privatelink.azurecr.cn"),
];
/// Zones of online endpoints, which have one label per region, and the workspace's private zone that they point to.
const INFERENCE: [(&str, &str); 3] = [
    ("inference.ml.azure.com", "privatelink.api.azureml.ms"),
    ("inference.ml.azure.us", "privatelink.api.ml.azure.us"),
    ("inference.ml.azure.cn", "privatelink.api.ml.azure.cn"),
];

/// The addresses of a zone's apex and of all names below it.
#[derive(Default)]
struct Zone {
    own: BTreeSet<IpAddr>,
    below: BTreeSet<IpAddr>,
}

/// Makes a zone for each name, not for its parent, so that other names below the parent are still forwarded.
pub(super) fn import(source: &Source) -> Result<Imported, Report> {
    let value = parse(source)?;
    let names = names(&Json::root(&value, source))?;
    let workspaces: BTreeSet<String> = names.iter().filter_map(|(pattern, _)| workspace(pattern)).collect();
    let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
    let (mut remarks, mut complete) = (Vec::new(), true);
    for (pattern, address) in &names {
        let aliases = aliases(pattern, &workspaces);
        let name = pattern.name().to_string();
        let is_inference = INFERENCE.iter().any(|(public, _)| name.ends_with(&format!(".{public}")));
        if aliases.is_empty()
            && !is_inference
            && (pattern.scope() != Scope::Exact || refusal(pattern).is_some())
        {
            // A local zone answers before any rule, so only Private Link names may cover a whole domain.
            complete = false;
            let message = format!("`{pattern}` is not imported: no known Private Link name covers that much");
            remarks.push(format!("{}: {message}", source.file()));
            continue;
        }
        if aliases.is_empty() {
            remarks
                .push(format!("{}: `{pattern}`: no known Private Link name, imported as is", source.file()));
        }
        for host in std::iter::once(pattern.name().to_string()).chain(aliases) {
            let zone = zones.entry(host).or_default();
            let addresses = if pattern.scope() == Scope::Exact { &mut zone.own } else { &mut zone.below };
            addresses.insert(*address);
        }
    }
    let mut files = Vec::new();
    for (host, zone) in &zones {
        let origin = rr::Name::from_ascii(host).unwrap_or_default();
        files.push(master_file::file(source, &origin, text(host, zone))?);
    }
    Ok(master_file::imported(files, remarks, complete))
}

/// Every name in the file with its address.
fn names(root: &Json<'_>) -> Result<Vec<(Pattern, IpAddr)>, Report> {
    let interfaces = if root.is_array() { root.elements(SHAPE)? } else { vec![root.clone()] };
    let mut names = Vec::new();
    for interface in &interfaces {
        let configurations = match interface.property("ipConfigurations") {
            Some(configurations) => configurations.elements(SHAPE)?,
            // The `--query` in the documentation prints the configurations without the interface around them.
            None if interface.field("FQDNs").is_some() => vec![interface.clone()],
            None => return Err(interface.fault("`ipConfigurations` is missing", SHAPE)),
        };
        for configuration in &configurations {
            let connection = configuration.property("privateLinkConnectionProperties");
            let Some(fqdns) = connection.as_ref().unwrap_or(configuration).field("fqdns") else { continue };
            let address = address(configuration)?;
            for fqdn in fqdns.elements(SHAPE)? {
                names.push((pattern(&fqdn)?, address));
            }
        }
    }
    match names.is_empty() {
        true => Err(root.fault("no configuration has `fqdns`: not a private endpoint's interface", SHAPE)),
        false => Ok(names),
    }
}

fn address(configuration: &Json<'_>) -> Result<IpAddr, Report> {
    let address = ["privateIPAddress", "IPAddress"].iter().find_map(|name| configuration.property(name));
    let address = address.ok_or_else(|| configuration.fault("`privateIPAddress` is missing", SHAPE))?;
    let text = address.text(SHAPE)?;
    text.parse().map_err(|_| address.fault(format!("`{}` is not an IP address", on_one_line(text)), SHAPE))
}

fn pattern(fqdn: &Json<'_>) -> Result<Pattern, Report> {
    let text = fqdn.text(SHAPE)?;
    let help = "write a host name, or `*.` and a host name";
    match Pattern::parse(text) {
        Ok(pattern) if pattern.scope() == Scope::Subtree => {
            Err(fqdn.fault(format!("`{pattern}` is not a host name"), help))
        }
        Ok(pattern) => Ok(pattern),
        Err(error) => Err(fqdn.fault(format!("`{}`: {error}", on_one_line(text)), help)),
    }
}

/// The workspace id in `ID.workspace.REGION.…`.
fn workspace(pattern: &Pattern) -> Option<String> {
    let name = pattern.name().to_string();
    name.split_once(".workspace.").map(|(id, _)| id.to_owned())
}

/// The names in Private Link zones that a name is an alias for.
fn aliases(pattern: &Pattern, workspaces: &BTreeSet<String>) -> Vec<String> {
    let name = pattern.name().to_string();
    let below =
        |zone: &str| name.strip_suffix(zone).and_then(|rest| rest.strip_suffix('.')).map(str::to_owned);
    if let Some((region, private)) =
        INFERENCE.iter().find_map(|(public, private)| Some((below(public)?, private)))
    {
        return match pattern.scope() {
            Scope::Exact => Vec::new(),
            _ => workspaces.iter().map(|id| format!("{id}.inference.{region}.{private}")).collect(),
        };
    }
    let found = PRIVATE_LINK.iter().find_map(|(public, private)| Some((below(public)?, private)));
    found.map(|(rest, private)| format!("{rest}.{private}")).into_iter().collect()
}

fn text(host: &str, zone: &Zone) -> String {
    let mut text = format!("$ORIGIN {host}.\n$TTL 10\n{}", master_file::SOA);
    for (owner, addresses) in [("@", &zone.own), ("*", &zone.below)] {
        for address in addresses {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            let _ = writeln!(text, "{owner} {kind} {address}");
        }
    }
    text
}
