//! [`Effective`]: a policy's rules as a tree of names, for exports and comparisons.
//!
//! Queries use the trie in [`crate::policy`]. This tree gives the same verdict for every name, in a stable order.

use std::collections::BTreeMap;

use crate::policy::rule::{Action, Scope};
use crate::policy::{Policy, RuleRef};
use crate::wire::name::Name;

/// A policy's rules by name; each name comes after its parents.
pub struct Effective<'p> {
    nodes: BTreeMap<Key, Node<'p>>,
}

/// A name that has a rule, or a parent of such a name.
#[derive(Clone, Debug)]
pub struct Node<'p> {
    /// The name.
    pub name: Name,
    /// The rule at this node for the name itself; none if only rules of parents apply.
    pub own: Option<RuleRef<'p>>,
    /// The rule at this node for the names below it.
    pub below: Option<RuleRef<'p>>,
}

/// The verdict on a name, and its rule. Names without a rule are blocked.
#[derive(Clone, Copy, Debug)]
pub struct Said<'p> {
    /// Allowed or denied.
    pub action: Action,
    /// The rule; none if no rule covers the name.
    pub rule: Option<RuleRef<'p>>,
}

impl<'p> Said<'p> {
    fn by(rule: Option<RuleRef<'p>>) -> Self {
        Self { action: rule.map_or(Action::Deny, |rule| rule.action()), rule }
    }

    /// The rule that denies the name, if any.
    pub fn denying(self) -> Option<RuleRef<'p>> {
        self.rule.filter(|rule| rule.action() == Action::Deny)
    }
}

/// Labels from the right, each followed by a zero byte: a name sorts directly before the names below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Vec<u8>);

impl Key {
    fn of(name: &Name) -> Self {
        let mut labels: Vec<&[u8]> = name.labels().collect();
        labels.reverse();
        Self(labels.into_iter().flat_map(|label| [label, &[0]].concat()).collect())
    }
}

impl<'p> Effective<'p> {
    /// The rules of `policy`, without those that another rule of the same pattern overrules.
    pub fn of(policy: &'p Policy) -> Self {
        let mut effective = Self { nodes: BTreeMap::new() };
        policy.iter().filter(|rule| !rule.is_overruled()).for_each(|rule| effective.add(rule));
        // Built-in denials matter only for names that the rules would allow.
        for rule in policy.built_in() {
            let name = rule.pattern().name().clone();
            if [effective.own(&name), effective.below(&name)].iter().any(|said| said.action == Action::Allow)
            {
                effective.add(rule);
            }
        }
        effective
    }

    /// Adds `name` and its parents as nodes without rules, which change no verdict.
    pub fn add_name(&mut self, name: &Name) {
        self.node(name);
    }

    fn add(&mut self, rule: RuleRef<'p>) {
        let pattern = rule.pattern();
        let node = self.node(pattern.name());
        let scope = pattern.scope();
        if scope != Scope::Below {
            keep_stronger(&mut node.own, rule);
        }
        if scope != Scope::Exact {
            keep_stronger(&mut node.below, rule);
        }
    }

    /// The node of `name`, created with its parents if missing.
    fn node(&mut self, name: &Name) -> &mut Node<'p> {
        for above in ancestors(name).skip(1) {
            self.insert(above);
        }
        self.insert(name.clone())
    }

    fn insert(&mut self, name: Name) -> &mut Node<'p> {
        self.nodes.entry(Key::of(&name)).or_insert_with(|| Node { name, own: None, below: None })
    }

    /// All nodes except the root, each after its parents.
    pub fn nodes(&self) -> impl Iterator<Item = &Node<'p>> {
        self.nodes.values()
    }

    /// The nodes below `name`.
    pub fn nodes_below(&self, name: &Name) -> impl Iterator<Item = &Node<'p>> {
        let key = Key::of(name);
        let nodes = self.nodes.range(key.clone()..);
        let within = nodes.take_while(move |(other, _)| other.0.starts_with(&key.0));
        within.filter(|(_, node)| node.name != *name).map(|(_, node)| node)
    }

    /// The verdict on `name` itself.
    pub fn own(&self, name: &Name) -> Said<'p> {
        let own = self.nodes.get(&Key::of(name)).and_then(|node| node.own);
        Said::by(own.or_else(|| ancestors(name).skip(1).find_map(|above| self.below_node(&above))))
    }

    /// The verdict on names below `name` that have no more specific rule.
    pub fn below(&self, name: &Name) -> Said<'p> {
        Said::by(ancestors(name).find_map(|above| self.below_node(&above)))
    }

    fn below_node(&self, name: &Name) -> Option<RuleRef<'p>> {
        self.nodes.get(&Key::of(name))?.below
    }
}

