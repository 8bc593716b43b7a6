//! Decides which names get a suggested rule, and why the others do not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::label::is_like_data;
use super::parameters::{ParameterValue, missing_values};
use super::probes::ProbeSearch;
use super::single_use::{is_message, is_single_use, is_text};
use super::{Known, LearnOptions};
use crate::hazard::{DomainStanding, public_resolver, standing};
use crate::observe::blocked_names::{BlockedNames, Sighting};
use crate::policy::Policy;
use crate::policy::rule::Action;
use crate::wire::name::Name;

/// Minimum names that look like data for a domain to count as a tunnel. A single one may belong to a CDN; a tunnel
/// creates one for every few dozen bytes.
const TUNNEL: usize = 5;

/// Why a name gets no suggested rule, in the order of the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Rules of the allowlists in use allow it once these values are added to `[parameters]`.
    Parameters(Vec<ParameterValue>),
    /// These shipped allowlists allow it; those with fewest rules first.
    Shipped(Vec<&'static str>),
    /// It belongs to a public resolver.
    PublicResolver(&'static str),
    /// It looks like data that a tunnel sends to this domain.
    Tunnel(String),
    /// A rule denies it. Holds the rule and its place, if the current policy has that rule.
    Denied(Option<String>),
    /// It is a public suffix or a single label.
    Registry,
    /// The current policy allows it.
    Allowed,
    /// It must not resolve, or `namegate prove` queried it.
    Probe,
    /// It was queried fewer times than `min_count`.
    Seldom,
    /// Its last lookup was before `since`.
    Before,
}

impl Why {
    /// True if allowing the name would do harm. With the other reasons it only needs no rule.
    pub(super) fn is_dangerous(&self) -> bool {
        match self {
            Self::PublicResolver(_) | Self::Tunnel(_) | Self::Denied(_) | Self::Registry | Self::Probe => {
                true
            }
            Self::Parameters(_) | Self::Shipped(_) | Self::Allowed | Self::Seldom | Self::Before => false,
        }
    }
}

/// Names that get no suggested rule for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The reason.
    pub why: Why,
    /// The names with their lookup counts, most queried first.
    pub names: Vec<(Name, u64)>,
}

/// The names that get a rule, and the names that do not.
pub(super) struct Sorted<'n> {
    pub(super) candidates: Vec<(Name, &'n Sighting)>,
    pub(super) left_out: Vec<LeftOut>,
    /// Names that no wildcard may cover: used once, or looked up for text.
    pub(super) apart: Vec<Name>,
}

/// Separates candidates from names that get no rule.
pub(super) fn sort<'n>(names: &'n BlockedNames, known: Known<'_>, options: LearnOptions) -> Sorted<'n> {
    let mut left_out = BTreeMap::<Why, Vec<(Name, u64)>>::new();
    let mut candidates = Vec::new();
    // Names that only `min_count` and `since` leave out. They still show what a domain is used for.
    let mut unused = Vec::new();
    let probes = ProbeSearch::new(known.probes, names);
    for (name, seen) in names.iter() {
        let why = why_not(&name, seen, (known, &probes), options);
        if matches!(why, Some(Why::Seldom | Why::Before)) {
            unused.push((name.clone(), seen));
        }
        match why {
            Some(why) => left_out.entry(why).or_default().push((name, seen.count)),
            None => candidates.push((name, seen)),
        }
    }
    let all = || candidates.iter().chain(&unused);
    let tunnels = domains_with_several(all(), is_payload);
    // Any number of lookups: a tunnel can look up each of its names often.
    let textual = domains_with_several(all(), |name, seen, _| is_text(name, seen));
    let is_apart = |(name, seen): &&(Name, &Sighting)| {
        let is_textual = || registered(name).is_some_and(|domain| textual.contains(&domain));
        is_single_use(name, seen) || is_text(name, seen) && is_textual()
    };
    let apart = all().filter(is_apart).map(|(name, _)| name.clone()).collect();
    candidates.retain(|(name, seen)| {
        let domain =
            registered(name).filter(|domain| tunnels.contains(domain) && is_payload(name, seen, domain));
        let why = match domain {
            Some(domain) => Some(Why::Tunnel(domain.to_string())),
            None if is_single_use(name, seen) => None,
            None => missing_values(name, known).map(Why::Parameters),
        };
        let is_kept = why.is_none();
        if let Some(why) = why {
            left_out.entry(why).or_default().push((name.clone(), seen.count));
        }
        is_kept
    });
    let left_out = left_out.into_iter().map(|(why, mut names)| {
        names.sort_by_cached_key(|(name, count)| (std::cmp::Reverse(*count), name.to_string()));
        LeftOut { why, names }
    });
    Sorted { candidates, left_out: left_out.collect(), apart }
}

fn why_not(
    name: &Name,
    seen: &Sighting,
    (known, probes): (Known<'_>, &ProbeSearch<'_>),
    options: LearnOptions,
) -> Option<Why> {
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
    if probes.is_probe(name, seen) {
        return Some(Why::Probe);
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

/// Domains with as many such names as a tunnel has.
fn domains_with_several<'n>(
    names: impl Iterator<Item = &'n (Name, &'n Sighting)>,
    is_such: impl Fn(&Name, &Sighting, &Name) -> bool,
) -> HashSet<Name> {
    let mut counts = HashMap::<Name, usize>::new();
    for (name, seen) in names {
        if let Some(domain) = registered(name).filter(|domain| is_such(name, seen, domain)) {
            *counts.entry(domain).or_default() += 1;
        }
    }
    counts.into_iter().filter(|(_, count)| *count >= TUNNEL).map(|(domain, _)| domain).collect()
}

/// True if a label below the domain looks like data, or the name below it was looked up a few times, and for text.
fn is_payload(name: &Name, seen: &Sighting, domain: &Name) -> bool {
    let below = name.labels().count() - domain.labels().count();
    name.labels().take(below).any(is_like_data) || (below > 0 && is_message(name, seen))
}

/// The registered domain at or above `name`.
fn registered(name: &Name) -> Option<Name> {
    let DomainStanding::Registered(labels) = standing(name) else { return None };
    let above = name.labels().count().checked_sub(labels)?;
    Name::from_labels(name.labels().skip(above)).ok()
}
