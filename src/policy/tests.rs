//! Compares the trie with a naive oracle that checks every rule.

#![allow(clippy::unwrap_used)]

mod oracle;

use std::time::Instant;

use proptest::prelude::*;

use super::rule::{Action, Pattern, Scope};
use super::trie::{Trie, TrieBuilder, TrieRule};
use super::*;
use crate::util::label::Label;
use crate::wire::name::MAX_NAME;
use crate::wire::request::AnswerFlags;
use oracle::{Rules, oracle, oracle_allows_below};

fn compile(rules: &Rules) -> Trie {
    compile_with(TrieBuilder::new(), rules)
}

fn compile_with(mut builder: TrieBuilder, rules: &Rules) -> Trie {
    for (index, (action, pattern)) in rules.iter().enumerate() {
        builder.insert(TrieRule { line: index as u32, ..TrieRule::new(*action, pattern) });
    }
    builder.build()
}

fn assert_agree(rules: &Rules, trie: &Trie, name: &Name) {
    let found = trie.find(name).map(|id| trie.rule(id).unwrap().line as usize);
    assert_eq!(found, oracle(rules, name), "{name:?} with {} rules", rules.len());
    let is_allowed = found.is_some_and(|rule| rules[rule].0 == Action::Allow);
    if let Some(expected) = oracle_allows_below(rules, name).filter(|_| !is_allowed) {
        let search = trie.search(name);
        assert_eq!(trie.allows_below(name), expected, "below {name:?} with {} rules", rules.len());
        assert!(search.is_node || !expected, "{name:?} is no node");
    }
}

/// Labels that are likely to collide: short ones of few letters, binary ones, dots inside, the longest possible.
fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-c]{1,2}".prop_map(String::into_bytes),
        2 => "[A-C]{1,2}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => Just(b"a.b".to_vec()),
        1 => Just(b"*".to_vec()),
        1 => Just(vec![b'x'; 63]),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    prop::collection::vec(label(), 1..7).prop_filter_map("longer than 255 bytes", |labels| {
        Name::from_labels(labels.iter().map(Vec::as_slice)).ok()
    })
}

fn rule() -> impl Strategy<Value = (Action, Pattern)> {
    let scope = prop_oneof![Just(Scope::Exact), Just(Scope::Below), Just(Scope::Subtree)];
    let action = prop_oneof![3 => Just(Action::Allow), 1 => Just(Action::Deny)];
    (action, scope, name()).prop_map(|(action, scope, name)| (action, Pattern::new(scope, name)))
}

#[test]
fn names_with_allowed_ones_below_are_told() {
    let rules = [
        (Action::Allow, "*.azureml.ms"),
        (Action::Allow, ".b.c.example"),
        (Action::Allow, "x.sub.denied.example"),
        (Action::Deny, ".denied.example"),
        (Action::Deny, "hole.azureml.ms"),
        (Action::Deny, ".pit.azureml.ms"),
        (Action::Allow, "only.here.example"),
        (Action::Deny, "only.here.example"),
        (Action::Deny, "deep.down.example"),
    ];
    for builder in [TrieBuilder::new, TrieBuilder::colliding] {
        let rules: Rules =
            rules.iter().map(|(action, text)| (*action, Pattern::parse(text).unwrap())).collect();
        let trie = compile_with(builder(), &rules);
        for (name, expected) in [
            ("azureml.ms", true),
            ("ms", true),
            ("c.example", true),
            ("example", true),
            ("denied.example", true),
            ("sub.denied.example", true),
            ("y.denied.example", false),
            ("x.y.denied.example", false),
            // Allowed names are below, though a rule denies the name alone.
            ("hole.azureml.ms", true),
            ("pit.azureml.ms", false),
            ("x.pit.azureml.ms", false),
            // The deny rule overrides the allow rule.
            ("here.example", false),
            ("only.here.example", false),
            ("down.example", false),
            ("notms", false),
            ("com", false),
        ] {
            let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
            assert_eq!(trie.allows_below(&name), expected, "{name}");
        }
        assert!(trie.allows_below(&Name::ROOT));
    }
    let idle = vec![
        (Action::Allow, Pattern::parse("a.example").unwrap()),
        (Action::Deny, Pattern::parse("a.example").unwrap()),
    ];
    assert!(!compile(&idle).allows_below(&Name::ROOT));
    assert!(!compile(&Vec::new()).allows_below(&Name::ROOT));
}

