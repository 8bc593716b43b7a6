//! [`plan`]: the allowlists and values of parameters for a workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use clap::ValueEnum;
use toml::value::Date;

use super::needs::{below, covers, is_plain_cover, shipped, touches, values};
use super::{AzureCloud, InitRequest};
use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::{self, Allowlist, Dependency};
use crate::config::{PolicySettings, label};
use crate::diagnostics::Report;
use crate::hazard::{DomainStanding, public_resolver, shared_suffix, standing, tunnel};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Compile, Mode, Policy, PolicyBuilder};
use crate::util::escape::on_one_line;
use crate::wire::name::Name;

/// Names that must resolve, in the settings written.
const CANARIES: usize = 3;

/// The settings to write.
#[derive(Clone, Debug)]
pub struct SettingsPlan {
    /// The cloud of the workspace.
    pub cloud: AzureCloud,
    /// Allowlists to use.
    pub zones: Vec<Allowlist>,
    /// The other shipped allowlists, without those of other clouds.
    pub others: Vec<Allowlist>,
    /// Values of parameters.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Needed hosts that no shipped allowlist has, sorted by name.
    pub allow: Vec<Dependency>,
    /// Needed hosts that no shipped allowlist has and that may do harm, sorted by name. They stay blocked.
    pub doubtful: Vec<DoubtfulHost>,
    /// Needed wildcards that no rule covers, sorted by name. They stay blocked.
    pub wildcards: Vec<Dependency>,
    /// Needed names that must resolve.
    pub must_resolve: Vec<Pattern>,
    /// Leave out rules that also allow names of other tenants.
    pub strict: bool,
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Where the request comes from.
    pub origin: String,
    /// The date.
    pub today: Date,
}

/// A needed host that is not allowed without the user's decision.
#[derive(Clone, Debug)]
pub struct DoubtfulHost {
    /// The host.
    pub host: Dependency,
    /// What is wrong with it, after "it is".
    pub doubt: String,
}

/// Why no settings can be written.
#[derive(Debug)]
pub enum InitError {
    /// A resource of the user is not one label: option, value, and what is wrong.
    Value(String, String, String),
    /// The allowlist of the cloud has no such parameter.
    NoParameter(String, &'static str),
    /// A shipped allowlist has errors with these values.
    Allowlists(Report),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(option, value, fault) => {
                let (option, value) = (option.replace('_', "-"), on_one_line(value));
                let first = value.split_once('.').map(|(first, _)| first).filter(|first| !first.is_empty());
                let help = match (&*option, first) {
                    (_, Some(first)) => format!("write only the name: `--{option} {first}`"),
                    ("region", None) => "write the region without spaces: `--region westeurope`".to_owned(),
                    _ => "write the name of the resource: letters, digits and `-`".to_owned(),
                };
                write!(f, "error: --{option} `{value}`: {fault}\n  help: {help}")
            }
            Self::NoParameter(option, allowlist) => {
                let option = option.replace('_', "-");
                write!(
                    f,
                    "error: --{option}: allowlist `{allowlist}` has no such parameter\n  help: leave it out"
                )
            }
            Self::Allowlists(report) => report.render(false).fmt(f),
        }
    }
}

impl std::error::Error for InitError {}

