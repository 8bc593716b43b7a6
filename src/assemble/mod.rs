//! [`Assembly`]: settings, allowlists and master files, read and compiled together, or rejected together.

pub mod effective;
pub mod explain;
pub mod unused;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::allowlist::server_lists::ServerLists;
use crate::allowlist::{self, Allowlist, AllowlistRule, Allowlists};
use crate::config::{self, Loaded, Overrides, Settings, ValueSources};
use crate::diagnostics::{Diagnostic, Report};
use crate::local::{LocalSource, LocalZones};
use crate::policy::clients::{ClientPrefix, Clients, GroupId};
use crate::policy::noise::Noise;
use crate::policy::policies::Group;
use crate::policy::route::{Route, Routes};
use crate::policy::rule::{Action, Pattern};
use crate::policy::{Compile, NewRule, Policies, Policy, PolicyBuilder, RuleRef};

/// The settings file and the command-line overrides. Reloads read them again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file; none for the default path.
    pub config: Option<PathBuf>,
    /// Settings given on the command line.
    pub overrides: Overrides,
}

impl Sources {
    /// Makes reloads read the settings from `origin`, where they were first read from. Otherwise a reload while the
    /// default file is missing for a moment would use the built-in settings.
    pub fn pin(&mut self, origin: &str) {
        let is_usual = origin == config::DEFAULT_PATH;
        self.config = self.config.take().or_else(|| is_usual.then(|| config::DEFAULT_PATH.into()));
    }
}

/// The compiled policies and everything they are built from.
pub struct Assembly {
    /// The settings in force.
    pub settings: Settings,
    /// The file they were read from, for messages.
    pub origin: String,
    /// Where the values of settings come from that are no defaults.
    pub sources: ValueSources,
    /// The file sets nothing: it has only comments and table headers.
    pub is_unset: bool,
    /// The allowlists in force for any client, without duplicates.
    pub zones: Vec<Allowlist>,
    /// The compiled rules.
    pub policies: Policies,
    /// The candidate policy, whose verdicts are only compared.
    pub shadow: Option<Policies>,
    /// The servers of all routes.
    pub routes: ServerLists,
    /// The local zones.
    pub local: LocalZones,
    /// Probable mistakes.
    pub warnings: Report,
    /// Parameters that have values but are used by no allowlist.
    pub unused_parameters: Vec<String>,
}

impl Assembly {
    /// The policy of clients without a group.
    pub fn policy(&self) -> &Policy {
        self.policies.default()
    }

    /// The rule as written in its allowlist. None for rules of plain lists and settings, which are only patterns.
    pub fn written(&self, rule: RuleRef<'_>) -> Option<&AllowlistRule> {
        let zone = self.zones.iter().find(|zone| zone.file == rule.source().file)?;
        let index = zone.rules.binary_search_by_key(&rule.line(), |written| written.line).ok()?;
        Some(&zone.rules[index])
    }
}

/// Reads and compiles everything. The policies get the generation number `generation`.
pub fn assemble(sources: &Sources, generation: u64) -> Result<Assembly, Report> {
    let mut assembly = assemble_one(sources, generation)?;
    if let Some(candidate) = assembly.settings.policy.shadow.clone() {
        let sources = Sources { config: Some(candidate), overrides: Overrides::default() };
        let candidate = assemble_one(&sources, generation)?;
        assembly.warnings.append(candidate.warnings);
        assembly.shadow = Some(candidate.policies);
    }
    Ok(assembly)
}

fn assemble_one(sources: &Sources, generation: u64) -> Result<Assembly, Report> {
    let Loaded { settings, origin, sources, is_unset, mut warnings } =
        config::load(sources.config.as_deref(), &sources.overrides)?;
    let local = LocalZones::load(&local_sources(&settings));
    let mut compiler = Compiler::new(&settings, &origin);
    let everyone = (settings.policy.clone(), settings.parameters.clone());
    let wanted = std::iter::once(everyone)
        .chain(settings.client.iter().map(|group| group.policy(&settings.policy, &settings.parameters)));
    // Groups with the same rules share one policy: less to read, and less load on CPU caches.
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
            let mut report = read.err().unwrap_or_default();
            report.append(local.err().unwrap_or_default());
            return Err(report);
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
        sources,
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

/// A digest of everything that affects answers, other than the rules of a group.
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

/// The clients that are served, and their groups.
fn clients(settings: &Settings) -> Clients {
    let numbered = settings.client.iter().zip(1..);
    let claims: Vec<(IpNet, GroupId)> = numbered
        .filter_map(|(group, index)| Some((group, GroupId::new(index)?)))
        .flat_map(|(group, id)| group.subnets.iter().map(move |net| (*net, id)))
        .collect();
    let prefix = ClientPrefix::new(settings.server.ipv6_prefix_length);
    Clients::new(&settings.server.allow_clients, &claims).with_prefix(prefix)
}

/// Errors in the server lists of routes and allowlists.
fn refuse_lists(lists: &ServerLists, settings: &Settings) -> Option<Report> {
    if lists.is_overfull() {
        let message = "too many different server lists in [[route]] and allowlists".to_owned();
        let help = "use the same servers in more of them".to_owned();
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

/// Source name of rules written in the settings.
const SETTINGS: &str = "settings";

/// Reads and compiles the rules of all client groups, one after another.
struct Compiler<'a> {
    settings: &'a Settings,
    /// The file that the settings were read from, for messages.
    origin: &'a str,
    lists: ServerLists,
    /// The routes from `[[route]]`.
    named: Vec<(&'a Pattern, Route)>,
    /// Allowlists read, without duplicates.
    zones: Vec<Allowlist>,
    /// Parameters that no group uses so far; none before the first group is read.
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

    /// Reads the allowlists of one group and the rules that the settings add.
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
        // Only the first group reports warnings, so that each appears once.
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
                    rules.rule(NewRule::new(action, &rule.pattern, source, rule.line));
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
            now: SystemTime::now(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_reads_settings_only_from_their_origin() {
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
