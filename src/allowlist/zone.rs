//! [`Allowlist`]: one allowlist file, read and checked.

use toml::value::Date;

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::port::Port;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern};
use crate::wire::name::Name;

/// One allowlist file.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowlist {
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
    /// It is one of those that are part of the program.
    pub shipped: bool,
    /// In the order of the file. None of a plain list: they go straight to the policy, which alone holds them.
    pub rules: Vec<AllowlistRule>,
    /// How many rules the file has.
    pub count: usize,
}

impl Allowlist {
    /// What is known of a plain list of `count` rules.
    pub(super) fn plain(name: String, file: String, count: usize) -> Self {
        let (title, source) = (name.clone(), String::new());
        Self {
            name,
            title,
            source,
            revised: None,
            file,
            shipped: false,
            cname: None,
            servers: Vec::new(),
            rules: Vec::new(),
            count,
        }
    }
}

/// One rule of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowlistRule {
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

impl AllowlistRule {
    /// What the parameters that are a whole label of the host would have to be for it to cover `name`; none where no
    /// values would do.
    pub fn values_for(&self, name: &Name) -> Option<Vec<(&str, String)>> {
        let (host, with_itself, with_below) = match self.host.strip_prefix("*.") {
            Some(host) => (host, false, true),
            None => (self.host.trim_start_matches('.'), true, self.host.starts_with('.')),
        };
        let wanted: Vec<&str> = host.split('.').collect();
        let labels: Vec<&[u8]> = name.labels().collect();
        let below = labels.len().checked_sub(wanted.len())?;
        let fits = if below == 0 { with_itself } else { with_below };
        fits.then_some(())?;
        let mut values = Vec::new();
        for (wanted, label) in wanted.iter().zip(&labels[below..]) {
            match wanted.strip_prefix('{').and_then(|wanted| wanted.strip_suffix('}')) {
                Some(parameter) => values.push((parameter, String::from_utf8_lossy(label).into_owned())),
                None => wanted.as_bytes().eq_ignore_ascii_case(label).then_some(())?,
            }
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_read_out_of_names() {
        for (host, name, values) in [
            ("{storage}.blob.example", "mine.blob.example", Some("storage=mine")),
            ("{acr}.{region}.data.example", "a.eastus.data.example", Some("acr=a region=eastus")),
            ("*.{region}.example", "x.y.eastus.example", Some("region=eastus")),
            ("*.{region}.example", "eastus.example", None),
            (".{region}.example", "eastus.example", Some("region=eastus")),
            ("{storage}.blob.example", "x.mine.blob.example", None),
            ("{storage}.blob.example", "blob.example", None),
            ("{storage}.Blob.example", "mine.file.example", None),
        ] {
            let rule = AllowlistRule {
                action: Action::Allow,
                host: host.to_owned(),
                line: 1,
                patterns: Vec::new(),
                missing: Vec::new(),
                purpose: String::new(),
                listed: Vec::new(),
                ports: Vec::new(),
                as_listed: None,
                expect: Expect::Any,
                broad: false,
                reason: None,
            };
            let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
            let found = rule.values_for(&name).map(|values| {
                values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), values, "{host} for {name}");
        }
    }
}
