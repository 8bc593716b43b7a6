//! Fuzzes the compiled policy: for any rules and any name it finds the same rule as checking every rule.

use arbitrary::{Result, Unstructured};
use namegate::policy::clients::GroupId;
use namegate::policy::{Policies, Reason, Verdict};
use namegate::wire::code::Class;
use namegate::wire::request::AnswerFlags;

use super::oracle::{Rules, oracle, oracle_allows_below};
use super::testbed::{START, Zone, policies, policy};
use super::{Action, Name, Pattern, Question, Scope, Type};

/// Labels likely to collide; two of them contain bytes that look like a label boundary.
const LABELS: [&[u8]; 12] =
    [b"a", b"b", b"c", b"aa", b"ab", b"A", b"aB", b"*", b"a.b", b"\0", b"\x01a", &[b'x'; 63]];

/// `data` is rules and the names to look up.
pub fn run(data: &[u8]) {
    // Input that is neither proves nothing.
    let _ = try_run(&mut Unstructured::new(data));
}

fn try_run(input: &mut Unstructured<'_>) -> Result<()> {
    let mut rules = Rules::new();
    for _ in 0..input.int_in_range(1..=40)? {
        let action = if input.ratio(3, 4)? { Action::Allow } else { Action::Deny };
        let scope = *input.choose(&[Scope::Exact, Scope::Below, Scope::Subtree])?;
        rules.extend(
            name(input, &[])?.filter(|name| !name.is_root()).map(|name| (action, Pattern::new(scope, name))),
        );
    }
    let policies = policies(policy(&[Zone::trusted(rules.clone())], &[]), policy(&[], &[]), 1);
    while !input.is_empty() {
        let near: Vec<&[u8]> = match rules.is_empty() || input.ratio(1, 8)? {
            true => Vec::new(),
            false => {
                let (_, pattern) = input.choose(&rules)?;
                pattern.name().labels().skip(input.int_in_range(0..=2)?).collect()
            }
        };
        if let Some(name) = name(input, &near)? {
            agree(&rules, &policies, name);
        }
    }
    Ok(())
}

/// A name with up to eight labels in front of `above`; `None` if it is too long.
fn name(input: &mut Unstructured<'_>, above: &[&[u8]]) -> Result<Option<Name>> {
    let mut labels = Vec::new();
    for _ in 0..input.int_in_range(0..=8)? {
        labels.push(match input.ratio(7, 8)? {
            true => *input.choose(&LABELS)?,
            false => {
                let length = input.int_in_range(1..=63)?;
                input.bytes(length)?
            }
        });
    }
    labels.extend(above);
    Ok(Name::from_labels(labels).ok())
}

fn agree(rules: &Rules, policies: &Policies, name: Name) {
    let expected = oracle(rules, &name);
    let found = policies.default().rule_for(&name);
    assert_eq!(found.map(|rule| rule.line() as usize), expected, "{name:?}");
    let question = Question { name, qtype: Type::A, class: Class::IN };
    let asker = ([10, 0, 0, 7].into(), GroupId::DEFAULT);
    let is_allowed = match policies.decide(asker, &question, AnswerFlags::default(), *START) {
        Verdict::Allowed(query, _) => {
            assert_eq!(*query.question(), question);
            true
        }
        Verdict::Blocked(reason) => {
            let is_ancestor = matches!(reason, Reason::Ancestor(_));
            let allows_below = oracle_allows_below(rules, &question.name);
            assert!(allows_below.is_none_or(|allows| allows == is_ancestor), "{question:?}: {reason}");
            false
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(is_allowed, expected.is_some_and(|rule| rules[rule].0 == Action::Allow), "{question:?}");
}
