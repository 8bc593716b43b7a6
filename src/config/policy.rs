//! Settings of `[policy]`: what is allowed.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::values::{optional_path, plain};
use crate::config::{allowlist_name, value, write};
use crate::diagnostics::{Section, ValueError};
use crate::policy::Mode;
use crate::policy::cname::CnamePolicy;

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicySettings {
    /// Whether the verdict is carried out.
    pub mode: Mode,
    /// Zones by name, or paths that end in `.toml` or `.list`.
    pub zones: Vec<String>,
    /// A directory whose `NAME.toml` and `NAME.list` files come before the shipped ones.
    #[serde(serialize_with = "write::optional_path")]
    pub zones_directory: Option<PathBuf>,
    /// Leave out rules marked `broad`.
    pub strict: bool,
    /// Names allowed besides the zones.
    pub allow: Vec<InlineRule>,
    /// Names blocked whatever the zones say.
    pub deny: Vec<InlineRule>,
    /// What becomes of aliases in answers, where a zone does not say.
    pub cname: CnamePolicy,
    /// Answers with other addresses than their rule expects are not given.
    pub enforce_expect: bool,
    /// Forward DS, DNSKEY, NS and SOA queries for the zones above allowed names.
    pub dnssec_ancestors: bool,
    /// Settings whose policy is evaluated beside this one, for the difference; none: nothing is.
    #[serde(serialize_with = "write::optional_path")]
    pub shadow: Option<PathBuf>,
}

impl Default for PolicySettings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            zones: ["azure-ml", "azure-government", "python", "r"].map(String::from).to_vec(),
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

/// The zones a policy names; paths begin at `base`, and each must be there.
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
