//! JSON lists: an array of names, domain lists of Azure DNS resolvers (the Azure CLI, REST, PowerShell and ARM templates),
//! and of AWS Route 53 DNS Firewall (the AWS CLI and CloudFormation templates).

use std::collections::BTreeSet;

use super::json::{self, Json};
use super::order::{Overridden, Rank, add_in_order};
use super::resources::{is_template, resources};
use super::{ListEntry, ListPlace, Listing};
use crate::diagnostics::{Report, Source};
use crate::policy::rule::{Action, Pattern, Scope};

const SHAPE: &str = "use a JSON array of names, an Azure DNS resolver domain list with `domains`, or an AWS domain list \
                     with `Domains`";
const AWS_LIST: &str = "AWS::Route53Resolver::FirewallDomainList";
const AWS_RULES: &str = "AWS::Route53Resolver::FirewallRuleGroup";
const AZURE_LIST: &str = "microsoft.network/dnsresolverdomainlists";
const AZURE_RULE: &str = "microsoft.network/dnsresolverpolicies/dnssecurityrules";
const CONDITION: &str = "deploy the template, and save it again, or write `true` or `false`";
/// PowerShell writes `Domain`.
const DOMAINS: [&str; 2] = ["domains", "domain"];

pub(super) fn read(source: &Source) -> Result<Listing, Report> {
    let value = json::parse(source)?;
    let root = Json::root(&value, source);
    if is_template(&root) {
        return azure_template(&root);
    }
    if let Some(resources) = root.field("Resources").and_then(|resources| resources.members()) {
        return aws_template(&root, &resources);
    }
    if root.keys().any(|key| key == "Domains") && root.field("id").is_none() {
        let mut listing = Listing::new("AWS domain list");
        add(&mut listing, &root.required("Domains", SHAPE)?, false)?;
        return Ok(listing);
    }
    let all = root.items().unwrap_or_else(|| vec![root.clone()]);
    let is_names = all.first().is_none_or(Json::is_text);
    // Only Azure's lists need the final dot.
    let is_azure = all.iter().all(|one| one.text(SHAPE).is_ok_and(|text| text.ends_with('.')));
    if is_names && is_azure && root.is_array() {
        let mut listing = Listing::new("domains of an Azure DNS domain list");
        add(&mut listing, &root, true)?;
        return Ok(listing);
    }
    let mut listing = Listing::new(if is_names { "names in a JSON array" } else { "Azure DNS domain list" });
    for element in all {
        if is_names {
            listing.entries.push(ListEntry::new(element.text(SHAPE)?, place(&element)));
            continue;
        }
        element.expect_object(SHAPE)?;
        let domains =
            element.property_of(&DOMAINS).ok_or_else(|| element.fault("`domains` is missing", SHAPE))?;
        add(&mut listing, &domains, true)?;
    }
    Ok(listing)
}

fn place(element: &Json<'_>) -> ListPlace {
    ListPlace::Path(element.path().to_owned())
}

/// Adds the domains of a list that allows them.
fn add(listing: &mut Listing, domains: &Json<'_>, is_azure: bool) -> Result<(), Report> {
    listing.entries.extend(entries(domains, Action::Allow, is_azure)?);
    Ok(())
}

