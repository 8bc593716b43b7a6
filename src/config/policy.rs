//! Settings of `[policy]`: which names are allowed.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::values::{optional_path, plain};
use crate::config::{allowlist_name, serializers, value};
use crate::diagnostics::{Section, ValueError};
use crate::policy::Mode;
use crate::policy::cname::CnamePolicy;

/// Which names are allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicySettings {
    /// "enforce", or "observe" to forward what would be blocked and only count it. Names that lead to other resolvers
    /// are blocked in both modes. Use "observe" for the first days.
    pub mode: Mode,
    /// Allowlists: names of shipped ones, or paths of your own ending in .toml, or in .list for a plain list of
    /// patterns.
    pub zones: Vec<String>,
    /// Directory whose NAME.toml and NAME.list files add to the shipped allowlists or replace those of the same name.
    /// Empty: none. If a directory is set but missing, namegate does not start; otherwise it would silently use shipped
    /// allowlists instead of your files.
    #[serde(serialize_with = "serializers::optional_path")]
    pub zones_directory: Option<PathBuf>,
    /// Leave out the rules that also allow names of other tenants. First list your own resources in `[parameters]`.
    pub strict: bool,
    /// Patterns to allow: "ml.azure.com" is that name only, "*.azureml.ms" every name below it, ".azurecr.io" both.
    pub allow: Vec<InlineRule>,
    /// Patterns to block. They win over equally specific allow rules; a more specific allow rule wins over them.
    pub deny: Vec<InlineRule>,
    /// What to do with CNAME targets in answers for allowed names. "trust": relay them. "inspect": relay an answer only
    /// if all its targets are allowed. "follow": also allow the targets, for clients of the same group, as long as they
    /// may cache the answer. Set "follow" if a recursive resolver, such as Windows DNS, forwards to namegate. An
    /// allowlist can set `cname` for its own names.
    pub cname: CnamePolicy,
    /// Set true to answer SERVFAIL if an address is not of the kind that the rule expects (`expect` in an allowlist:
    /// "private" or "public"). With false, such answers are only counted and logged.
    pub enforce_expect: bool,
    /// Forward DS, DNSKEY, NS and SOA queries for parent domains of allowed names, so that a validating resolver that
    /// forwards to namegate can build its chain of trust. Other types of such a name get NODATA.
    pub dnssec_ancestors: bool,
    /// Settings file of a candidate policy. Lookups that it would decide differently are counted and listed; replies do
    /// not change. Empty: none.
    #[serde(serialize_with = "serializers::optional_path")]
    pub shadow: Option<PathBuf>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            zones: ["azure-ml", "azure-government", "sign-in", "python", "r"].map(String::from).to_vec(),
            zones_directory: None,
            strict: false,
            allow: Vec::new(),
            deny: Vec::new(),
            cname: CnamePolicy::Trust,
            enforce_expect: false,
            dnssec_ancestors: true,
            shadow: None,
        }
    }
}

pub(super) fn policy(mut section: Section<'_, '_>, base: &Path) -> PolicySettings {
    let default = PolicySettings::default();
    let zones_directory = optional_path(&mut section, "zones_directory", base);
    let zones = zones(&mut section, zones_directory.as_deref(), base);
    let policy = PolicySettings {
        mode: section.parsed_or("mode", value::word, default.mode),
        zones: zones.map_or(default.zones, plain),
        zones_directory,
        strict: section.or("strict", default.strict),
        allow: inline_rules(&mut section, "allow").unwrap_or_default(),
        deny: inline_rules(&mut section, "deny").unwrap_or_default(),
        cname: section.parsed_or("cname", value::word, default.cname),
        enforce_expect: section.or("enforce_expect", default.enforce_expect),
        dnssec_ancestors: section.or("dnssec_ancestors", default.dnssec_ancestors),
        shadow: optional_path(&mut section, "shadow", base),
    };
    section.finish();
    policy
}

/// The allowlists that a policy names; relative paths start at `base`. Reports unknown names.
pub(super) fn zones(
    section: &mut Section<'_, '_>,
    directory: Option<&Path>,
    base: &Path,
) -> Option<Vec<Spanned<String>>> {
    let zone = |text: &str| {
        let zone = allowlist_name::allowlist_name(text)?;
        let path = || base.join(&zone).display().to_string();
        Ok::<_, ValueError>(if allowlist_name::is_path(&zone) { path() } else { zone })
    };
    let zones = section.set("zones", zone);
    for zone in zones.iter().flatten() {
        if let Some(unknown) = allowlist_name::unknown(zone.get_ref(), directory) {
            section.faults.error(&zone.span(), unknown.message, unknown.help);
        }
    }
    zones
}
