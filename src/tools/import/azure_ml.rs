//! Imports the dependencies of an Azure ML workspace: `outboundNetworkDependenciesEndpoints` (Microsoft Learn,
//! "Configure inbound and outbound network traffic", 2026-03-19; API version 2018-03-01-preview).

use super::draft::{Candidate, Draft};
use super::json::{self, Json};
use super::{ImportOptions, Imported};
use crate::allowlist::{Dependency, Port, Protocol};
use crate::diagnostics::{Report, Source};
use crate::policy::rule::{Action, Pattern};
use crate::util::escape::on_one_line;

const SHAPE: &str = "use the response of `outboundNetworkDependenciesEndpoints`: `{\"value\": [{\"properties\": \
                     {\"category\": …, \"endpoints\": [{\"domainName\": …, \"endpointDetails\": [{\"port\": 443}]}]}}]}`, \
                     or only its array";

/// Reads the dependencies of a workspace.
///
/// Errors: everything wrong with the file, with JSON paths.
pub fn read(source: &Source) -> Result<Vec<Dependency>, Report> {
    let value = json::parse(source)?;
    let root = Json::root(&value, source);
    let list = if root.is_array() { root } else { value_of(&root)? };
    let mut dependencies = Vec::new();
    let mut faults = Report::default();
    for group in list.elements(SHAPE)? {
        match endpoints(&group) {
            Ok((category, endpoints)) => {
                for endpoint in endpoints {
                    match dependency(category, &endpoint) {
                        Ok(dependency) => dependencies.push(dependency),
                        Err(fault) => faults.append(fault),
                    }
                }
            }
            Err(fault) => faults.append(fault),
        }
    }
    if faults.is_empty() { Ok(dependencies) } else { Err(faults) }
}

/// The array in the response object. Only `nextLink` may stand next to it, and then the list is incomplete.
fn value_of<'v>(root: &Json<'v>) -> Result<Json<'v>, Report> {
    let list = root.required("value", SHAPE)?;
    if let Some(key) = root.keys().find(|key| !["value", "nextLink"].contains(key)) {
        let key = on_one_line(key);
        return Err(root.fault(format!("unexpected field `{key}`"), SHAPE));
    }
    match root.field("nextLink") {
        Some(next) => Err(next.fault("the list continues on another page", "join all pages into one array")),
        None => Ok(list),
    }
}

fn endpoints<'v>(group: &Json<'v>) -> Result<(&'v str, Vec<Json<'v>>), Report> {
    let properties = group.required("properties", SHAPE)?;
    let category = properties.required("category", SHAPE)?.text(SHAPE)?;
    Ok((category, properties.required("endpoints", SHAPE)?.elements(SHAPE)?))
}

fn dependency(category: &str, endpoint: &Json<'_>) -> Result<Dependency, Report> {
    let domain = endpoint.required("domainName", SHAPE)?;
    let text = domain.text(SHAPE)?;
    let pattern = Pattern::parse(text).map_err(|error| {
        let help =
            error.help.clone().unwrap_or_else(|| "write a host name, or `*.` and a host name".to_owned());
        domain.fault(format!("`{}`: {error}", on_one_line(text)), &help)
    })?;
    let mut ports = Vec::new();
    if let Some(details) = endpoint.field("endpointDetails") {
        for detail in details.elements(SHAPE)? {
            ports.extend(port(&detail)?);
        }
    }
    ports.sort_unstable();
    ports.dedup();
    let place = domain.path().to_owned();
    Ok(Dependency { category: category.to_owned(), pattern, ports, place })
}

fn port(detail: &Json<'_>) -> Result<Option<Port>, Report> {
    let help = "use a port from 1 to 65535";
    let Some(port) = detail.field("port") else { return Ok(None) };
    let number = port.number(u64::from(u16::MAX), help)?;
    let number = u16::try_from(number).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| port.fault("0 is not a port", help))?;
    let protocol = match detail.field("protocol") {
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

pub(super) fn import(source: &Source, options: ImportOptions) -> Result<Imported, Report> {
    let mut draft = Draft::new(options);
    for dependency in read(source)? {
        draft.add(Candidate {
            action: Action::Allow,
            pattern: dependency.pattern,
            place: format!("{}: {}", source.file(), dependency.place),
            purpose: dependency.category,
            ports: dependency.ports,
        });
    }
    let origin = format!("outboundNetworkDependenciesEndpoints, from {}", source.file());
    draft.finish("Azure Machine Learning workspace dependencies", &origin, source.file())
}