/// The domains of a list. A domain in an Azure list covers every name below it (Microsoft Learn, "DNS security policy",
/// 2026-08-11).
fn entries(domains: &Json<'_>, action: Action, is_azure: bool) -> Result<Vec<ListEntry>, Report> {
    let mut entries = Vec::new();
    for domain in domains.elements(SHAPE)? {
        let mut entry = ListEntry { action, ..ListEntry::new(domain.text(SHAPE)?, place(&domain)) };
        match &entry.pattern {
            Ok(pattern) if is_azure && pattern.scope() == Scope::Exact => {
                entry.pattern = Ok(Pattern::new(Scope::Subtree, pattern.name().clone()));
                entry.is_domain = true;
            }
            _ => {}
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// A list that a rule uses.
struct ListUse<'v> {
    rank: Rank,
    action: Action,
    /// The list as the rule names it.
    list: Json<'v>,
    name: &'v str,
}

/// A list of the template, with its domains and its name there.
struct NamedList<'v> {
    list: Json<'v>,
    name: &'v str,
    domains: Json<'v>,
}

/// Adds the lists as the rules use them: the rule with the lowest priority decides. Without any rule in the template the
/// lists are allowed. A list that no rule uses is skipped, because nothing tells whether it allows.
fn add_by_rules(
    listing: &mut Listing,
    lists: &[NamedList<'_>],
    rules: Option<&[ListUse<'_>]>,
    is_used: fn(&str, &str) -> bool,
    is_azure: bool,
) -> Result<(), Report> {
    let mut ranked = Vec::new();
    for NamedList { list, name, domains } in lists {
        let deciding = match rules {
            None => Some(((0, 0), Action::Allow)),
            Some(rules) => {
                let used = rules.iter().filter(|rule| is_used(rule.name, name));
                used.map(|rule| (rule.rank, rule.action))
                    .min_by_key(|(rank, action)| (*rank, *action == Action::Allow))
            }
        };
        match deciding {
            Some((rank, action)) => {
                let entries = entries(domains, action, is_azure)?;
                ranked.extend(entries.into_iter().map(|entry| (rank, entry)));
            }
            None => {
                listing.skip(place(list), format!("no rule that allows or blocks uses the list `{name}`"));
            }
        }
    }
    for rule in rules.unwrap_or_default() {
        if !lists.iter().any(|list| is_used(rule.name, list.name)) {
            listing.skip(place(&rule.list), "a rule uses this list, which is not in the template");
        }
    }
    add_in_order(listing, ranked, Overridden::LeaveOut);
    Ok(())
}

/// The priority of a rule: the lowest number decides first.
fn priority(rule: &Json<'_>, name: &str) -> Result<u64, Report> {
    const HELP: &str = "write the number: rules with a lower priority decide first";
    rule.required(name, HELP)?.number(u64::from(u32::MAX), HELP)
}

/// The lists that rules of the template use.
fn azure_template(root: &Json<'_>) -> Result<Listing, Report> {
    const STATE: &str = "supported are Enabled and Disabled";
    let resources = resources(root)?;
    let mut listing = Listing::new("Azure DNS domain lists in an ARM template");
    let mut uses: Vec<ListUse<'_>> = Vec::new();
    let mut policies = BTreeSet::new();
    let mut has_rules = false;
    for (_, rule) in resources.iter().filter(|(kind, _)| kind == AZURE_RULE) {
        has_rules = true;
        let properties = rule.required("properties", SHAPE)?;
        let is_enabled = match properties.field("dnsSecurityRuleState") {
            None => true,
            Some(state) => match state.text(STATE)?.to_ascii_lowercase().as_str() {
                "enabled" => true,
                "disabled" => false,
                _ => return Err(state.fault("unknown state", STATE)),
            },
        };
        let condition = rule.field("condition").map(|condition| condition.flag(CONDITION)).transpose()?;
        if !is_enabled || condition == Some(false) {
            listing.skip(place(rule), "the rule is disabled");
            continue;
        }
        let kind = properties.required("action", SHAPE)?.required("actionType", SHAPE)?;
        let action = match kind.text(SHAPE)?.to_ascii_lowercase().as_str() {
            "allow" => Action::Allow,
            "block" => Action::Deny,
            // It only logs.
            "alert" => continue,
            _ => return Err(kind.fault("unknown action", "supported are Allow, Block and Alert")),
        };
        if let Some(managed) = properties.field("managedDomainLists") {
            listing.skip(place(&managed), "Azure does not publish the domains of its own lists");
        }
        let rank = (0, priority(&properties, "priority")?);
        // A rule within the resource of its policy has a name of its own, otherwise `policy/rule`.
        let path = rule.path().rsplit_once(".resources").map_or("", |(policy, _)| policy);
        let name = rule.field("name").map(|name| name.text(SHAPE)).transpose()?.unwrap_or_default();
        policies.insert(name.rsplit_once('/').map_or(path, |(policy, _)| policy));
        let lists = properties.field("dnsResolverDomainLists");
        if lists.is_none() && properties.field("managedDomainLists").is_some() {
            continue;
        }
        let lists = lists.map_or_else(|| properties.required("dnsResolverDomainLists", SHAPE), Ok)?;
        for list in lists.elements(SHAPE)? {
            let name = list.required("id", SHAPE)?.text(SHAPE)?;
            uses.push(ListUse { rank, action, list, name });
        }
    }
    let mut lists = Vec::new();
    for (_, list) in resources.iter().filter(|(kind, _)| kind == AZURE_LIST) {
        let domains = list.property("domains").ok_or_else(|| list.fault("`domains` is missing", SHAPE))?;
        lists.push(NamedList {
            list: list.clone(),
            name: list.required("name", SHAPE)?.text(SHAPE)?,
            domains,
        });
    }
    if lists.is_empty() {
        return Err(root.fault("the template has no `Microsoft.Network/dnsResolverDomainLists`", SHAPE));
    }
    if policies.len() > 1 {
        return Err(several(root, "DNS resolver policies"));
    }
    let is_used =
        |id: &str, name: &str| id.ends_with(&format!("'{name}')]")) || id.ends_with(&format!("/{name}"));
    add_by_rules(&mut listing, &lists, has_rules.then_some(&uses), is_used, true)?;
    Ok(listing)
}

/// Priorities of different policies cannot be compared.
fn several(root: &Json<'_>, what: &str) -> Report {
    let help =
        "save each of them as a template of its own: a name may be allowed by one and blocked by another";
    root.fault(format!("the template has rules of several {what}"), help)
}

/// The same for a CloudFormation template.
fn aws_template(root: &Json<'_>, resources: &[Json<'_>]) -> Result<Listing, Report> {
    let of_kind = |kind: &'static str| {
        resources.iter().filter(move |resource| {
            resource.field("Type").is_some_and(|found| found.text(SHAPE).is_ok_and(|text| text == kind))
        })
    };
    let mut listing = Listing::new("AWS domain lists in a CloudFormation template");
    let mut uses: Vec<ListUse<'_>> = Vec::new();
    for group in of_kind(AWS_RULES) {
        let rules = group
            .property("FirewallRules")
            .ok_or_else(|| group.fault("`FirewallRules` is missing", SHAPE))?;
        for rule in rules.elements(SHAPE)? {
            let kind = rule.required("Action", SHAPE)?;
            let action = match kind.text(SHAPE)? {
                "ALLOW" => Action::Allow,
                "BLOCK" => Action::Deny,
                "ALERT" => continue,
                _ => return Err(kind.fault("unknown action", "supported are ALLOW, BLOCK and ALERT")),
            };
            let rank = (0, priority(&rule, "Priority")?);
            if let Some(condition) = rule.field("Qtype") {
                let what = "the rule is for one record type only";
                match action {
                    Action::Allow => {
                        listing.skip(place(&condition), what);
                        continue;
                    }
                    // Left out, it would allow that type.
                    Action::Deny => {
                        listing
                            .skip(place(&condition), format!("{what}; its names are denied for every type"));
                    }
                }
            }
            let Some(list) = rule.field("FirewallDomainListId") else {
                listing.skip(place(&rule), "the rule has no domain list");
                continue;
            };
            let name = match (list.field("Ref"), list.field("Fn::GetAtt")) {
                (Some(name), _) => name.text(SHAPE)?,
                (None, Some(path)) if path.is_text() => {
                    path.text(SHAPE)?.split('.').next().unwrap_or_default()
                }
                (None, Some(path)) => match path.elements(SHAPE)?.first() {
                    Some(name) => name.text(SHAPE)?,
                    None => return Err(path.fault("the list has no name", SHAPE)),
                },
                // A list outside the template.
                (None, None) => "",
            };
            uses.push(ListUse { rank, action, list, name });
        }
    }
    let mut lists = Vec::new();
    for list in of_kind(AWS_LIST) {
        let name = list.path().rsplit('.').next().unwrap_or_default();
        let domains = list.property("Domains").ok_or_else(|| list.fault("`Domains` is missing", SHAPE))?;
        lists.push(NamedList { list: list.clone(), name, domains });
    }
    if lists.is_empty() {
        return Err(root.fault(format!("the template has no `{AWS_LIST}`"), SHAPE));
    }
    let groups = of_kind(AWS_RULES).count();
    if groups > 1 {
        return Err(several(root, "rule groups"));
    }
    add_by_rules(&mut listing, &lists, (groups > 0).then_some(&uses), |used, name| used == name, false)?;
    Ok(listing)
}