/// A name near one of the rules: its own, one below, one above, or none of these.
fn neighbour(rules: &Rules, pick: usize, prefix: &[Vec<u8>], drop: usize) -> Option<Name> {
    let (_, pattern) = &rules[pick % rules.len()];
    let labels: Vec<&[u8]> =
        prefix.iter().map(Vec::as_slice).chain(pattern.name().labels().skip(drop)).collect();
    Name::from_labels(labels).ok()
}

fn agrees_at(size: usize, cases: u32, queries: usize) {
    agrees(TrieBuilder::new, size, cases, queries);
}

fn agrees(builder: fn() -> TrieBuilder, size: usize, cases: u32, queries: usize) {
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let prefixes =
        prop::collection::vec((any::<usize>(), prop::collection::vec(label(), 0..3), 0..3_usize), queries);
    let strategy =
        (prop::collection::vec(rule(), size), prefixes, prop::collection::vec(name(), queries / 4));
    runner
        .run(&strategy, |(rules, near, far)| {
            let trie = compile_with(builder(), &rules);
            for (pick, prefix, drop) in &near {
                if let Some(name) = neighbour(&rules, *pick, prefix, *drop) {
                    assert_agree(&rules, &trie, &name);
                }
            }
            far.iter().for_each(|name| assert_agree(&rules, &trie, name));
            Ok(())
        })
        .unwrap();
}

#[test]
fn trie_agrees_with_the_oracle_at_1_rule() {
    agrees_at(1, 500, 16);
}

#[test]
fn trie_agrees_with_the_oracle_at_2_rules() {
    agrees_at(2, 500, 16);
}

#[test]
fn trie_agrees_with_the_oracle_at_99_rules() {
    agrees_at(99, 100, 64);
}

#[test]
fn trie_agrees_with_the_oracle_at_101_rules() {
    agrees_at(101, 100, 64);
}

#[test]
fn trie_agrees_with_the_oracle_at_10_000_rules() {
    agrees_at(10_000, 2, 200);
}

#[test]
fn tags_that_collide_change_no_verdict() {
    for size in [1, 2, 9, 200] {
        agrees(TrieBuilder::colliding, size, 100, 64);
    }
}

/// The `index`th rule of a large list: mostly under few suffixes, as real lists are.
fn numbered_rule(index: u64) -> (Action, Pattern) {
    let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = format!("{:x}", mixed >> 40);
    let (second, top) =
        (format!("n{}", mixed % 5000), ["com", "net", "org", "io"][(mixed >> 20) as usize % 4]);
    let labels: Vec<&[u8]> = match index % 3 {
        0 => vec![first.as_bytes(), top.as_bytes()],
        1 => vec![first.as_bytes(), second.as_bytes(), top.as_bytes()],
        _ => vec![b"www", first.as_bytes(), second.as_bytes(), top.as_bytes()],
    };
    let scope = [Scope::Exact, Scope::Below, Scope::Subtree][(mixed >> 10) as usize % 3];
    let action = if index.is_multiple_of(7) { Action::Deny } else { Action::Allow };
    (action, Pattern::new(scope, Name::from_labels(labels).unwrap()))
}

#[test]
fn trie_agrees_with_the_oracle_at_1_000_000_rules() {
    let rules: Rules = (0..1_000_000).map(numbered_rule).collect();
    let trie = compile(&rules);
    for step in 0..24 {
        let pick = step * 41_017;
        for (prefix, drop) in [(vec![], 0), (vec![b"x".to_vec()], 0), (vec![b"y".to_vec()], 1)] {
            assert_agree(&rules, &trie, &neighbour(&rules, pick, &prefix, drop).unwrap());
        }
    }
}

