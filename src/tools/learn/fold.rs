//! Few rules for many names: siblings become a wildcard if it only allows names of one owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LearnOptions;
use super::label::{is_made_up, is_region};
use crate::hazard::{DomainStanding, Reach, reach, standing};
use crate::observe::blocked_names::Sighting;
use crate::policy::rule::{Pattern, Scope};
use crate::wire::name::Name;

/// Minimum generated siblings to fold. Two are enough, because the next generated name is unpredictable.
const MADE_UP: usize = 2;

/// Names shown as examples for a wildcard.
const EXAMPLES: usize = 3;

/// A suggested rule.
#[derive(Clone, Debug)]
pub struct ProposedRule {
    /// The pattern that it allows.
    pub pattern: Pattern,
    /// The evidence for the names it covers.
    pub seen: Sighting,
    /// Number of names it covers.
    pub names: usize,
    /// The most queried of these names.
    pub examples: Vec<Name>,
    /// What a risky wildcard allows that anyone can create; only with `fold_risky`.
    pub opens: Option<Opens>,
}

/// A wildcard that is not suggested, because it allows names that anyone can create.
#[derive(Clone, Debug)]
pub struct RiskyFold {
    /// The wildcard.
    pub pattern: Pattern,
    /// Number of names it would cover.
    pub names: usize,
    /// What it would allow.
    pub opens: Opens,
}

/// A shared suffix, and what anyone can create below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opens {
    /// The suffix; empty if only the Public Suffix List has it.
    pub suffix: &'static str,
    /// What anyone can create below it.
    pub what: &'static str,
}

/// The result of folding.
pub(super) struct Folded {
    pub(super) rules: Vec<ProposedRule>,
    pub(super) risky: Vec<RiskyFold>,
}

/// A name in the tree of all names, with the names below it.
#[derive(Default)]
struct Node<'n> {
    own: Option<(&'n Name, &'n Sighting)>,
    below: BTreeMap<&'n [u8], Self>,
}

/// Makes rules for all `candidates`. No wildcard covers a name in `apart`.
pub(super) fn fold(candidates: &[(Name, &Sighting)], apart: &[&Name], options: LearnOptions) -> Folded {
    let mut root = Node::default();
    for (name, seen) in candidates {
        let labels: Vec<&[u8]> = name.labels().collect();
        let node = labels.iter().rev().fold(&mut root, |node, label| node.below.entry(label).or_default());
        node.own = Some((name, seen));
    }
    let mut folding = Folding { options, apart, folded: Folded { rules: Vec::new(), risky: Vec::new() } };
    folding.visit(&root, &mut Vec::new());
    folding.folded
}

struct Folding<'n> {
    options: LearnOptions,
    apart: &'n [&'n Name],
    folded: Folded,
}

impl Folding<'_> {
    /// Makes rules for the names at and below `node`, whose labels are `path`, top-level label first.
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
        if self.apart.iter().any(|name| rule.pattern.matches(name)) {
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

    /// The name of `node`, if the number or kind of its children suggests that there will be more.
    fn family(&self, node: &Node<'_>, path: &[&[u8]]) -> Option<Name> {
        let count =
            |is_counted: fn(&[u8]) -> bool| node.below.keys().filter(|label| is_counted(label)).count();
        let many = count(|label| !is_region(label)) >= self.options.fold;
        let made_up = count(is_made_up) >= MADE_UP;
        if path.is_empty() || !(many || made_up) {
            return None;
        }
        let parent = Name::from_labels(path.iter().rev().copied()).ok()?;
        // Two names are too few to allow a whole registered domain.
        let is_within_domain =
            matches!(standing(&parent), DomainStanding::Registered(labels) if path.len() > labels);
        (many || is_within_domain).then_some(parent)
    }
}

fn exact(name: &Name, seen: &Sighting) -> ProposedRule {
    let pattern = Pattern::new(Scope::Exact, name.clone());
    ProposedRule { pattern, seen: seen.clone(), names: 1, examples: Vec::new(), opens: None }
}

/// The rule for every name below `parent`, the name of `node`, and for `parent` itself if it was queried.
fn wildcard(node: &Node<'_>, parent: Name, opens: Option<Opens>) -> Option<ProposedRule> {
    let mut all = Vec::new();
    gather(node, &mut all);
    all.sort_by_cached_key(|(name, seen)| (Reverse(seen.count), name.to_string()));
    let ((_, first), others) = all.split_first()?;
    let mut seen = (*first).clone();
    others.iter().for_each(|(_, other)| seen.merge(other));
    let scope = if node.own.is_some() { Scope::Subtree } else { Scope::Below };
    let examples = all.iter().take(EXAMPLES).map(|(name, _)| (*name).clone()).collect();
    Some(ProposedRule { pattern: Pattern::new(scope, parent), seen, names: all.len(), examples, opens })
}

fn gather<'n>(node: &Node<'n>, all: &mut Vec<(&'n Name, &'n Sighting)>) {
    all.extend(node.own);
    node.below.values().for_each(|child| gather(child, all));
}