/// The name and its parents, except the root.
fn ancestors(name: &Name) -> impl Iterator<Item = Name> {
    std::iter::successors(Some(name.clone()), |name| Name::from_labels(name.labels().skip(1)).ok())
        .take_while(|name| !name.is_root())
}

/// Of two rules at one name, exact beats subtree, then deny beats allow, then the first wins.
fn keep_stronger<'p>(slot: &mut Option<RuleRef<'p>>, rule: RuleRef<'p>) {
    let strength =
        |rule: RuleRef<'p>| (rule.pattern().scope() == Scope::Exact, rule.action() == Action::Deny);
    if slot.is_none_or(|held| strength(rule) > strength(held)) {
        *slot = Some(rule);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;
    use crate::policy::{Compile, Mode, NewRule, PolicyBuilder};

    #[test]
    fn verdicts_equal_those_of_the_policy() {
        let rules = [
            (Action::Allow, ".a.example"),
            (Action::Deny, "*.b.a.example"),
            (Action::Allow, "c.b.a.example"),
            (Action::Deny, ".d.a.example"),
            (Action::Allow, ".d.a.example"),
            (Action::Deny, "e.a.example"),
            (Action::Allow, "*.f.example"),
            (Action::Deny, ".f.example"),
            (Action::Allow, "*.icloud.com"),
            (Action::Allow, "mask-h2.icloud.com"),
            (Action::Allow, ".resolver.arpa"),
        ];
        let mut builder = PolicyBuilder::new();
        let source = builder.source("test", "test.toml");
        for (line, (action, pattern)) in (1..).zip(rules) {
            builder.rule(NewRule::new(action, &Pattern::parse(pattern).unwrap(), source, line));
        }
        let policy = builder.build(Compile::new(Mode::Enforce));
        let effective = Effective::of(&policy);
        let name = |text: &str| Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
        for node in effective.nodes() {
            let line = |rule: Option<RuleRef<'_>>| rule.map(|rule| rule.line());
            let below = format!("zzz.{}", node.name);
            assert_eq!(
                line(effective.below(&node.name).rule),
                line(policy.rule_for(&name(&below))),
                "below {}",
                node.name
            );
            if let Some(own) = node.own {
                assert_eq!(Some(own.line()), line(policy.rule_for(&node.name)), "{}", node.name);
            }
        }
        let order: Vec<String> = effective.nodes().map(|node| node.name.to_string()).collect();
        assert_eq!(
            order,
            [
                "com",
                "icloud.com",
                "mask.icloud.com",
                "mask-h2.icloud.com",
                "example",
                "a.example",
                "b.a.example",
                "c.b.a.example",
                "d.a.example",
                "e.a.example",
                "f.example"
            ]
        );
        let is_allowed = |text: &str| effective.own(&name(text)).action == Action::Allow;
        assert!(is_allowed("x.icloud.com") && is_allowed("mask-h2.icloud.com"));
        assert!(!is_allowed("mask.icloud.com") && !is_allowed("x.mask-h2.icloud.com"));
        assert!(!is_allowed("_dns.resolver.arpa"));
        assert_eq!(effective.nodes_below(&name("b.a.example")).count(), 1);
        assert!(effective.below(&name("other.example")).rule.is_none());
    }
}