/// Chooses allowlists and values for `request`.
///
/// Errors: a value is not one label, or the allowlist of the cloud has no such parameter.
pub fn plan(request: InitRequest) -> Result<SettingsPlan, InitError> {
    let InitRequest { cloud, resources, dependencies, strict, listen, origin, today } = request;
    let mut unused = shipped();
    let cloud = cloud.unwrap_or_else(|| likely_cloud(&unused, &dependencies));
    let mut zones = Vec::new();
    let is_other_cloud = |name: &str| {
        AzureCloud::value_variants().iter().any(|other| *other != cloud && other.allowlist() == name)
    };
    unused.retain(|list| !is_other_cloud(&list.name));
    let usual = PolicySettings::default().zones;
    let usual = usual.iter().map(String::as_str).filter(|name| !is_other_cloud(name));
    for name in [cloud.allowlist()].into_iter().chain(usual) {
        take(&mut unused, &mut zones, |list| list.name == name);
    }
    let mut parameters = given(&resources, &zones, cloud)?;
    for Dependency { pattern, .. } in &dependencies {
        if !has_exactly(&unused, pattern) {
            add_values(pattern, &zones, &mut parameters);
        }
    }
    let mut policy = compile(&zones, &parameters, strict)?;
    for Dependency { pattern, .. } in &dependencies {
        if is_allowed(pattern, &policy) {
            continue;
        }
        // The allowlist with fewest rules opens least.
        let has = |list: &Allowlist| {
            list.rules.iter().any(|rule| is_plain_cover(rule, pattern) || values(rule, pattern).is_some())
        };
        let smallest = unused.iter().filter(|list| has(list)).min_by_key(|list| list.count);
        let smallest = smallest.map(|list| list.name.clone());
        if let Some(name) = smallest {
            take(&mut unused, &mut zones, |list| list.name == name);
        }
        add_values(pattern, &zones, &mut parameters);
        policy = compile(&zones, &parameters, strict)?;
    }
    let mut blocked: Vec<Dependency> = Vec::new();
    for dependency in &dependencies {
        let is_new = blocked.iter().all(|known| known.pattern != dependency.pattern);
        if is_new && !is_allowed(&dependency.pattern, &policy) {
            blocked.push(dependency.clone());
        }
    }
    blocked.sort_by_cached_key(|dependency| dependency.pattern.to_string());
    let (hosts, wildcards): (Vec<_>, Vec<_>) =
        blocked.into_iter().partition(|one| one.pattern.scope() == Scope::Exact);
    let (mut allow, mut doubtful) = (Vec::new(), Vec::new());
    for host in hosts {
        match doubt(host.pattern.name()) {
            Some(doubt) => doubtful.push(DoubtfulHost { host, doubt }),
            None => allow.push(host),
        }
    }
    let must_resolve = must_resolve(&dependencies, zones.get(..1).unwrap_or_default());
    let others = unused;
    Ok(SettingsPlan {
        cloud,
        zones,
        others,
        parameters,
        allow,
        doubtful,
        wildcards,
        must_resolve,
        strict,
        listen,
        origin,
        today,
    })
}

/// Why a needed host may do harm, if it may. The list of hosts comes from outside: anyone who can write into the file could
/// otherwise open the network.
fn doubt(name: &Name) -> Option<String> {
    if let Some(operator) = public_resolver(name) {
        return Some(format!("a public resolver, through which clients bypass namegate ({operator})"));
    }
    if let Some((_, what)) = tunnel(name, false) {
        return Some(format!("part of a service that can carry any traffic ({what})"));
    }
    if !matches!(standing(name), DomainStanding::Registered(_)) {
        return Some("a public suffix or a single label, not a host".to_owned());
    }
    if let Some((suffix, what)) = shared_suffix(name) {
        return Some(format!("below {suffix}, where anyone can create names ({what})"));
    }
    let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let has_others = !name.labels().all(|label| label.iter().all(is_usual));
    has_others.then(|| "a name with characters that hosts do not have".to_owned())
}

/// The cloud whose allowlist has most of the needed hosts; the public one if there are none.
fn likely_cloud(lists: &[Allowlist], dependencies: &[Dependency]) -> AzureCloud {
    let covered = |cloud: &AzureCloud| {
        let list = lists.iter().find(|list| list.name == cloud.allowlist());
        let has =
            |needed: &Pattern| list.is_some_and(|list| list.rules.iter().any(|rule| touches(rule, needed)));
        dependencies.iter().filter(|dependency| has(&dependency.pattern)).count()
    };
    // The last of equals wins, so the public cloud comes last.
    let clouds = AzureCloud::value_variants().iter().rev();
    clouds.max_by_key(|cloud| covered(cloud)).copied().unwrap_or(AzureCloud::Public)
}

fn take(from: &mut Vec<Allowlist>, to: &mut Vec<Allowlist>, is_wanted: impl Fn(&Allowlist) -> bool) {
    if let Some(place) = from.iter().position(is_wanted) {
        to.push(from.remove(place));
    }
}

