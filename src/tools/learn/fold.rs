//! Few rules for many names: siblings become a wildcard where that opens names of one owner alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LearnOptions;
use super::label::{is_made_up, is_region};
use crate::hazard::{DomainStanding, Reach, reach, standing};
use crate::observe::blocked_names::Sighting;
use crate::policy::rule::{Pattern, Scope};
use crate::wire::name::Name;

/// Made-up siblings that are enough: they are two of a family whose next member nobody can foretell.
const MADE_UP: usize = 2;

/// Names shown of those that a wildcard stands for.
const EXAMPLES: usize = 3;

/// A proposed rule.
#[derive(Clone, Debug)]
pub struct ProposedRule {
    /// What it allows.
    pub pattern: Pattern,
    /// What is known of the names it stands for.
    pub seen: Sighting,
    /// How many they are.
    pub names: usize,
    /// Those of them asked for most.
    pub examples: Vec<Name>,
    /// What a wildcard opens that anyone can take; none is proposed so unless it was asked for.
    pub opens: Option<Opens>,
    /// A rule in force that would have the name, but that it sleeps.
    pub instead: Option<Instead>,
}

/// A rule of a zone, and the values with which it would not sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// The zone.
    pub zone: String,
    /// The rule's host, as written.
    pub host: String,
    /// Parameters and the values they need.
    pub values: Vec<(String, String)>,
}

/// A wildcard that is not proposed, for it opens names that anyone can take.
#[derive(Clone, Debug)]
pub struct RiskyFold {
    /// The wildcard.
    pub pattern: Pattern,
    /// How many names it would stand for.
    pub names: usize,
    /// What it would open.
    pub opens: Opens,
}

/// A shared suffix, and what anyone can have below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens {
    /// The suffix; empty where only the Public Suffix List knows it.
    pub suffix: &'static str,
    /// What anyone can have below it.
    pub what: &'static str,
}

/// What became of the names.
pub(super) struct Folded {
    pub(super) rules: Vec<ProposedRule>,
    pub(super) risky: Vec<RiskyFold>,
}

/// A name in the tree of all, with those below it.
#[derive(Default)]
struct Node<'n> {
    own: Option<(&'n Name, &'n Sighting)>,
    below: BTreeMap<&'n [u8], Self>,
}

/// Makes rules for all of `candidates`, none of them a wildcard that has one of the names that are dangerous to allow.
pub(super) fn fold(candidates: &[(Name, &Sighting)], dangerous: &[&Name], options: LearnOptions) -> Folded {
    let mut root = Node::default();
    for (name, seen) in candidates {
        let labels: Vec<&[u8]> = name.labels().collect();
        let node = labels.iter().rev().fold(&mut root, |node, label| node.below.entry(label).or_default());
        node.own = Some((name, seen));
    }
    let mut folding = Folding { options, dangerous, folded: Folded { rules: Vec::new(), risky: Vec::new() } };
    folding.visit(&root, &mut Vec::new());
    folding.folded
}

struct Folding<'n> {
    options: LearnOptions,
    dangerous: &'n [&'n Name],
    folded: Folded,
}

impl Folding<'_> {
    /// Makes rules for the names at and below `node`, whose labels are `path`, the topmost first.
    fn visit<'n>(&mut self, node: &Node<'n>, path: &mut Vec<&'n [u8]>) {
        let (rules, risky) = (self.folded.rules.len(), self.folded.risky.len());
        self.folded.rules.extend(node.own.map(|(name, seen)| exact(name, seen)));
        for (label, child) in &node.below {
            path.push(label);
            self.visit(child, path);
            path.pop();
        }
        let Some(parent) = self.family(node, path) else { return };
        let opens = match reach(&parent) {
            Reach::Registry => return,
            Reach::OneOwner => None,
            Reach::Anyone(suffix, what) => Some(Opens { suffix, what }),
        };
        let Some(rule) = wildcard(node, parent, opens) else { return };
        if self.dangerous.iter().any(|name| rule.pattern.matches(name)) {
            return;
        }
        match opens.filter(|_| !self.options.fold_risky) {
            Some(opens) => {
                self.folded.risky.push(RiskyFold { pattern: rule.pattern, names: rule.names, opens });
            }
            None => {
                self.folded.rules.truncate(rules);
                self.folded.risky.truncate(risky);
                self.folded.rules.push(rule);
            }
        }
    }

    /// The name of `node` where its children are so many, or such, that there will be others.
    fn family(&self, node: &Node<'_>, path: &[&[u8]]) -> Option<Name> {
        let count =
            |is_counted: fn(&[u8]) -> bool| node.below.keys().filter(|label| is_counted(label)).count();
        let many = count(|label| !is_region(label)) >= self.options.fold;
        let made_up = count(is_made_up) >= MADE_UP;
        if path.is_empty() || !(many || made_up) {
            return None;
        }
        let parent = Name::from_labels(path.iter().rev().copied()).ok()?;
        // Two names say little of a whole domain.
        let is_within_domain =
            matches!(standing(&parent), DomainStanding::Registered(labels) if path.len() > labels);
        (many || is_within_domain).then_some(parent)
    }
}

fn exact(name: &Name, seen: &Sighting) -> ProposedRule {
    let pattern = Pattern::new(Scope::Exact, name.clone());
    ProposedRule { pattern, seen: seen.clone(), names: 1, examples: Vec::new(), opens: None, instead: None }
}

/// The rule for every name below `parent`, which is `node`, and for itself where it was asked for.
fn wildcard(node: &Node<'_>, parent: Name, opens: Option<Opens>) -> Option<ProposedRule> {
    let mut all = Vec::new();
    gather(node, &mut all);
    all.sort_by_cached_key(|(name, seen)| (Reverse(seen.count), name.to_string()));
    let ((_, first), others) = all.split_first()?;
    let mut seen = (*first).clone();
    others.iter().for_each(|(_, other)| seen.merge(other));
    let scope = if node.own.is_some() { Scope::Subtree } else { Scope::Below };
    let examples = all.iter().take(EXAMPLES).map(|(name, _)| (*name).clone()).collect();
    Some(ProposedRule {
        pattern: Pattern::new(scope, parent),
        seen,
        names: all.len(),
        examples,
        opens,
        instead: None,
    })
}

fn gather<'n>(node: &Node<'n>, all: &mut Vec<(&'n Name, &'n Sighting)>) {
    all.extend(node.own);
    node.below.values().for_each(|child| gather(child, all));
}
