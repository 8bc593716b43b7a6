//! [`Zone`]: one allowlist file, read and checked.

use toml::value::Date;

use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern};
use crate::upstream::address::UpstreamAddress;
use crate::zones::port::Port;

/// One allowlist file.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// What settings and metrics call it: the file's name without `.toml` or `.list`.
    pub name: String,
    /// What people call it; the name where the file has no title.
    pub title: String,
    /// Where its rules were taken from; may be empty.
    pub source: String,
    /// The edition of that source.
    pub revised: Option<Date>,
    /// The file as messages show it: `zones/azure-ml.toml` for a shipped one, else its path.
    pub file: String,
    /// What becomes of aliases in the answers for its names; none leaves it to the settings.
    pub cname: Option<CnamePolicy>,
    /// Upstreams of its names' own, in order of preference; none: those of all names.
    pub servers: Vec<UpstreamAddress>,
    /// In the order of the file. None of a plain list: they go straight to the policy, which alone holds them.
    pub rules: Vec<ZoneRule>,
    /// How many rules the file has.
    pub count: usize,
}

impl Zone {
    /// What is known of a plain list of `count` rules.
    pub(super) fn plain(name: String, file: String, count: usize) -> Self {
        let (title, source) = (name.clone(), String::new());
        Self {
            name,
            title,
            source,
            revised: None,
            file,
            cname: None,
            servers: Vec::new(),
            rules: Vec::new(),
            count,
        }
    }
}

/// One rule of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRule {
    /// Whether the names are allowed or denied.
    pub action: Action,
    /// The host as written, parameters in braces.
    pub host: String,
    /// The line its host stands on, counted from 1.
    pub line: u32,
    /// What the host stands for, one for each combination of its parameters' values. Empty: the rule sleeps.
    pub patterns: Vec<Pattern>,
    /// Parameters of the host that have no value.
    pub missing: Vec<String>,
    /// What the names are for; may be empty.
    pub purpose: String,
    /// Editions of the vendor's list that have the rule.
    pub listed: Vec<Date>,
    /// Ports that the vendor says to open; DNS takes no notice of them.
    pub ports: Vec<Port>,
    /// What the vendor's list prints, where that is not the host.
    pub as_listed: Option<String>,
    /// What kind of address its names' answers should have.
    pub expect: Expect,
    /// Opens names that other tenants control; `strict` leaves it out. Never set on a deny rule.
    pub broad: bool,
    /// Why the rule is there, for deny rules.
    pub reason: Option<String>,
}