#[test]
fn names_of_every_length_and_depth_are_decided() {
    let rules: Rules = vec![(Action::Allow, Pattern::parse("*.a").unwrap())];
    let trie = compile(&rules);
    for depth in 1..=127_usize {
        let labels = vec![b"a".as_slice(); depth];
        let name = Name::from_labels(labels).unwrap();
        assert_eq!(trie.find(&name).is_some(), depth > 1, "depth {depth}");
    }
    let longest = Name::from_labels([&[b'x'; 63][..], &[b'y'; 63], &[b'z'; 63], &[b'w'; 59], b"a"]).unwrap();
    assert_eq!(longest.wire_len(), MAX_NAME);
    assert!(trie.find(&longest).is_some());
    assert!(trie.find(&Name::ROOT).is_none());
}

#[test]
fn a_first_rule_of_the_most_labels_is_compiled() {
    let name = Name::from_labels(vec![b"a".as_slice(); 127]).unwrap();
    let rules = vec![(Action::Allow, Pattern::new(Scope::Exact, name.clone()))];
    assert!(compile(&rules).find(&name).is_some());
}

#[test]
fn a_dot_inside_a_label_is_no_boundary() {
    let trie = compile(&vec![(Action::Allow, Pattern::parse(".azureml.ms").unwrap())]);
    for wire in [&b"\x0aazureml.ms\0"[..], b"\x0cevil.azureml\x02ms\0", b"\x01x\x0aazureml.ms\x03com\0"] {
        assert!(trie.find(&Name::parse(wire).unwrap()).is_none());
    }
}

proptest! {
    /// A rule that has ended decides nothing, and the rules that it overrode apply again.
    #[test]
    fn ended_rules_leave_the_others(
        rules in prop::collection::vec((rule(), prop::option::of(1..4_u64)), 1..24),
        names in prop::collection::vec(name(), 8),
    ) {
        let mut builder = TrieBuilder::new();
        let day = |day: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(day * 86_400);
        for (index, ((action, pattern), end)) in rules.iter().enumerate() {
            let until = end.map(|end| format!("1970-01-0{end}").parse().unwrap());
            builder.insert(TrieRule { line: index as u32, until, ..TrieRule::new(*action, pattern) });
        }
        let trie = builder.build();
        // While a rule denies names until it ends, the names above those that it denies get NODATA already.
        let is_exact = rules.iter().all(|((action, _), end)| end.is_none() || *action == Action::Allow);
        for today in 0..4 {
            trie.end_rules(day(today));
            let is_left = |end: &Option<u64>| end.is_none_or(|end| today < end);
            let left: Vec<usize> = (0..rules.len()).filter(|index| is_left(&rules[*index].1)).collect();
            let rest: Rules = left.iter().map(|index| rules[*index].0.clone()).collect();
            for name in names.iter().chain(rules.iter().map(|((_, pattern), _)| pattern.name())) {
                let found = trie.find(name).map(|id| trie.rule(id).unwrap().line as usize);
                prop_assert_eq!(found, oracle(&rest, name).map(|index| left[index]), "{:?} on day {}", name, today);
                let is_allowed = found.is_some_and(|rule| rules[rule].0.0 == Action::Allow);
                if let Some(expected) = oracle_allows_below(&rest, name).filter(|_| !is_allowed) {
                    let is_above = trie.allows_below(name);
                    prop_assert!(is_above == expected || is_above && !is_exact, "below {:?} on day {}", name, today);
                }
            }
            let allows = rest.iter().any(|(action, _)| *action == Action::Allow);
            if !allows {
                prop_assert!(!trie.allows_below(&Name::ROOT), "below the root on day {}", today);
            }
            {
            }
        }
    }
}

fn decide(rules: &[(Action, &str)], mode: Mode, name: &str, qtype: Type, class: Class) -> &'static str {
    let mut builder = PolicyBuilder::new();
    let source = builder.source("test", "test.toml");
    for (line, (action, pattern)) in rules.iter().enumerate() {
        builder.rule(NewRule::new(*action, &Pattern::parse(pattern).unwrap(), source, line as u32 + 1));
    }
    let local = Name::from_labels([&b"local"[..], b"zone"]).unwrap();
    let policies = Policies::for_all(builder.build(Compile { local: vec![local], ..Compile::new(mode) }), 1);
    let asker = (std::net::Ipv4Addr::LOCALHOST.into(), clients::GroupId::DEFAULT);
    let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
    match policies.decide(asker, &Question { name, qtype, class }, AnswerFlags::default(), Instant::now()) {
        Verdict::Allowed(..) => "allowed",
        Verdict::Observed(..) => "observed",
        Verdict::Blocked(reason) => reason.kind().label(),
        Verdict::Local => "local",
        Verdict::MinimalAny(None) => "minimal",
        Verdict::MinimalAny(Some(_)) => "minimal, observed",
        Verdict::Refused => "refused",
    }
}

