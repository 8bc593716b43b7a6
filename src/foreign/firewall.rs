//! Azure Firewall rules: rule collection groups of a firewall policy, or the rules of a classic firewall, from the Azure CLI,
//! the REST API or an ARM template (API version 2025-07-01).

use super::json::{self, Json};
use super::order::{Overridden, Rank, add_in_order};
use super::resources::{is_template, resources};
use super::{EntryFault, ListEntry, ListPlace, Listing};
use crate::allowlist::{Port, Protocol};
use crate::diagnostics::{Report, Source, ValueError};
use crate::policy::rule::Action;

const SHAPE: &str = "use the output of `az network firewall policy rule-collection-group list --output json`, or an ARM \
                     template with `Microsoft.Network/firewallPolicies/ruleCollectionGroups`";
const GROUP: &str = "microsoft.network/firewallpolicies/rulecollectiongroups";
const CLASSIC: &str = "microsoft.network/azurefirewalls";
/// Collections of a classic firewall; those for NAT concern incoming traffic.
const CLASSIC_COLLECTIONS: [&str; 2] = ["applicationRuleCollections", "networkRuleCollections"];

pub(super) fn is_shape(root: &Json<'_>) -> bool {
    if is_template(root) {
        return resources(root)
            .is_ok_and(|all| all.iter().any(|(kind, _)| [GROUP, CLASSIC].contains(&kind.as_str())));
    }
    let one = root.items().map_or_else(|| Some(root.clone()), |items| items.into_iter().next());
    one.is_some_and(|one| {
        one.property("ruleCollections").is_some()
            || one.property_of(&CLASSIC_COLLECTIONS).is_some()
            || one.field("ruleCollectionType").is_some()
    })
}

pub(super) fn read(source: &Source) -> Result<Listing, Report> {
    let value = json::parse(source)?;
    let root = Json::root(&value, source);
    let owners: Vec<Json<'_>> = match is_template(&root) {
        true => resources(&root)?
            .into_iter()
            .filter(|(kind, _)| [GROUP, CLASSIC].contains(&kind.as_str()))
            .map(|(_, resource)| resource)
            .collect(),
        false => root.items().unwrap_or_else(|| vec![root.clone()]),
    };
    let mut listing = Listing::new("Azure Firewall rules");
    let mut found = false;
    let mut ranked = Vec::new();
    for owner in owners {
        owner.expect_object(SHAPE)?;
        let mut collections = Vec::new();
        if owner.field("ruleCollectionType").is_some() {
            collections.push(owner.clone());
        }
        for list in
            ["ruleCollections"].iter().chain(&CLASSIC_COLLECTIONS).filter_map(|name| owner.property(name))
        {
            found = true;
            collections.extend(list.elements(SHAPE)?);
        }
        found |= !collections.is_empty();
        for collection in collections {
            let has_group = owner.property("ruleCollections").is_some();
            let group = if has_group { priority(&owner)? } else { Some(0) };
            let own = priority(&collection)?;
            let before = ranked.len();
            read_collection(&mut listing, &mut ranked, &collection)?;
            for (rank, entry) in &mut ranked[before..] {
                rank.1 = rank_of(entry.action, group, own);
            }
        }
    }
    // Rules may have other ports and sources than the rule that decides first.
    add_in_order(&mut listing, ranked, Overridden::Keep);
    if !found {
        return Err(root.fault("no `ruleCollections`", SHAPE));
    }
    if listing.entries.iter().any(|entry| entry.action == Action::Deny) {
        let note = "the firewall decides by priority and ports; in namegate the most specific rule decides, and deny wins";
        listing.notes.push(note.to_owned());
    }
    Ok(listing)
}

/// The priority of a group or a collection, if it is known.
fn priority(owner: &Json<'_>) -> Result<Option<u64>, Report> {
    match owner.property("priority") {
        // An expression of a template has no value here.
        Some(priority) if !priority.is_text() => {
            priority.number(u64::from(u32::MAX), "write the number: lower ones decide first").map(Some)
        }
        _ => Ok(None),
    }
}

/// The rank by priorities, lower first. Where one is not known, deny decides first: nothing is allowed that the firewall
/// blocks.
fn rank_of(action: Action, group: Option<u64>, own: Option<u64>) -> u64 {
    match (group, own, action) {
        (Some(group), Some(own), _) => group << 32 | own,
        (_, _, Action::Deny) => 0,
        (_, _, Action::Allow) => u64::MAX,
    }
}

