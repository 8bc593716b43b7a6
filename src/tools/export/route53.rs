//! Domain lists and a rule group of AWS Route 53 Resolver DNS Firewall, as a CloudFormation template (Amazon Route 53
//! developer guide, "Route 53 Resolver DNS Firewall", and CloudFormation's reference of `AWS::Route53Resolver`).
//!
//! A domain is a name alone, or `*.` and a name for every name below it.

use serde_json::{Map, Value, json};

use super::fit::{Abilities, fit};
use super::layer::layers;
use super::managed_network::destinations;
use super::{Context, Export, Remark};
use crate::policy::rule::Action;

/// Maximum domains in one list of a template: the limit of a call of `UpdateFirewallDomains`.
const MAX_LIST: usize = 1_000;
/// Maximum rules of a rule group.
const MAX_RULES: usize = 100;
/// Largest template that CloudFormation takes directly, and from a bucket, in bytes.
const MAX_TEMPLATE: usize = 51_200;
const MAX_TEMPLATE_IN_BUCKET: usize = 1_000_000;

pub(super) fn write(context: &Context<'_>) -> Export {
    let mut export = Export::default();
    let layers = layers(&fit(context, Abilities::ALL, &mut export.remarks), false);
    let mut lists: Vec<(Action, Vec<String>)> = Vec::new();
    for layer in &layers {
        let domains: Vec<String> = layer.items.iter().flat_map(destinations).collect();
        lists.extend(domains.chunks(MAX_LIST).map(|domains| (layer.action, domains.to_vec())));
    }
    let mut resources = Map::new();
    let mut rules = Vec::new();
    let mut add = |id: &str, action: &str, domains: &[String]| {
        resources.insert(
            id.to_owned(),
            json!({ "Type": "AWS::Route53Resolver::FirewallDomainList", "Properties": { "Domains": domains } }),
        );
        rules.push(rule(id, action, 100 * (rules.len() + 1)));
    };
    for (index, (action, domains)) in lists.iter().enumerate() {
        let (word, action) = match action {
            Action::Allow => ("Allowed", "ALLOW"),
            Action::Deny => ("Blocked", "BLOCK"),
        };
        add(&format!("{word}Names{}", index + 1), action, domains);
    }
    add("EveryName", "BLOCK", &["*".to_owned()]);
    if rules.len() > MAX_RULES {
        let message = format!("{} rules: a rule group allows at most {MAX_RULES}", rules.len());
        export.remarks.push(Remark::general(message));
    }
    resources.insert(
        "RuleGroup".to_owned(),
        json!({ "Type": "AWS::Route53Resolver::FirewallRuleGroup", "Properties": { "FirewallRules": rules } }),
    );
    resources.insert(
        "Association".to_owned(),
        json!({
            "Type": "AWS::Route53Resolver::FirewallRuleGroupAssociation",
            "Condition": "HasVpc",
            "Properties": {
                "FirewallRuleGroupId": { "Fn::GetAtt": ["RuleGroup", "Id"] },
                "VpcId": { "Ref": "VpcId" },
                "Priority": 500,
            },
        }),
    );
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": context.head("", "route53").trim(),
        "Parameters": {
            "VpcId": {
                "Type": "String",
                "Default": "",
                "Description": "VPC whose queries are filtered; empty: none, the rule group is only made",
            },
        },
        "Conditions": { "HasVpc": { "Fn::Not": [{ "Fn::Equals": [{ "Ref": "VpcId" }, ""] }] } },
        "Resources": Value::from(resources),
        "Outputs": { "RuleGroupId": { "Value": { "Fn::GetAtt": ["RuleGroup", "Id"] } } },
    });
    export.text = format!("{template:#}\n");
    let length = export.text.len();
    if length > MAX_TEMPLATE {
        let message = match length > MAX_TEMPLATE_IN_BUCKET {
            true => format!("{length} bytes: CloudFormation allows at most 1 MB"),
            false => format!(
                "{length} bytes: deploy the template from an S3 bucket (`aws cloudformation deploy --s3-bucket`)"
            ),
        };
        export.remarks.push(Remark::general(message));
    }
    export
}

/// A rule for a list. Like namegate, it decides by the queried name, not by the names that its chain leads to.
fn rule(list: &str, action: &str, priority: usize) -> Value {
    let mut rule = json!({
        "FirewallDomainListId": { "Fn::GetAtt": [list, "Id"] },
        "Priority": priority,
        "Action": action,
        "FirewallDomainRedirectionAction": "TRUST_REDIRECTION_DOMAIN",
    });
    if action == "BLOCK" {
        rule["BlockResponse"] = "NXDOMAIN".into();
    }
    rule
}
