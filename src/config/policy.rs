//! Settings of `[policy]`: what is allowed.

use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;

use crate::config::inline_rule::{InlineRule, inline_rules};
use crate::config::values::{optional_path, plain};
use crate::config::{allowlist_name, serializers, value};
use crate::diagnostics::{Section, ValueError};
use crate::policy::Mode;
use crate::policy::cname::CnamePolicy;

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicySettings {
    /// "enforce", or "observe" to forward everything and count what would be blocked: for the first days.
    pub mode: Mode,
    /// Shipped allowlists by name, or paths of your own ending in .toml, or in .list for a plain list of patterns.
    pub zones: Vec<String>,
    /// A directory whose NAME.toml and NAME.list files add to the shipped lists or replace those of the same name.
    /// Empty: none. It must be there: a shipped list never takes the place of a file that is gone.
    #[serde(serialize_with = "serializers::optional_path")]
    pub zones_directory: Option<PathBuf>,
    /// Leave out the rules that also open names of other tenants, once `[parameters]` names your own resources.
    pub strict: bool,
    /// Single rules: "ml.azure.com" is that name, "*.azureml.ms" every name below, ".azurecr.io" both.
    pub allow: Vec<InlineRule>,
    /// Names to block even where an equally specific rule allows them.
    pub deny: Vec<InlineRule>,
    /// Aliases in the answers for allowed names: "trust" relays them, "inspect" gives an answer only where every name
    /// it leads to is allowed too, "follow" allows those names to the same clients while they may remember the answer,
    /// for a Windows DNS server or another recursive one in between. A zone file may say it for its own names.
    pub cname: CnamePolicy,
    /// Rules of zone files may say expect = "private" or "public". Answers with other addresses are counted; with true
    /// they are SERVFAIL instead.
    pub enforce_expect: bool,
    /// Forward DS, DNSKEY, NS and SOA queries for the names above allowed ones, so that a validating resolver behind
    /// namegate can build its chain of trust. Other types of such a name are answered without data.
    pub dnssec_ancestors: bool,
    /// Settings of a policy to come. Where it would decide otherwise is counted and listed, and nothing else. Empty:
    /// none.
    #[serde(serialize_with = "serializers::optional_path")]
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
