//! [`Assembly`]: settings, zone files and master files read and compiled into one consistent whole, or refused.

pub mod effective;
pub mod explain;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::{self, Allowlist, AllowlistRule, Allowlists};
use crate::config::{self, Loaded, Overrides, Settings};
use crate::diagnostics::{Diagnostic, Report};
use crate::local::{LocalSource, LocalZoneError, LocalZones};
use crate::policy::clients::{ClientPrefix, Clients, GroupId};
use crate::policy::noise::Noise;
use crate::policy::policies::Group;
use crate::policy::route::{Route, Routes};
use crate::policy::rule::{Action, Pattern};
use crate::policy::{Compile, Policies, Policy, PolicyBuilder, RuleRef};

/// Where to read from, and what the command line says otherwise. Reloads read it again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file; none looks in the usual place.
    pub config: Option<PathBuf>,
    /// Settings given on the command line.
    pub overrides: Overrides,
}

impl Sources {
    /// Has the settings at `origin`, where they were first read from, read again, and no others: those in the usual place may be gone for a moment,
    /// and the built-in ones are no stand-in for them.
    pub fn pin(&mut self, origin: &str) {
        let is_usual = origin == config::DEFAULT_PATH;
        self.config = self.config.take().or_else(|| is_usual.then(|| config::DEFAULT_PATH.into()));
    }
}

/// Everything a policy is made of, and the policy.
pub struct Assembly {
    /// The settings in force.
    pub settings: Settings,
    /// Where they were read from, for people.
    pub origin: String,
    /// That file sets nothing: nothing stands in it but comments.
    pub is_unset: bool,
    /// The allowlist files in force for any client, each once.
    pub zones: Vec<Allowlist>,
    /// The compiled rules.
    pub policies: Policies,
    /// Policies to come, whose verdicts are only compared.
    pub shadow: Option<Policies>,
    /// The servers that names may go to.
    pub routes: ServerLists,
    /// The local zones.
    pub local: LocalZones,
    /// What is probably not meant, and does no harm.
    pub warnings: Report,
    /// Parameters that have values and are used by no zone.
    pub unused_parameters: Vec<String>,
}

impl Assembly {
    /// The rules of clients that no group claims.
    pub fn policy(&self) -> &Policy {
        self.policies.default()
    }

    /// The rule as its zone file has it. None for rules of plain lists and of the settings, which are patterns alone.
    pub fn written(&self, rule: RuleRef<'_>) -> Option<&AllowlistRule> {
        let zone = self.zones.iter().find(|zone| zone.file == rule.source().file)?;
        let index = zone.rules.binary_search_by_key(&rule.line(), |written| written.line).ok()?;
        Some(&zone.rules[index])
    }
}

/// Everything found wrong.
#[derive(Debug, Default)]
pub struct AssemblyFaults {
    report: Report,
    local: Vec<LocalZoneError>,
}

