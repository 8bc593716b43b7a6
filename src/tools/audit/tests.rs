#![allow(clippy::unwrap_used)]
use super::*;
use crate::policy::rule::{Action, Pattern};
use crate::policy::{Compile, Mode, NewRule, Policy, PolicyBuilder};
use crate::wire::name::Name;

/// Numbers from a fixed seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

const ENDS: [&str; 5] = ["example", "icloud.com", "mask.icloud.com", "test", "resolver.arpa"];
const LABELS: [&str; 3] = ["a", "b", "mask-h2"];

fn host(numbers: &mut Numbers) -> String {
    let depth = numbers.below(4);
    let labels: Vec<&str> = (0..depth).map(|_| LABELS[numbers.below(LABELS.len())]).collect();
    let end = ENDS[numbers.below(ENDS.len())];
    if labels.is_empty() { end.to_owned() } else { format!("{}.{end}", labels.join(".")) }
}

fn policy(rules: &[(Action, Pattern)]) -> Policy {
    let mut builder = PolicyBuilder::new();
    let source = builder.source("test", "test.toml");
    for (line, (action, pattern)) in (1..).zip(rules) {
        builder.rule(NewRule::new(*action, pattern, source, line));
    }
    builder.build(Compile::new(Mode::Enforce))
}

/// Every name of up to four labels below an end, and one that no rule names.
fn probes() -> Vec<Name> {
    let mut texts: Vec<String> = ENDS.iter().chain(&["com", "arpa"]).map(|end| (*end).to_owned()).collect();
    let mut from = 0;
    for _ in 0..4 {
        let end = texts.len();
        for parent in from..end {
            let parent = texts[parent].clone();
            texts.extend(LABELS.iter().chain(&["other"]).map(|label| format!("{label}.{parent}")));
        }
        from = end;
    }
    texts.iter().map(|text| Pattern::parse(text).unwrap().name().clone()).collect()
}

#[test]
fn the_smaller_list_decides_every_name_the_same() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let probes = probes();
    assert!(probes.len() > 2000);
    let mut removed = 0;
    for _ in 0..300 {
        let rules: Vec<(Action, Pattern)> = (0..1 + numbers.below(12))
            .map(|_| {
                let action = if numbers.below(3) == 0 { Action::Deny } else { Action::Allow };
                let scope = ["", "*.", "."][numbers.below(3)];
                (action, Pattern::parse(&format!("{scope}{}", host(&mut numbers))).unwrap())
            })
            .collect();
        let before = policy(&rules);
        let smaller: Vec<(Action, Pattern)> =
            minimal(&before).unwrap().into_iter().map(|rule| (rule.action, rule.pattern)).collect();
        assert!(smaller.len() <= rules.len(), "{rules:?}: {smaller:?}");
        removed += rules.len() - smaller.len();
        let after = policy(&smaller);
        let is_allowed = |policy: &Policy, name: &Name| {
            policy.rule_for(name).is_some_and(|rule| rule.action() == Action::Allow)
        };
        for name in &probes {
            assert_eq!(is_allowed(&before, name), is_allowed(&after, name), "{name}: {rules:?}: {smaller:?}");
        }
    }
    assert!(removed > 500, "{removed}");
}

#[test]
fn every_shipped_allowlist_can_be_compared() {
    let shipped = ShippedAllowlist::all().unwrap();
    assert!(shipped.len() >= 14 && shipped.iter().all(|one| one.zone.shipped && !one.zone.rules.is_empty()));
}
