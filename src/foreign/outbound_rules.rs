//! Outbound rules of a workspace's managed network: `az ml workspace outbound-rule list`, the REST API's list, or the
//! workspace itself with `managedNetwork.outboundRules`.

use super::json::Json;
use super::{ListEntry, ListPlace, Listing};
use crate::diagnostics::Report;

const SHAPE: &str = "use the output of `az ml workspace outbound-rule list --output json`, or of `az rest` for the \
                     workspace: rules with `type` and `destination`";

/// True for a list of rules, one rule, or a workspace.
pub(super) fn is_shape(root: &Json<'_>) -> bool {
    let is_rule =
        |value: &Json<'_>| value.property("destination").is_some() && value.property("type").is_some();
    match root.items() {
        Some(items) => items.first().is_some_and(is_rule),
        None => {
            is_rule(root)
                || root.property("managedNetwork").is_some()
                || root.field("outboundRules").is_some()
        }
    }
}

pub(super) fn read(root: &Json<'_>) -> Result<Listing, Report> {
    let mut listing = Listing::new("outbound rules of a managed network");
    let rules = match root.property("managedNetwork").unwrap_or_else(|| root.clone()).field("outboundRules") {
        // The REST API has the name of a rule as key, the CLI as field.
        Some(rules) => rules.members().map_or_else(|| rules.elements(SHAPE), Ok)?,
        None if root.property("managedNetwork").is_some() => {
            return Err(root.fault("the managed network has no `outboundRules`", SHAPE));
        }
        None => root.items().unwrap_or_else(|| vec![root.clone()]),
    };
    for rule in rules {
        rule.expect_object(SHAPE)?;
        // `type` beside `properties` is the type of the resource.
        let inner = rule.field("properties").unwrap_or_else(|| rule.clone());
        let kind = inner.required("type", SHAPE)?;
        let place = ListPlace::Path(rule.path().to_owned());
        match kind.text(SHAPE)?.to_ascii_lowercase().replace('_', "").as_str() {
            "fqdn" => {
                let destination = inner.required("destination", SHAPE)?;
                let mut entry =
                    ListEntry::new(destination.text(SHAPE)?, ListPlace::Path(destination.path().to_owned()));
                let category = inner.field("category").map(|category| category.text(SHAPE)).transpose()?;
                entry.purpose =
                    category.map_or_else(String::new, |category| format!("outbound rule ({category})"));
                listing.entries.push(entry);
            }
            "servicetag" => listing.skip(place, "service tag: it stands for addresses, not for names"),
            "privateendpoint" => {
                listing.skip(place, "private endpoint: it stands for a resource, not for a name");
            }
            _ => {
                return Err(kind
                    .fault("unknown type of rule", "supported are fqdn, service_tag and private_endpoint"));
            }
        }
    }
    Ok(listing)
}