fn read_collection(
    listing: &mut Listing,
    ranked: &mut Vec<(Rank, ListEntry)>,
    collection: &Json<'_>,
) -> Result<(), Report> {
    if let Some(kind) = collection.field("ruleCollectionType") {
        match kind.text(SHAPE)? {
            "FirewallPolicyFilterRuleCollection" => {}
            // It concerns incoming traffic.
            "FirewallPolicyNatRuleCollection" => return Ok(()),
            _ => return Err(kind.fault("unknown type of rule collection", SHAPE)),
        }
    }
    let kind = collection.property("action").ok_or_else(|| collection.fault("`action` is missing", SHAPE))?;
    let kind = kind.required("type", SHAPE)?;
    let action = match kind.text(SHAPE)?.to_ascii_lowercase().as_str() {
        "allow" => Action::Allow,
        "deny" => Action::Deny,
        _ => return Err(kind.fault("unknown action", "supported are Allow and Deny")),
    };
    let name = collection.field("name").map(|name| name.text(SHAPE)).transpose()?.unwrap_or_default();
    let rules = collection.property("rules").ok_or_else(|| collection.fault("`rules` is missing", SHAPE))?;
    for rule in rules.elements(SHAPE)? {
        if let Some(kind) = rule.field("ruleType") {
            match kind.text(SHAPE)? {
                "ApplicationRule" | "NetworkRule" => {}
                "NatRule" => continue,
                _ => return Err(kind.fault("unknown type of rule", SHAPE)),
            }
        }
        read_rule(listing, ranked, &rule, action, name)?;
    }
    Ok(())
}

fn read_rule(
    listing: &mut Listing,
    ranked: &mut Vec<(Rank, ListEntry)>,
    rule: &Json<'_>,
    action: Action,
    collection: &str,
) -> Result<(), Report> {
    rule.expect_object(SHAPE)?;
    let name = rule.field("name").map(|name| name.text(SHAPE)).transpose()?.unwrap_or_default();
    let purpose =
        [collection, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let ports = ports(rule)?;
    let mut has_names = false;
    // The firewall evaluates all network rules before any application rule.
    let lists = [(0, "destinationFqdns"), (1, "targetFqdns")];
    for (stage, list) in lists.iter().filter_map(|(stage, field)| Some((*stage, rule.field(field)?))) {
        for fqdn in list.one_or_more(SHAPE)? {
            has_names = true;
            let text = fqdn.text(SHAPE)?;
            let mut entry = ListEntry::new(text, ListPlace::Path(fqdn.path().to_owned()));
            if text.starts_with('[') {
                let help = "deploy the template, and save the group with `az network firewall policy rule-collection-group show`";
                entry.pattern =
                    Err(EntryFault::Invalid(ValueError::new("an expression of an ARM template", help)));
            }
            let entry = ListEntry { action, purpose: purpose.clone(), ports: ports.clone(), ..entry };
            ranked.push(((stage, 0), entry));
        }
    }
    for (field, what) in [
        ("fqdnTags", "FQDN tag: Microsoft does not publish its names"),
        ("webCategories", "web category: it has no list of names"),
        ("targetUrls", "URL: DNS shows no path"),
    ] {
        for tag in rule.field(field).map(|list| list.one_or_more(SHAPE)).transpose()?.unwrap_or_default() {
            has_names = true;
            listing.skip(ListPlace::Path(tag.path().to_owned()), format!("`{}`: {what}", tag.text(SHAPE)?));
        }
    }
    if !has_names {
        listing.skip(
            ListPlace::Path(rule.path().to_owned()),
            "the rule has addresses or service tags, and no names",
        );
    }
    Ok(())
}

/// The ports of a rule. Ranges are left out: an allowlist lists single ports.
fn ports(rule: &Json<'_>) -> Result<Vec<Port>, Report> {
    let list = |field: &str| rule.field(field).map(|list| list.one_or_more(SHAPE)).transpose();
    let mut ports = Vec::new();
    let mut protocols = Vec::new();
    for protocol in
        list("protocols")?.unwrap_or_default().into_iter().chain(list("ipProtocols")?.unwrap_or_default())
    {
        // In application rules a protocol has its port; in network rules it is a word.
        if let Some(port) = protocol.field("port") {
            let number = port.number(u64::from(u16::MAX), SHAPE)?;
            ports.extend(
                u16::try_from(number)
                    .ok()
                    .filter(|number| *number > 0)
                    .map(|number| Port { protocol: Protocol::Tcp, number }),
            );
        } else if protocol.is_text() {
            protocols.extend(match protocol.text(SHAPE)?.to_ascii_lowercase().as_str() {
                "tcp" => Some(Protocol::Tcp),
                "udp" => Some(Protocol::Udp),
                "any" => Some(Protocol::Any),
                _ => None,
            });
        }
    }
    for port in list("destinationPorts")?.unwrap_or_default() {
        if let Ok(number) = port.text(SHAPE)?.parse() {
            ports.extend(
                protocols
                    .iter()
                    .map(|protocol| Port { protocol: *protocol, number })
                    .filter(|port| port.number > 0),
            );
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}