impl AssemblyFaults {
    /// Draws all of it, with places and remedies.
    pub fn render(&self, color: bool) -> String {
        let report = (!self.report.is_empty()).then(|| self.report.render(color));
        let local = self.local.iter().map(|error| format!("error: {error}"));
        report.into_iter().chain(local).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for AssemblyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for AssemblyFaults {}

impl From<Report> for AssemblyFaults {
    fn from(report: Report) -> Self {
        Self { report, local: Vec::new() }
    }
}

/// Reads and compiles everything. The policies get the number `generation`.
pub fn assemble(sources: &Sources, generation: u64) -> Result<Assembly, AssemblyFaults> {
    let mut assembly = assemble_one(sources, generation)?;
    if let Some(candidate) = assembly.settings.policy.shadow.clone() {
        let sources = Sources { config: Some(candidate), overrides: Overrides::default() };
        let candidate = assemble_one(&sources, generation)?;
        assembly.warnings.append(candidate.warnings);
        assembly.shadow = Some(candidate.policies);
    }
    Ok(assembly)
}

fn assemble_one(sources: &Sources, generation: u64) -> Result<Assembly, AssemblyFaults> {
    let Loaded { settings, origin, is_unset, mut warnings } =
        config::load(sources.config.as_deref(), &sources.overrides)?;
    let local = LocalZones::load(&local_sources(&settings));
    let mut compiler = Compiler::new(&settings, &origin);
    let everyone = (settings.policy.clone(), settings.parameters.clone());
    let wanted = std::iter::once(everyone)
        .chain(settings.client.iter().map(|group| group.policy(&settings.policy, &settings.parameters)));
    // Groups that want the same share it: less to read, and less for the processor's caches.
    let mut different: Vec<(config::PolicySettings, BTreeMap<String, Vec<String>>)> = Vec::new();
    let of_group: Vec<usize> = wanted
        .map(|one| {
            different.iter().position(|known| *known == one).unwrap_or_else(|| {
                different.push(one);
                different.len() - 1
            })
        })
        .collect();
    let read = different
        .iter()
        .map(|(policy, parameters)| compiler.read(policy, parameters))
        .collect::<Result<Vec<_>, Report>>()
        .and_then(|rules| refuse_lists(&compiler.lists, &settings).map_or(Ok(rules), Err));
    let (read, local) = match (read, local) {
        (Ok(read), Ok(local)) => (read, local),
        (read, local) => {
            return Err(AssemblyFaults {
                report: read.err().unwrap_or_default(),
                local: local.err().unwrap_or_default(),
            });
        }
    };
    let names = std::iter::once(Group::DEFAULT).chain(settings.client.iter().map(|group| &*group.name));
    let routes = Arc::new(Routes::new(compiler.named.iter().copied(), compiler.lists.zones()));
    let context = context(&settings, &compiler, &local);
    let compiled: Vec<Arc<Policy>> = different
        .iter()
        .zip(read)
        .map(|((policy, _), rules)| Arc::new(compiler.compile(rules, policy, &local, (&routes, context))))
        .collect();
    let groups = names
        .zip(of_group)
        .map(|(name, index)| Group { name: name.to_owned(), policy: Arc::clone(&compiled[index]) });
    let policies = Policies::new(clients(&settings), groups.collect(), generation);
    let Compiler { lists: routes, zones, unused, warnings: found, .. } = compiler;
    warnings.append(found);
    let unused_parameters = unused.unwrap_or_default();
    let shadow = None;
    Ok(Assembly {
        settings,
        origin,
        is_unset,
        zones,
        policies,
        shadow,
        routes,
        local,
        warnings,
        unused_parameters,
    })
}

/// A digest of what changes answers besides the rules of a group.
fn context(settings: &Settings, compiler: &Compiler<'_>, local: &LocalZones) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (_, servers) in compiler.lists.iter() {
        servers.iter().for_each(|server| digest.update(format!("{server} ")));
        digest.update("\n");
    }
    for (pattern, route) in &compiler.named {
        digest.update(format!("{pattern} {}\n", route.0));
    }
    let config::BlockSettings { answer, ttl, .. } = &settings.block;
    digest.update(format!("{answer:?} {ttl:?}\n"));
    digest.update(local.digest());
    digest.finalize().into()
}

/// Who may ask, and by whose rules.
fn clients(settings: &Settings) -> Clients {
    let numbered = settings.client.iter().zip(1..);
    let claims: Vec<(IpNet, GroupId)> = numbered
        .filter_map(|(group, index)| Some((group, GroupId::new(index)?)))
        .flat_map(|(group, id)| group.subnets.iter().map(move |net| (*net, id)))
        .collect();
    let prefix = ClientPrefix::new(settings.server.ipv6_prefix_length);
    Clients::new(&settings.server.allow_clients, &claims).with_prefix(prefix)
}

/// What speaks against the servers of routes and zone files.
fn refuse_lists(lists: &ServerLists, settings: &Settings) -> Option<Report> {
    if lists.is_overfull() {
        let message = "there are too many lists of servers in [[route]] and zone files".to_owned();
        let help = "let more of them go to the same servers".to_owned();
        return Some(Diagnostic::error("", message).with_help(help).into());
    }
    let servers = lists.iter().flat_map(|(_, servers)| servers);
    let mut unknown =
        servers.filter_map(|server| config::needs_bootstrap(server, &settings.upstream.bootstrap));
    unknown.next().map(|error| Diagnostic::error("", error.message).with_help(error.help).into())
}

fn local_sources(settings: &Settings) -> Vec<LocalSource> {
    let source = |local: &config::LocalZoneSettings| LocalSource {
        origin: local.origin.clone(),
        file: local.file.clone(),
    };
    settings.local.iter().map(source).collect()
}

/// Name of the source of rules written in the settings.
const SETTINGS: &str = "settings";

/// Reads and compiles the rules of one client group after the other.
struct Compiler<'a> {
    settings: &'a Settings,
    /// Where the settings were read from, for people.
    origin: &'a str,
    lists: ServerLists,
    /// Where the names of `[[route]]` go.
    named: Vec<(&'a Pattern, Route)>,
    /// Zones read, each once.
    zones: Vec<Allowlist>,
    /// Parameters that no group has had use for; none before the first was read.
    unused: Option<Vec<String>>,
    warnings: Report,
}

impl<'a> Compiler<'a> {
    fn new(settings: &'a Settings, origin: &'a str) -> Self {
        let mut lists = ServerLists::new(settings.upstream.servers.clone());
        let routes: Vec<Option<Route>> =
            settings.route.iter().map(|route| lists.route(&route.servers)).collect();
        let named = config::patterns(&settings.route);
        let named = named.filter_map(|(pattern, index)| Some((pattern, routes[index]?))).collect();
        Self { settings, origin, lists, named, zones: Vec::new(), unused: None, warnings: Report::default() }
    }

