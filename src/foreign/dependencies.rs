//! Dependencies of an Azure ML workspace: `outboundNetworkDependenciesEndpoints` (Microsoft Learn, "Configure inbound and
//! outbound network traffic", 2026-03-19; API version 2018-03-01-preview), as the REST API, the Azure CLI, PowerShell and
//! the SDKs write it.

use super::json::{self, Json};
use super::{EntryFault, ListEntry, ListPlace, Listing};
use crate::allowlist::{Dependency, Port, Protocol};
use crate::diagnostics::{Report, Source, ValueError};
use crate::util::escape::on_one_line;

const SHAPE: &str = "use the response of `outboundNetworkDependenciesEndpoints`: `{\"value\": [{\"properties\": \
                     {\"category\": …, \"endpoints\": [{\"domainName\": …, \"endpointDetails\": [{\"port\": 443}]}]}}]}`, \
                     or only its array";
/// The SDKs write `endpoint_details`, PowerShell writes `EndpointDetail`.
const ENDPOINTS: [&str; 2] = ["endpoints", "endpoint"];
const DETAILS: [&str; 2] = ["endpointDetails", "endpointDetail"];
/// The one port that Microsoft lists for UDP. The response names no protocol.
const UDP_PORT: u16 = 5831;

/// Reads the dependencies of a workspace.
///
/// Errors: everything wrong with the file, with JSON paths.
pub fn read(source: &Source) -> Result<Vec<Dependency>, Report> {
    let value = json::parse(source)?;
    let listing = listing(&Json::root(&value, source))?;
    let mut dependencies = Vec::new();
    let mut faults = listing.faults(source);
    for entry in listing.entries {
        match &entry.pattern {
            Ok(pattern) => {
                let ListEntry { purpose: category, ports, place, .. } = entry.clone();
                let place = place.text();
                dependencies.push(Dependency { category, pattern: pattern.clone(), ports, place });
            }
            Err(EntryFault::Everything) => {
                let error = ValueError::new("this would match every name", "remove it from the file");
                faults.push(entry.fault(source, &error));
            }
            Err(EntryFault::Invalid(_)) => {}
        }
    }
    if faults.is_empty() { Ok(dependencies) } else { Err(faults) }
}

/// True if the first group has endpoints.
pub(super) fn is_shape(root: &Json<'_>) -> bool {
    let groups = root.items().unwrap_or_else(|| vec![root.clone()]);
    groups
        .first()
        .is_some_and(|group| group.property_of(&ENDPOINTS).is_some() && group.property("category").is_some())
}

pub(super) fn listing(root: &Json<'_>) -> Result<Listing, Report> {
    let groups = match root.is_array() {
        true => root.elements(SHAPE)?,
        // PowerShell writes a list of one group as that group.
        false if root.field("value").is_none() && root.property_of(&ENDPOINTS).is_some() => {
            vec![root.clone()]
        }
        false => value_of(root)?,
    };
    let mut listing = Listing::new("workspace dependencies");
    let mut faults = Report::default();
    for group in groups {
        match endpoints(&group) {
            Ok((category, endpoints)) => {
                for endpoint in endpoints {
                    match entry(category, &endpoint) {
                        Ok(entry) => listing.entries.push(entry),
                        Err(fault) => faults.append(fault),
                    }
                }
            }
            Err(fault) => faults.append(fault),
        }
    }
    if faults.is_empty() { Ok(listing) } else { Err(faults) }
}

/// The array in the response object. Only `nextLink` may stand next to it, and then the list is incomplete.
fn value_of<'v>(root: &Json<'v>) -> Result<Vec<Json<'v>>, Report> {
    if let Some(content) = root.field("Content").filter(|_| root.field("StatusCode").is_some()) {
        let help = "save only the content: `(Invoke-AzRestMethod …).Content | Out-File -Encoding utf8 FILE`";
        return Err(content.fault("this is an HTTP response of PowerShell", help));
    }
    let list = root.required("value", SHAPE)?;
    if let Some(key) = root.keys().find(|key| !["value", "Count"].contains(key) && !json::is_link(key)) {
        let key = on_one_line(key);
        return Err(root.fault(format!("unexpected field `{key}`"), SHAPE));
    }
    list.elements(SHAPE)
}

fn endpoints<'v>(group: &Json<'v>) -> Result<(&'v str, Vec<Json<'v>>), Report> {
    group.expect_object(SHAPE)?;
    let properties = group.field("properties").unwrap_or_else(|| group.clone());
    let category = properties.required("category", SHAPE)?.text(SHAPE)?;
    let endpoints =
        properties.field_of(&ENDPOINTS).ok_or_else(|| properties.fault("`endpoints` is missing", SHAPE))?;
    Ok((category, endpoints.one_or_more(SHAPE)?))
}

fn entry(category: &str, endpoint: &Json<'_>) -> Result<ListEntry, Report> {
    let domain = endpoint.required("domainName", SHAPE)?;
    let mut entry = ListEntry::new(domain.text(SHAPE)?, ListPlace::Path(domain.path().to_owned()));
    category.clone_into(&mut entry.purpose);
    if let Some(details) = endpoint.field_of(&DETAILS) {
        for detail in details.one_or_more(SHAPE)? {
            entry.ports.extend(port(&detail)?);
        }
    }
    entry.ports.sort_unstable();
    entry.ports.dedup();
    Ok(entry)
}

fn port(detail: &Json<'_>) -> Result<Option<Port>, Report> {
    detail.expect_object(SHAPE)?;
    let help = "use a port from 1 to 65535";
    let Some(port) = detail.field("port") else { return Ok(None) };
    let number = port.number(u64::from(u16::MAX), help)?;
    let number = u16::try_from(number).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| port.fault("0 is not a port", help))?;
    let protocol = match detail.field("protocol") {
        None if number == UDP_PORT => Protocol::Udp,
        None => Protocol::Tcp,
        Some(protocol) => match protocol.text(SHAPE)?.to_ascii_lowercase().as_str() {
            "tcp" | "http" | "https" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "any" | "*" => Protocol::Any,
            _ => return Err(protocol.fault("unknown protocol", "use tcp, udp or any")),
        },
    };
    Ok(Some(Port { protocol, number }))
}
