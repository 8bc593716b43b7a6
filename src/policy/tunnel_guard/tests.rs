//! Tests of the guard: windows, many clients, types.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::policy::clients::ClientPrefix;
use crate::policy::rule::{Action, Pattern};
use crate::policy::{Compile, Mode, NewRule, Policy, PolicyBuilder};
use crate::wire::code::Class;

const BUDGET: TunnelBudget = TunnelBudget { names: 3, bytes: 100, window: Duration::from_secs(60) };

fn policy() -> Policy {
    let mut builder = PolicyBuilder::new();
    let source = builder.source("test", "test.toml");
    for pattern in ["*.wide.example", "one.example"] {
        builder.rule(NewRule::new(Action::Allow, &Pattern::parse(pattern).unwrap(), source, 1));
    }
    builder.build(Compile::new(Mode::Enforce))
}

fn name(text: &str) -> Name {
    Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
}

fn admit(guard: &TunnelGuard, client: &str, asked: &str, now: Instant) -> bool {
    admit_typed(guard, client, asked, Type::A, now)
}

fn admit_typed(guard: &TunnelGuard, client: &str, asked: &str, qtype: Type, now: Instant) -> bool {
    let policy = policy();
    let question = Question { name: name(asked), qtype, class: Class::IN };
    let client = ClientPrefix::default().whole(client.parse().unwrap());
    guard.admit(client, policy.rule_for(&question.name).unwrap(), &question, now)
}

#[test]
fn a_crowd_does_not_hide_one_who_uses_its_budget_up() {
    let (guard, now) = (TunnelGuard::new(BUDGET, true), Instant::now());
    for index in 0..3 {
        assert!(admit(&guard, "10.9.9.9", &format!("n{index}.wide.example"), now));
    }
    for index in 0..2 * MAX {
        let client = std::net::Ipv4Addr::from_bits(0x0a01_0000 + index as u32).to_string();
        assert!(admit(&guard, &client, "a.wide.example", now));
    }
    assert!(!admit(&guard, "10.9.9.9", "n3.wide.example", now), "its budget is still used up");
    for index in 0..3 {
        assert!(admit(&guard, "10.9.9.8", &format!("n{index}.wide.example"), now));
    }
    assert!(!admit(&guard, "10.9.9.8", "n3.wide.example", now), "other clients can still be watched");
}

#[test]
fn unusual_types_carry_data_as_names_do() {
    let (guard, now) = (TunnelGuard::new(BUDGET, true), Instant::now());
    let ask = |qtype| admit_typed(&guard, "10.0.0.1", "a.wide.example", qtype, now);
    assert!(ask(Type::A) && ask(Type::AAAA) && ask(Type::HTTPS), "one name");
    assert!(ask(Type(3000)) && ask(Type(3001)));
    assert!(!ask(Type(3002)));
    assert!(ask(Type::A));
}

#[test]
fn windows_pass_and_names_are_remembered_for_two() {
    let (guard, start) = (TunnelGuard::new(BUDGET, true), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    for (asked, seconds, admitted) in [
        ("a.wide.example", 0, true),
        ("b.wide.example", 1, true),
        ("c.wide.example", 2, true),
        ("d.wide.example", 3, false),
        ("a.wide.example", 4, true),
        ("e.wide.example", 60, true),
        ("a.wide.example", 61, true),
        ("b.wide.example", 62, true),
        ("f.wide.example", 63, true),
        ("g.wide.example", 64, true),
        ("h.wide.example", 65, false),
        // `a` and `b` of the first window were queried in the second too, `c` was not.
        ("a.wide.example", 121, true),
        ("c.wide.example", 122, true),
        ("i.wide.example", 123, true),
        ("j.wide.example", 124, true),
        ("k.wide.example", 125, false),
    ] {
        assert_eq!(admit(&guard, "10.0.0.1", asked, at(seconds)), admitted, "{asked} after {seconds} s");
    }
}

#[test]
fn an_ipv6_client_has_one_budget_for_its_64() {
    let (guard, now) = (TunnelGuard::new(BUDGET, true), Instant::now());
    let asked = ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8::9", "2001:db8:0:1::9"];
    let admitted: Vec<bool> = asked
        .iter()
        .enumerate()
        .map(|(index, client)| admit(&guard, client, &format!("n{index}.wide.example"), now))
        .collect();
    assert_eq!(admitted, [true, true, true, false, true]);
    let [suspect] = &guard.suspects(now)[..] else { panic!("{:?}", guard.suspects(now)) };
    assert_eq!((suspect.client.to_string().as_str(), suspect.exceeded), ("2001:db8::", 1));
    assert_eq!(suspect.suffix, name("wide.example"));
    assert!(guard.suspects(now + BUDGET.window).is_empty());
}

#[test]
fn of_a_rule_for_one_name_only_unusual_types_are_new() {
    let (guard, now) = (TunnelGuard::new(TunnelBudget { names: 0, ..BUDGET }, true), Instant::now());
    for qtype in USUAL_TYPES {
        assert!(admit_typed(&guard, "10.0.0.1", "one.example", qtype, now), "{qtype}");
    }
    assert!(!admit_typed(&guard, "10.0.0.1", "one.example", Type(3000), now));
    assert!(!admit(&guard, "10.0.0.1", "a.wide.example", now));
}

#[test]
fn types_of_one_name_use_the_budget_up() {
    let (guard, now) =
        (TunnelGuard::new(TunnelBudget { names: 100, bytes: 7, ..BUDGET }, true), Instant::now());
    let ask = |qtype| admit_typed(&guard, "10.0.0.1", "one.example", Type(qtype), now);
    assert_eq!([3000, 3001, 3002, 3003, 3000].map(ask), [true, true, true, false, true], "two bytes each");
}

#[test]
fn names_that_answers_led_to_count_below_their_rule() {
    let (guard, now, policy) = (TunnelGuard::new(BUDGET, true), Instant::now(), policy());
    let rule = policy.rule_for(&name("one.example")).unwrap();
    let ask = |asked: &str| {
        let question = Question { name: name(asked), qtype: Type::A, class: Class::IN };
        let client = ClientPrefix::default().whole("10.0.0.1".parse().unwrap());
        guard.admit(client, rule, &question, now)
    };
    let asked = ["a.cdn.test", "b.cdn.test", "x", "c.cdn.test", "a.cdn.test", "one.example"];
    assert_eq!(asked.map(ask), [true, true, true, false, true, true]);
    assert_eq!(guard.suspects(now)[0].bytes, 3 * CHOICE);
}
