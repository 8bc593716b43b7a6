//! [`LookAlikes`]: probes for names that only look like allowed ones.

use std::collections::HashSet;

use super::matrix::denied_address;
use super::probe::Probe;
use crate::policy::Policies;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::temporary::Grant;
use crate::wire::name::Name;

/// Maximum rules to imitate. If there are more, an evenly spaced sample.
const RULES: usize = 100;

/// The probes, and the number of look-alikes not tested because another rule, a grant or a local zone covers them.
#[derive(Debug, Default)]
pub struct LookAlikes {
    /// One for each name.
    pub probes: Vec<Probe>,
    /// Names not tested.
    pub left_out: usize,
}

impl LookAlikes {
    /// Imitates the names that `policies` allow for any client group. `local` are the origins of local zones, `granted`
    /// the current grants.
    ///
    /// Compares each imitation with every rule. It does not use the policy's own search, which is what the test checks.
    pub fn of(policies: &Policies, local: &[Name], granted: &[Grant]) -> Self {
        let rules = policies.groups().iter().flat_map(|group| group.policy.iter());
        let allowed = rules.filter(|rule| rule.action() == Action::Allow).map(|rule| rule.pattern());
        let mut seen = HashSet::new();
        let allowed: Vec<Pattern> = allowed.filter(|pattern| seen.insert(pattern.clone())).collect();
        let is_meant = |name: &Name| {
            allowed.iter().any(|pattern| pattern.matches(name))
                || local.iter().any(|origin| name.is_within(origin))
                || granted.iter().any(|grant| grant.pattern.matches(name))
        };
        let mut seen = HashSet::new();
        let step = allowed.len().div_ceil(RULES).max(1);
        let mut found = Self::default();
        for (aspect, name) in allowed.iter().step_by(step).flat_map(imitations) {
            if !seen.insert(name.clone()) {
                continue;
            }
            if is_meant(&name) {
                found.left_out += 1;
            } else {
                found.probes.push(denied_address(aspect, &name));
            }
        }
        found
    }
}

/// Names that a faulty comparison would take for names of `pattern`.
fn imitations(pattern: &Pattern) -> Vec<(&'static str, Name)> {
    let labels: Vec<&[u8]> = pattern.name().labels().collect();
    let (Some((first, rest)), Some((last, front))) = (labels.split_first(), labels.split_last()) else {
        return Vec::new();
    };
    let text = labels.join(&b'.');
    let (longer, dotted) = ([b"evil", *first].concat(), [b"x.", &text[..]].concat());
    let beyond_ascii = [&[first[0] | 0x80], &first[1..]].concat();
    let with_zero = [last, &b"\0"[..]].concat();
    let elsewhere: &[&[u8]] = &[b"example", b"org"];
    let imitations: [(&str, Vec<&[u8]>); 8] = [
        // `evilazureml.ms`
        ("name inside a label", [&[&longer[..]], rest].concat()),
        // Dots inside a label: the text ends or begins like an allowed name, but the labels do not.
        ("dot inside a label", vec![&dotted]),
        ("dot inside a label", vec![&text, b"example"]),
        ("non-ASCII bytes", [&[&beyond_ascii[..]], rest].concat()),
        // `ml.azure.com.example.org`
        ("name as prefix", [&labels[..], elsewhere].concat()),
        // As a C string, cut at the zero byte, it would equal the allowed name.
        ("zero byte", [front, &[&with_zero[..]], elsewhere].concat()),
        ("parent domain", rest.to_vec()),
        match pattern.scope() {
            Scope::Exact => ("subdomain", [&[&b"evil"[..]], &labels[..]].concat()),
            Scope::Below | Scope::Subtree => ("name itself", labels.clone()),
        },
    ];
    let names =
        imitations.into_iter().filter_map(|(aspect, labels)| Some((aspect, Name::from_labels(labels).ok()?)));
    names.filter(|(_, name)| !name.is_root()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::{Compile, Mode, NewRule, PolicyBuilder};

    fn look_alikes(allowed: &[&str], local: &[Name]) -> (Vec<String>, usize) {
        let mut rules = PolicyBuilder::new();
        let source = rules.source("settings", "namegate.toml");
        for text in allowed {
            rules.rule(NewRule::new(Action::Allow, &Pattern::parse(text).unwrap(), source, 1));
        }
        let policies = Policies::for_all(rules.build(Compile::new(Mode::Enforce)), 1);
        let found = LookAlikes::of(&policies, local, &[]);
        (found.probes.into_iter().map(|probe| probe.what).collect(), found.left_out)
    }

    #[test]
    fn look_alikes_are_not_allowed() {
        let (names, left_out) = look_alikes(&["*.azureml.ms"], &[]);
        assert_eq!(
            names,
            [
                "evilazureml.ms A",
                r"x\.azureml\.ms A",
                r"azureml\.ms.example A",
                r"\225zureml.ms A",
                "azureml.ms.example.org A",
                r"azureml.ms\000.example.org A",
                "ms A",
                "azureml.ms A",
            ]
        );
        assert_eq!(left_out, 0);
        assert!(look_alikes(&["ml.azure.com"], &[]).0.contains(&"evil.ml.azure.com A".to_owned()));
    }

    #[test]
    fn covered_look_alikes_are_not_tested() {
        let (names, left_out) = look_alikes(&["ml.azure.com", ".azure.com"], &[]);
        assert!(!names.iter().any(|name| name.ends_with(".azure.com A")), "{names:?}");
        assert!(left_out > 2, "{left_out}");
        let org = Pattern::parse("example.org").unwrap().name().clone();
        let (names, left_out) = look_alikes(&["*.azureml.ms"], &[org]);
        assert!(!names.iter().any(|name| name.ends_with("example.org A")), "{names:?}");
        assert_eq!(left_out, 2);
    }

    #[test]
    fn many_rules_are_sampled() {
        let rules: Vec<String> = (0..1000).map(|number| format!("host{number}.example")).collect();
        let (names, _) = look_alikes(&rules.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert!(names.len() > RULES && names.len() <= RULES * 8, "{}", names.len());
    }
}
