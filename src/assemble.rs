//! [`Assembly`]: settings, zone files and master files read and compiled into one consistent whole, or refused.

use std::fmt;
use std::path::PathBuf;

use crate::config::{self, Loaded, Overrides, Report, Settings};
use crate::local::{LocalSource, LocalZoneError, LocalZones};
use crate::policy::noise::Noise;
use crate::policy::rule::Action;
use crate::policy::{Policy, PolicyBuilder, RuleRef};
use crate::zones::{self, Zone, ZoneRule};

/// Where to read from, and what the command line says otherwise. Reloads read it again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file; none looks in the usual place.
    pub config: Option<PathBuf>,
    /// Settings given on the command line.
    pub overrides: Overrides,
}

/// Everything a policy is made of, and the policy.
pub struct Assembly {
    /// The settings in force.
    pub settings: Settings,
    /// Where they were read from, for people.
    pub origin: String,
    /// The allowlist files in force.
    pub zones: Vec<Zone>,
    /// The compiled rules.
    pub policy: Policy,
    /// The local zones.
    pub local: LocalZones,
    /// What is probably not meant, and does no harm.
    pub warnings: Report,
    /// Parameters that have values and are used by no zone.
    pub unused_parameters: Vec<String>,
}

impl Assembly {
    /// The rule as its zone file has it. None for rules of plain lists and of the settings, which are patterns alone.
    pub fn written(&self, rule: RuleRef<'_>) -> Option<&ZoneRule> {
        let zone = self.zones.iter().find(|zone| zone.file == rule.source().file)?;
        let index = zone.rules.binary_search_by_key(&rule.line(), |written| written.line).ok()?;
        Some(&zone.rules[index])
    }
}

/// Everything found wrong.
#[derive(Debug, Default)]
pub struct Faults {
    report: Report,
    local: Vec<LocalZoneError>,
}

impl Faults {
    /// Draws all of it, with places and remedies.
    pub fn render(&self, color: bool) -> String {
        let report = (!self.report.is_empty()).then(|| self.report.render(color));
        let local = self.local.iter().map(|error| format!("error: {error}"));
        report.into_iter().chain(local).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Faults {}

impl From<Report> for Faults {
    fn from(report: Report) -> Self {
        Self { report, local: Vec::new() }
    }
}

/// Reads and compiles everything. The policy gets the number `generation`.
pub fn assemble(sources: &Sources, generation: u64) -> Result<Assembly, Faults> {
    let Loaded { settings, origin, mut warnings } =
        config::load(sources.config.as_deref(), &sources.overrides)?;
    let mut rules = PolicyBuilder::new();
    let zones = zones::read(&settings.policy, &settings.parameters, &mut rules);
    let local = LocalZones::load(&local_sources(&settings));
    let (zones, local) = match (zones, local) {
        (Ok(zones), Ok(local)) => (zones, local),
        (zones, local) => {
            return Err(Faults {
                report: zones.err().unwrap_or_default(),
                local: local.err().unwrap_or_default(),
            });
        }
    };
    let policy = compile(rules, &settings, &origin, &local, generation);
    warnings.append(zones.warnings);
    let unused_parameters = zones.unused_parameters;
    Ok(Assembly { settings, origin, zones: zones.list, policy, local, warnings, unused_parameters })
}

fn local_sources(settings: &Settings) -> Vec<LocalSource> {
    let source =
        |local: &config::Local| LocalSource { origin: local.origin.clone(), file: local.file.clone() };
    settings.local.iter().map(source).collect()
}

/// Name of the source of rules written in the settings.
const SETTINGS: &str = "settings";

/// Adds to the zones' `rules` those of the settings, and compiles all of them.
fn compile(
    mut rules: PolicyBuilder,
    settings: &Settings,
    origin: &str,
    local: &LocalZones,
    generation: u64,
) -> Policy {
    let inline = [(Action::Allow, &settings.policy.allow), (Action::Deny, &settings.policy.deny)];
    if inline.iter().any(|(_, inline)| !inline.is_empty()) {
        let source = rules.source(SETTINGS, origin);
        for (action, inline) in inline {
            for rule in inline {
                rules.rule(action, &rule.pattern, source, rule.line);
            }
        }
    }
    let noise = settings.block.noise.iter().map(|rule| &rule.pattern);
    rules.noise(Noise::new(noise, settings.block.noise_single_labels));
    rules.build(settings.policy.mode, local.origins().to_vec(), generation)
}
