//! [`Allowlist`]: one allowlist, read and checked.

use toml::value::Date;

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::port::Port;
use crate::policy::RuleText;
use crate::policy::cname::CnamePolicy;
use crate::policy::expect::Expect;
use crate::policy::rule::{Action, Pattern};
use crate::policy::until::Until;
use crate::wire::name::Name;

/// One allowlist.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowlist {
    /// Its name in settings and metrics: the file name without `.toml` or `.list`.
    pub name: String,
    /// Its title for people; the name if the file has none.
    pub title: String,
    /// Where its rules come from; may be empty.
    pub source: String,
    /// The date of that source.
    pub revised: Option<Date>,
    /// The pages that its rules refer to.
    pub editions: Vec<Edition>,
    /// Where the CNAME chains of its names lead.
    pub aliases: Vec<KnownAlias>,
    /// The file name in messages: `zones/azure-ml.toml` for a shipped one, otherwise its path.
    pub file: String,
    /// How CNAME targets in answers for its names are treated; `None`: as `policy.cname` says.
    pub cname: Option<CnamePolicy>,
    /// Upstream servers for its names, in order of preference; empty: `upstream.servers`.
    pub servers: Vec<UpstreamAddress>,
    /// True for a built-in allowlist.
    pub shipped: bool,
    /// Its rules, in the order of the file. Empty for a plain list, whose rules are only in the policy.
    pub rules: Vec<AllowlistRule>,
    /// Number of rules in the file.
    pub count: usize,
}

impl Allowlist {
    /// A plain list of `count` rules.
    pub(super) fn plain(name: String, file: String, count: usize) -> Self {
        let (title, source) = (name.clone(), String::new());
        Self {
            name,
            title,
            source,
            revised: None,
            editions: Vec::new(),
            aliases: Vec::new(),
            file,
            shipped: false,
            cname: None,
            servers: Vec::new(),
            rules: Vec::new(),
            count,
        }
    }

    /// True if a page lists the rule that no later edition has replaced. An edition that is only a date counts.
    pub fn is_current(&self, rule: &AllowlistRule) -> bool {
        let is_superseded =
            |id: &str| self.editions.iter().any(|edition| edition.id == id && edition.superseded);
        rule.listed.iter().any(|id| !is_superseded(id))
    }
}

/// A page that lists hosts, in one edition.
#[derive(Clone, Debug, PartialEq)]
pub struct Edition {
    /// Its id in `listed`.
    pub id: String,
    /// Title of the page.
    pub page: String,
    /// Repository and file of the page, if public.
    pub file: Option<String>,
    /// The date that the page shows. It may be older than the text.
    pub date: Option<Date>,
    /// The commit of the file.
    pub commit: Option<String>,
    /// A later edition of the page replaces it.
    pub superseded: bool,
}

/// Where the CNAME chains of some names lead. Only exports to products that check every name of a chain use it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownAlias {
    /// The names, as written, with parameters in braces.
    pub host: String,
    /// The line of its host, counted from 1.
    pub line: u32,
    /// The patterns of the host; empty if a parameter has no value.
    pub patterns: Vec<Pattern>,
    /// The names that their chains lead to; a target whose parameters have no value is left out.
    pub to: Vec<Pattern>,
    /// Ids of the editions that show the chain.
    pub listed: Vec<String>,
}

/// One rule of an allowlist.
#[derive(Clone, Debug, PartialEq)]
pub struct AllowlistRule {
    /// Whether the names are allowed or denied.
    pub action: Action,
    /// The host as written, with parameters in braces.
    pub host: String,
    /// The line of its host, counted from 1.
    pub line: u32,
    /// The patterns of the host, one for each combination of parameter values. Empty: the rule is inactive.
    pub patterns: Vec<Pattern>,
    /// Parameters of the host without a value.
    pub missing: Vec<String>,
    /// What the names are for; may be empty.
    pub purpose: String,
    /// Ids of the editions that contain the rule; a date is an edition by itself.
    pub listed: Vec<String>,
    /// Ports that the vendor says to open; DNS ignores them.
    pub ports: Vec<Port>,
    /// The entry in the vendor's list, if it differs from the host.
    pub as_listed: Option<String>,
    /// The kind of address that answers should have.
    pub expect: Expect,
    /// Allows names that other tenants control; `strict` leaves the rule out. Never set on a deny rule.
    pub broad: bool,
    /// Only retired software queries the names.
    pub legacy: bool,
    /// Who asked for the rule.
    pub owner: Option<String>,
    /// The request or change that introduced the rule.
    pub ticket: Option<String>,
    /// When the rule ends.
    pub until: Option<Until>,
    /// Why the rule exists, for deny rules.
    pub reason: Option<String>,
}

impl AllowlistRule {
    /// What people wrote about the rule.
    pub fn text(&self) -> RuleText<'_> {
        RuleText {
            purpose: self.reason.as_deref().unwrap_or(&self.purpose),
            owner: self.owner.as_deref().unwrap_or_default(),
            ticket: self.ticket.as_deref().unwrap_or_default(),
        }
    }

    /// The parameter values with which the host covers `name`; `None` if no values do. Only parameters that are a whole
    /// label count.
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
                legacy: false,
                owner: None,
                ticket: None,
                until: None,
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