/// The user's resources under the names that the cloud's allowlist gives these parameters: `storage`, `gov_storage`.
fn given(
    resources: &BTreeMap<&'static str, Vec<String>>,
    zones: &[Allowlist],
    cloud: AzureCloud,
) -> Result<BTreeMap<String, Vec<String>>, InitError> {
    let known: BTreeSet<&String> =
        zones.iter().take(1).flat_map(|list| &list.rules).flat_map(|rule| &rule.missing).collect();
    let mut parameters = BTreeMap::new();
    for (resource, wanted) in resources.iter().filter(|(_, wanted)| !wanted.is_empty()) {
        let suffix = format!("_{resource}");
        let parameter = known.iter().find(|name| name.as_str() == *resource || name.ends_with(&suffix));
        let parameter =
            parameter.ok_or_else(|| InitError::NoParameter((*resource).to_owned(), cloud.allowlist()))?;
        let mut list: Vec<String> = Vec::new();
        for value in wanted {
            let refuse = |fault: crate::diagnostics::ValueError| {
                InitError::Value((*resource).to_owned(), value.clone(), fault.message)
            };
            let value = label(value).map_err(refuse)?;
            if !list.contains(&value) {
                list.push(value);
            }
        }
        parameters.insert((*parameter).clone(), list);
    }
    Ok(parameters)
}

/// True if a rule names exactly the needed name: it belongs to the vendor, and is no resource of the user.
fn has_exactly(lists: &[Allowlist], needed: &Pattern) -> bool {
    let rules = lists.iter().flat_map(|list| &list.rules).filter(|rule| rule.action == Action::Allow);
    rules.flat_map(|rule| &rule.patterns).any(|pattern| pattern == needed)
}

/// Adds the values with which a rule of `zones` covers the needed names, also if a rule without parameters does.
fn add_values(needed: &Pattern, zones: &[Allowlist], parameters: &mut BTreeMap<String, Vec<String>>) {
    if has_exactly(zones, needed) {
        return;
    }
    let mut rules = zones.iter().flat_map(|list| &list.rules);
    for (parameter, value) in rules.find_map(|rule| values(rule, needed)).into_iter().flatten() {
        let Ok(value) = label(&value) else { continue };
        let list = parameters.entry(parameter).or_default();
        if !list.contains(&value) {
            list.push(value);
        }
    }
}

fn compile(
    zones: &[Allowlist],
    parameters: &BTreeMap<String, Vec<String>>,
    strict: bool,
) -> Result<Policy, InitError> {
    let zones = zones.iter().map(|list| list.name.clone()).collect();
    let settings = PolicySettings { zones, strict, ..PolicySettings::default() };
    let mut rules = PolicyBuilder::new();
    allowlist::read(&settings, parameters, &mut rules, &mut ServerLists::new(Vec::new()))
        .map_err(InitError::Allowlists)?;
    Ok(rules.build(Compile::new(Mode::Enforce)))
}

/// True if an allow rule covers all needed names, and no rule denies the name or an arbitrary one below it.
fn is_allowed(needed: &Pattern, policy: &Policy) -> bool {
    let allows = |rule: &crate::policy::RuleRef<'_>| rule.action() == Action::Allow;
    if needed.scope() == Scope::Exact {
        return policy.rule_for(needed.name()).is_some_and(|rule| allows(&rule));
    }
    let is_any_allowed =
        below(needed).and_then(|name| policy.rule_for(&name)).is_some_and(|rule| allows(&rule));
    is_any_allowed && policy.iter().any(|rule| allows(&rule) && covers(&rule.pattern(), needed))
}

/// The first needed names that the cloud's allowlist has by name.
fn must_resolve(dependencies: &[Dependency], list: &[Allowlist]) -> Vec<Pattern> {
    let mut names: Vec<Pattern> = Vec::new();
    for Dependency { pattern, .. } in dependencies {
        if names.len() < CANARIES
            && pattern.scope() == Scope::Exact
            && has_exactly(list, pattern)
            && !names.contains(pattern)
        {
            names.push(pattern.clone());
        }
    }
    names
}
