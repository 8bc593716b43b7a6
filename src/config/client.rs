//! [`ClientGroup`]: clients with their own rules, from `[[client]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;
use toml::Spanned;

use crate::config::allowlist_name::is_zone_name;
use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::policy::{PolicySettings, zones};
use crate::config::value;
use crate::config::values::{parameter_lists, plain};
use crate::diagnostics::{Section, ValueError};
use crate::policy::Mode;
use crate::policy::clients::MAX_GROUPS;
use crate::policy::policies::Group;

/// Clients with their own rules. What a group does not set comes from `[policy]` and `[parameters]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClientGroup {
    /// Its name in metric labels and messages.
    pub name: String,
    /// Its subnets; of nested subnets, the longest prefix applies.
    pub subnets: Vec<IpNet>,
    /// Replaces `policy.mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Replaces `policy.zones`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// Replaces `policy.strict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Replaces `policy.allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<InlineRule>>,
    /// Adds to `policy.deny`, which applies to all clients.
    pub deny: Vec<InlineRule>,
    /// Replaces the parameters of the same names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Vec<String>>,
}

impl ClientGroup {
    /// The rules and parameters of this group: its own on top of the general ones.
    pub fn policy(
        &self,
        everyone: &PolicySettings,
        parameters: &BTreeMap<String, Vec<String>>,
    ) -> (PolicySettings, BTreeMap<String, Vec<String>>) {
        let everyone = everyone.clone();
        let deny = everyone.deny.iter().filter(|rule| !self.deny.contains(rule));
        let policy = PolicySettings {
            mode: self.mode.unwrap_or(everyone.mode),
            zones: self.zones.clone().unwrap_or(everyone.zones),
            strict: self.strict.unwrap_or(everyone.strict),
            allow: self.allow.clone().unwrap_or(everyone.allow),
            deny: self.deny.iter().chain(deny).cloned().collect(),
            ..everyone
        };
        let mut parameters = parameters.clone();
        parameters.extend(self.parameters.clone());
        (policy, parameters)
    }
}

/// Reads the tables `[[client]]`. `admitted` is `server.allow_clients`; `policy` has the `zones_directory`.
pub(super) fn client_groups(
    root: &mut Section<'_, '_>,
    admitted: &[IpNet],
    policy: &PolicySettings,
    base: &Path,
) -> Vec<ClientGroup> {
    let mut groups: Vec<ClientGroup> = Vec::new();
    let (mut names, mut claimed) = (BTreeSet::new(), BTreeMap::new());
    for (table, span) in root.sections("client") {
        if groups.len() + 1 == MAX_GROUPS {
            let message = format!("too many client groups, at most {} are allowed", MAX_GROUPS - 1);
            root.faults.error(&span, message, "merge groups that have the same rules".to_owned());
            break;
        }
        let mut section = Section::new("client", table, span.clone(), root.faults);
        let name = section.required("name", group_name);
        let subnets = section.some_required("subnets", "10.1.0.0/16", value::subnet).unwrap_or_default();
        let group = ClientGroup {
            name: name.as_ref().map(|name| name.get_ref().clone()).unwrap_or_default(),
            subnets: Vec::new(),
            mode: section.parsed("mode", value::word).map(Spanned::into_inner),
            zones: zones(&mut section, policy.zones_directory.as_deref(), base).map(plain),
            strict: section.field("strict").map(Spanned::into_inner),
            allow: inline_rules(&mut section, "allow"),
            deny: inline_rules(&mut section, "deny").unwrap_or_default(),
            parameters: parameter_lists(section.section("parameters")),
        };
        section.finish();
        if let Some(name) = &name
            && !names.insert(name.get_ref().clone())
        {
            let message = format!("duplicate client group `{}`", name.get_ref());
            root.faults.error(&name.span(), message, "rename one of the two, or merge them".to_owned());
        }
        for subnet in &subnets {
            claim(root, &mut claimed, subnet, &group.name, admitted);
        }
        groups.push(ClientGroup { subnets: plain(subnets), ..group });
    }
    groups
}

/// Notes that a group has a subnet, and reports conflicts.
fn claim(
    root: &mut Section<'_, '_>,
    claimed: &mut BTreeMap<IpNet, String>,
    subnet: &Spanned<IpNet>,
    group: &str,
    admitted: &[IpNet],
) {
    let net = *subnet.get_ref();
    if let Some(other) = claimed.insert(net, group.to_owned())
        && other != group
    {
        let message = format!("{net} already belongs to client group `{other}`");
        let help = "list it in one group only; of nested subnets, the most specific applies".to_owned();
        root.faults.error(&subnet.span(), message, help);
    }
    if !admitted.iter().any(|admitted| admitted.contains(&net) || net.contains(admitted)) {
        let message = format!("no client in {net} is served: `server.allow_clients` does not include it");
        root.faults.error(&subnet.span(), message, format!("add \"{net}\" to `server.allow_clients`"));
    }
}

/// A group's name, which becomes a metric label.
fn group_name(text: &str) -> Result<String, ValueError> {
    match text {
        Group::DEFAULT => Err(ValueError::new(
            format!("group name `{text}` is reserved for clients without a group"),
            "choose another name",
        )),
        text if is_zone_name(text) && text.len() <= 63 => Ok(text.to_owned()),
        _ => Err(ValueError::new(
            format!("invalid group name `{}`", text.escape_debug()),
            "use up to 63 letters, digits, `-` and `_`",
        )),
    }
}