#[test]
fn verdicts() {
    let rules = [
        (Action::Allow, ".windows.net"),
        (Action::Deny, "*.search.windows.net"),
        (Action::Allow, "vscode.search.windows.net"),
        (Action::Allow, "a.example"),
        (Action::Deny, "a.example"),
    ];
    let a = Type(1);
    for (name, qtype, class, mode, expected) in [
        ("x.blob.windows.net", a, Class::IN, Mode::Enforce, "allowed"),
        ("windows.net", a, Class::IN, Mode::Enforce, "allowed"),
        ("x.search.windows.net", a, Class::IN, Mode::Enforce, "denied"),
        ("search.windows.net", a, Class::IN, Mode::Enforce, "allowed"),
        ("vscode.search.windows.net", a, Class::IN, Mode::Enforce, "allowed"),
        ("a.example", a, Class::IN, Mode::Enforce, "denied"),
        ("example", a, Class::IN, Mode::Enforce, "not_listed"),
        ("net", a, Class::IN, Mode::Enforce, "ancestor"),
        ("net", Type::ANY, Class::IN, Mode::Enforce, "ancestor"),
        ("net", Type::DS, Class::IN, Mode::Enforce, "allowed"),
        ("net", Type::DNSKEY, Class::IN, Mode::Enforce, "allowed"),
        ("net", Type::DS, Class::IN, Mode::Observe, "allowed"),
        ("net", a, Class::IN, Mode::Observe, "observed"),
        ("org", Type::DS, Class::IN, Mode::Enforce, "not_listed"),
        ("example", Type::DS, Class::IN, Mode::Enforce, "not_listed"),
        ("zone", a, Class::IN, Mode::Enforce, "ancestor"),
        ("b.example", a, Class::IN, Mode::Enforce, "not_listed"),
        ("b.example", a, Class::IN, Mode::Observe, "observed"),
        ("x.search.windows.net", a, Class::IN, Mode::Observe, "observed"),
        ("windows.net", Type::ANY, Class::IN, Mode::Enforce, "minimal"),
        ("b.example", Type::ANY, Class::IN, Mode::Enforce, "not_listed"),
        ("b.example", Type::ANY, Class::IN, Mode::Observe, "minimal, observed"),
        ("windows.net", Type::AXFR, Class::IN, Mode::Enforce, "refused"),
        ("windows.net", Type::TSIG, Class::IN, Mode::Observe, "refused"),
        ("windows.net", a, Class::CH, Mode::Enforce, "refused"),
        ("windows.net", a, Class(255), Mode::Observe, "refused"),
        ("local.zone", a, Class::IN, Mode::Enforce, "local"),
        ("x.local.zone", a, Class::IN, Mode::Enforce, "local"),
        ("x.local.zone", Type::AXFR, Class::IN, Mode::Enforce, "refused"),
    ] {
        assert_eq!(decide(&rules, mode, name, qtype, class), expected, "{name} {qtype} {class:?} {mode:?}");
    }
}

#[test]
fn the_hash_tells_policies_apart() {
    let hash = |rules: &[&str], mode| {
        let mut builder = PolicyBuilder::new();
        let source = builder.source("test", "test.toml");
        for pattern in rules {
            builder.rule(NewRule::new(Action::Allow, &Pattern::parse(pattern).unwrap(), source, 1));
        }
        builder.build(Compile::new(mode)).hash()
    };
    assert_eq!(hash(&["a.example"], Mode::Enforce), hash(&["A.example"], Mode::Enforce));
    assert_ne!(hash(&["a.example"], Mode::Enforce), hash(&["*.a.example"], Mode::Enforce));
    assert_ne!(hash(&["a.example"], Mode::Enforce), hash(&["a.example"], Mode::Observe));
}