    /// Reads the zones of one group and what the settings add to them.
    fn read(
        &mut self,
        policy: &config::PolicySettings,
        parameters: &BTreeMap<String, Vec<String>>,
    ) -> Result<PolicyBuilder, Report> {
        let mut rules = PolicyBuilder::new();
        let Allowlists { list, warnings, unused_parameters } =
            allowlist::read(policy, parameters, &mut rules, &mut self.lists)?;
        for zone in list {
            if self.zones.iter().all(|known| known.file != zone.file) {
                self.zones.push(zone);
            }
        }
        // What one file has to be warned of is said once, by the group that reads it first.
        if self.unused.is_none() {
            self.warnings.append(warnings);
        }
        let unused = self.unused.take().unwrap_or_else(|| unused_parameters.clone());
        self.unused = Some(unused.into_iter().filter(|name| unused_parameters.contains(name)).collect());
        let inline = [(Action::Allow, &policy.allow), (Action::Deny, &policy.deny)];
        if inline.iter().any(|(_, inline)| !inline.is_empty()) {
            let source = rules.source(SETTINGS, self.origin);
            rules.cname(source, policy.cname);
            for (action, inline) in inline {
                for rule in inline {
                    rules.rule(action, &rule.pattern, source, rule.line);
                }
            }
        }
        Ok(rules)
    }

    fn compile(
        &self,
        mut rules: PolicyBuilder,
        policy: &config::PolicySettings,
        local: &LocalZones,
        (routes, context): (&Arc<Routes>, [u8; 32]),
    ) -> Policy {
        let block = &self.settings.block;
        let noise = block.noise.iter().map(|rule| &rule.pattern);
        rules.noise(Noise::new(noise, block.noise_single_labels));
        rules.build(Compile {
            mode: policy.mode,
            local: local.origins().to_vec(),
            enforce_expect: policy.enforce_expect,
            dnssec_ancestors: policy.dnssec_ancestors,
            routes: Arc::clone(routes),
            context,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_the_usual_place_are_read_again_from_there_alone() {
        let own = Some(PathBuf::from("own.toml"));
        for (config, origin, pinned) in [
            (None, config::DEFAULT_PATH, Some(config::DEFAULT_PATH.into())),
            (None, "config/namegate.toml (built in)", None),
            (own.clone(), "own.toml", own),
        ] {
            let mut sources = Sources { config, overrides: Overrides::default() };
            sources.pin(origin);
            assert_eq!(sources.config, pinned, "{origin}");
        }
    }
}
