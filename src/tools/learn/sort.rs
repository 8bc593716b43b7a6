//! Which names a rule is proposed for, and why not for the others.

use std::collections::BTreeMap;

use super::label::is_like_data;
use super::{Known, LearnOptions};
use crate::hazard::{DomainStanding, public_resolver, standing};
use crate::observe::blocked_names::{BlockedNames, Sighting};
use crate::policy::Policy;
use crate::policy::rule::Action;
use crate::wire::name::Name;

/// Names with labels like data from which on a domain is taken for the far end of a tunnel. One may be a content
/// network's; a tunnel makes one for every few dozen bytes.
const TUNNEL: usize = 5;

/// Why no rule is proposed for a name. The order is that of telling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// These shipped zones have it, those of few rules first.
    Shipped(Vec<&'static str>),
    /// It is a public resolver's, which answers every name.
    PublicResolver(&'static str),
    /// It looks like data on its way to this domain.
    Tunnel(String),
    /// A rule denies it; the rule and its place where the policy in force has one.
    Denied(Option<String>),
    /// It is a registry's suffix, or a label on its own.
    Registry,
    /// The policy in force allows it.
    Allowed,
    /// It was asked for less often than was wanted.
    Seldom,
    /// It was not asked for lately.
    Before,
}

impl Why {
    /// True where allowing the name would do harm; the other reasons say that no rule is needed.
    pub(super) fn is_dangerous(&self) -> bool {
        match self {
            Self::PublicResolver(_) | Self::Tunnel(_) | Self::Denied(_) | Self::Registry => true,
            Self::Shipped(_) | Self::Allowed | Self::Seldom | Self::Before => false,
        }
    }
}

/// Names that no rule is proposed for, for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The reason.
    pub why: Why,
    /// The names with their lookups, most asked for first.
    pub names: Vec<(Name, u64)>,
}

/// What a rule is proposed for, and what not.
pub(super) struct Sorted<'n> {
    pub(super) candidates: Vec<(Name, &'n Sighting)>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Sorts names out.
pub(super) fn sort<'n>(names: &'n BlockedNames, known: Known<'_>, options: LearnOptions) -> Sorted<'n> {
    let mut left_out = BTreeMap::<Why, Vec<(Name, u64)>>::new();
    let mut candidates = Vec::new();
    for (name, seen) in names.iter() {
        match why_not(&name, seen, known, options) {
            Some(why) => left_out.entry(why).or_default().push((name, seen.count)),
            None => candidates.push((name, seen)),
        }
    }
    let tunnels = tunnels(&candidates);
    candidates.retain(|(name, seen)| {
        let domain = registered(name).filter(|domain| tunnels.contains(domain) && is_encoded(name, domain));
        if let Some(domain) = &domain {
            let why = Why::Tunnel(domain.to_string());
            left_out.entry(why).or_default().push((name.clone(), seen.count));
        }
        domain.is_none()
    });
    let left_out = left_out.into_iter().map(|(why, mut names)| {
        names.sort_by_cached_key(|(name, count)| (std::cmp::Reverse(*count), name.to_string()));
        LeftOut { why, names }
    });
    Sorted { candidates, left_out: left_out.collect() }
}

fn why_not(name: &Name, seen: &Sighting, known: Known<'_>, options: LearnOptions) -> Option<Why> {
    let rule = known.policy.rule_for(name);
    if let Some(rule) = rule.filter(|rule| rule.action() == Action::Deny) {
        return Some(Why::Denied(Some(format!("{rule} at {}", rule.place()))));
    }
    if rule.is_some() {
        return Some(Why::Allowed);
    }
    if seen.denied {
        return Some(Why::Denied(None));
    }
    if let Some(operator) = public_resolver(name) {
        return Some(Why::PublicResolver(operator));
    }
    if standing(name) == DomainStanding::Registry {
        return Some(Why::Registry);
    }
    if options.since.is_some_and(|since| seen.last < since) {
        return Some(Why::Before);
    }
    if seen.count < options.min_count {
        return Some(Why::Seldom);
    }
    let has = |rules: &Policy| rules.rule_for(name).is_some_and(|rule| rule.action() == Action::Allow);
    let mut zones: Vec<&(&'static str, Policy)> =
        known.shipped.iter().filter(|(_, rules)| has(rules)).collect();
    zones.sort_by_key(|(_, rules)| rules.rules());
    (!zones.is_empty()).then(|| Why::Shipped(zones.iter().map(|(zone, _)| *zone).collect()))
}

/// Domains with as many names like data as a tunnel makes.
fn tunnels(candidates: &[(Name, &Sighting)]) -> Vec<Name> {
    let mut counts = BTreeMap::<Vec<u8>, (Name, usize)>::new();
    for (name, _) in candidates {
        let Some(domain) = registered(name).filter(|domain| is_encoded(name, domain)) else { continue };
        counts.entry(domain.as_bytes().to_vec()).or_insert_with(|| (domain, 0)).1 += 1;
    }
    counts.into_values().filter(|(_, count)| *count >= TUNNEL).map(|(domain, _)| domain).collect()
}

/// True where a label below the domain looks like data.
fn is_encoded(name: &Name, domain: &Name) -> bool {
    let below = name.labels().count() - domain.labels().count();
    name.labels().take(below).any(is_like_data)
}

/// The domain that was registered, at or above `name`.
fn registered(name: &Name) -> Option<Name> {
    let DomainStanding::Registered(labels) = standing(name) else { return None };
    let above = name.labels().count().checked_sub(labels)?;
    Name::from_labels(name.labels().skip(above)).ok()
}
