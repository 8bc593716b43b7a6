//! [`Assembly`]: settings, zone files and master files read and compiled into one consistent whole, or refused.

use std::fmt;
use std::path::PathBuf;

use crate::config::{self, Loaded, Overrides, Report, Settings};
use crate::local::{LocalSource, LocalZoneError, LocalZones};
use crate::policy::noise::Noise;
use crate::policy::rule::Action;
use crate::policy::{Policy, PolicyBuilder};
use crate::zones::{self, Zone};

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
    let directory = settings.policy.zones_directory.as_deref();
    let zones = zones::read(&settings.policy.zones, directory, &settings.parameters);
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
    let policy = compile(&settings, &origin, &zones.list, &local, generation);
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

fn compile(settings: &Settings, origin: &str, zones: &[Zone], local: &LocalZones, generation: u64) -> Policy {
    let mut builder = PolicyBuilder::new();
    for zone in zones {
        let source = builder.source(&zone.name, &zone.file);
        for rule in zone.rules.iter().filter(|rule| !(settings.policy.strict && rule.broad)) {
            for pattern in &rule.patterns {
                builder.rule(rule.action, pattern, source, rule.line);
            }
        }
    }
    let inline = [(Action::Allow, &settings.policy.allow), (Action::Deny, &settings.policy.deny)];
    if inline.iter().any(|(_, rules)| !rules.is_empty()) {
        let source = builder.source(SETTINGS, origin);
        for (action, rules) in inline {
            for rule in rules {
                builder.rule(action, &rule.pattern, source, rule.line);
            }
        }
    }
    let noise = settings.block.noise.iter().map(|rule| &rule.pattern);
    builder.noise(Noise::new(noise, settings.block.noise_single_labels));
    builder.build(settings.policy.mode, local.origins().to_vec(), generation)
}
