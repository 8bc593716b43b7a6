//! JSON lists: an array of names, domain lists of Azure DNS resolvers (the Azure CLI, REST, PowerShell and ARM templates),
//! and of AWS Route 53 DNS Firewall (the AWS CLI and CloudFormation templates).

use super::json::{self, Json};
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
        add(&mut listing, &root.required("Domains", SHAPE)?, Action::Allow, false)?;
        return Ok(listing);
    }
    let all = root.items().unwrap_or_else(|| vec![root.clone()]);
    let is_names = all.first().is_none_or(Json::is_text);
    // Only Azure's lists need the final dot.
    let is_azure = all.iter().all(|one| one.text(SHAPE).is_ok_and(|text| text.ends_with('.')));
    if is_names && is_azure && root.is_array() {
        let mut listing = Listing::new("domains of an Azure DNS domain list");
        add(&mut listing, &root, Action::Allow, true)?;
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
        add(&mut listing, &domains, Action::Allow, true)?;
    }
    Ok(listing)
}

fn place(element: &Json<'_>) -> ListPlace {
    ListPlace::Path(element.path().to_owned())
}

/// Adds the domains. A domain in an Azure list covers every name below it (Microsoft Learn, "DNS security policy",
/// 2026-08-11).
fn add(listing: &mut Listing, domains: &Json<'_>, action: Action, is_azure: bool) -> Result<(), Report> {
    for domain in domains.elements(SHAPE)? {
        let mut entry = ListEntry { action, ..ListEntry::new(domain.text(SHAPE)?, place(&domain)) };
        match &entry.pattern {
            Ok(pattern) if is_azure && pattern.scope() == Scope::Exact => {
                entry.pattern = Ok(Pattern::new(Scope::Subtree, pattern.name().clone()));
                entry.is_domain = true;
            }
            _ => {}
        }
        listing.entries.push(entry);
    }
    Ok(())
}

/// The lists that rules of the template use. A list of a rule that blocks is denied; a list that no rule uses is skipped,
/// because nothing tells whether it allows.
fn azure_template(root: &Json<'_>) -> Result<Listing, Report> {
    let resources = resources(root)?;
    let mut uses: Vec<(Action, &str)> = Vec::new();
    for (_, rule) in resources.iter().filter(|(kind, _)| kind == AZURE_RULE) {
        let properties = rule.required("properties", SHAPE)?;
        let kind = properties.required("action", SHAPE)?.required("actionType", SHAPE)?;
        let action = match kind.text(SHAPE)?.to_ascii_lowercase().as_str() {
            "allow" => Action::Allow,
            "block" => Action::Deny,
            // It only logs.
            "alert" => continue,
            _ => return Err(kind.fault("unknown action", "supported are Allow, Block and Alert")),
        };
        for list in properties.required("dnsResolverDomainLists", SHAPE)?.elements(SHAPE)? {
            uses.push((action, list.required("id", SHAPE)?.text(SHAPE)?));
        }
    }
    let mut listing = Listing::new("Azure DNS domain lists in an ARM template");
    let lists: Vec<&Json<'_>> =
        resources.iter().filter(|(kind, _)| kind == AZURE_LIST).map(|(_, list)| list).collect();
    if lists.is_empty() {
        return Err(root.fault("the template has no `Microsoft.Network/dnsResolverDomainLists`", SHAPE));
    }
    let has_rules = resources.iter().any(|(kind, _)| kind == AZURE_RULE);
    for list in lists {
        let name = list.required("name", SHAPE)?.text(SHAPE)?;
        let is_used = |id: &str| id.ends_with(&format!("'{name}')]")) || id.ends_with(&format!("/{name}"));
        let action = match uses.iter().find(|(_, id)| is_used(id)) {
            Some((action, _)) => *action,
            None if !has_rules => Action::Allow,
            None => {
                listing.skip(place(list), format!("no rule that allows or blocks uses the list `{name}`"));
                continue;
            }
        };
        let domains = list.property("domains").ok_or_else(|| list.fault("`domains` is missing", SHAPE))?;
        add(&mut listing, &domains, action, true)?;
    }
    Ok(listing)
}

/// The same for a CloudFormation template.
fn aws_template(root: &Json<'_>, resources: &[Json<'_>]) -> Result<Listing, Report> {
    let of_kind = |kind: &'static str| {
        resources.iter().filter(move |resource| {
            resource.field("Type").is_some_and(|found| found.text(SHAPE).is_ok_and(|text| text == kind))
        })
    };
    let mut uses: Vec<(Action, &str)> = Vec::new();
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
            let list = rule.required("FirewallDomainListId", SHAPE)?;
            let name = match (list.field("Ref"), list.field("Fn::GetAtt")) {
                (Some(name), _) => name,
                (None, Some(path)) => path.elements(SHAPE)?.into_iter().next().unwrap_or(list),
                // A list outside the template.
                (None, None) => continue,
            };
            uses.push((action, name.text(SHAPE)?));
        }
    }
    let has_rules = of_kind(AWS_RULES).next().is_some();
    let mut listing = Listing::new("AWS domain lists in a CloudFormation template");
    let mut lists = of_kind(AWS_LIST).peekable();
    if lists.peek().is_none() {
        return Err(root.fault(format!("the template has no `{AWS_LIST}`"), SHAPE));
    }
    for list in lists {
        let name = list.path().rsplit('.').next().unwrap_or_default();
        let action = match uses.iter().find(|(_, used)| *used == name) {
            Some((action, _)) => *action,
            None if !has_rules => Action::Allow,
            None => {
                listing.skip(place(list), format!("no rule that allows or blocks uses the list `{name}`"));
                continue;
            }
        };
        let domains = list.property("Domains").ok_or_else(|| list.fault("`Domains` is missing", SHAPE))?;
        add(&mut listing, &domains, action, false)?;
    }
    Ok(listing)
}
