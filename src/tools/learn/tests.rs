//! Tests of the whole path from names to rules.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::allowlist::server_lists::ServerLists;
use crate::hazard::{DomainStanding, Reach, public_resolver, reach, standing};
use crate::observe::blocked_names::Sighting;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{Compile, Mode, NewRule, PolicyBuilder};
use crate::wire::code::Type;
use crate::wire::name::Name;

const A: Type = Type(1);
const AAAA: Type = Type(28);

const PLAIN: LearnOptions = LearnOptions { fold: 5, fold_risky: false, min_count: 1, since: None };

fn policy(rules: &[(Action, &str)]) -> Policy {
    let mut builder = PolicyBuilder::new();
    let source = builder.source("zone", "zone.toml");
    for (line, (action, pattern)) in (1..).zip(rules) {
        builder.rule(NewRule::new(*action, &Pattern::parse(pattern).unwrap(), source, line));
    }
    builder.build(Compile::new(Mode::Enforce))
}

fn name(text: &str) -> Name {
    Pattern::parse(text).unwrap().name().clone()
}

fn blocked<'n>(names: impl IntoIterator<Item = &'n str>) -> BlockedNames {
    let mut blocked = BlockedNames::new(10_000);
    for (second, text) in (1_795_392_000..).zip(names) {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        blocked.add(&name(text), &Sighting::once(time, "10.0.0.4".parse().ok(), A, false));
    }
    blocked
}

fn proposal(names: &BlockedNames, options: LearnOptions) -> Proposal {
    propose(names, known(&policy(&[]), &OwnProbes::default()), options)
}

static NO_PARAMETERS: BTreeMap<String, Vec<String>> = BTreeMap::new();

fn known<'k>(policy: &'k Policy, probes: &'k OwnProbes) -> Known<'k> {
    Known { policy, zones: &[], parameters: &NO_PARAMETERS, strict: false, probes, shipped: &[] }
}

/// Lookups of one name at one time.
fn seen_of(names: &mut BlockedNames, text: &str, qtype: Type, client: &str, count: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(1_795_392_000);
    for _ in 0..count {
        names.add(&name(text), &Sighting::once(time, client.parse().ok(), qtype, false));
    }
}

fn patterns(proposal: &Proposal) -> Vec<String> {
    proposal.rules.iter().map(|rule| rule.pattern.to_string()).collect()
}

fn reasons(proposal: &Proposal) -> Vec<(Why, usize)> {
    proposal.left_out.iter().map(|left_out| (left_out.why.clone(), left_out.names.len())).collect()
}

// Once, the first suggestion for the demonstration's traffic was `*.exfiltrate.example.com`.
#[test]
fn names_used_once_for_text_are_never_folded() {
    let mut names = BlockedNames::new(10_000);
    for number in 0..40 {
        seen_of(&mut names, &format!("d{number}.exfiltrate.example.com"), Type::TXT, "10.0.0.4", 1);
    }
    seen_of(&mut names, "www.example.com", A, "10.0.0.4", 9);
    let proposed = proposal(&names, PLAIN);
    assert_eq!(patterns(&proposed), ["www.example.com"]);
    assert_eq!(reasons(&proposed), [(Why::Tunnel("example.com".to_owned()), 40)]);
}

/// A case, names with type and lookups, the rules suggested, and the names that look like data.
type FoldRow = (&'static str, &'static [(&'static str, Type, u64)], &'static [&'static str], usize);

const NULL: Type = Type(10);

#[rustfmt::skip]
const FOLDS: &[FoldRow] = &[
    ("few names for text are rules by themselves",
        &[("a.x.com", Type::TXT, 1), ("b.x.com", Type::TXT, 2), ("c.x.com", NULL, 1)], &["b.x.com", "a.x.com", "c.x.com"], 0),
    ("names for text that are used again are rules by themselves",
        &[("a.x.com", Type::TXT, 3), ("b.x.com", Type::TXT, 3), ("c.x.com", Type::TXT, 3)],
        &["a.x.com", "b.x.com", "c.x.com"], 0),
    ("one more lookup makes no name for text ordinary",
        &[("a.x.com", Type::TXT, 1), ("a.x.com", A, 1), ("b.x.com", Type::TXT, 1), ("b.x.com", A, 1),
          ("c.x.com", Type::TXT, 1), ("c.x.com", A, 1), ("d.x.com", Type::TXT, 1), ("d.x.com", Type::HTTPS, 1),
          ("e.x.com", Type::TXT, 1), ("e.x.com", Type(33), 1), ("www.x.com", A, 1)], &["www.x.com"], 5),
    ("retries make no name for text ordinary",
        &[("a.x.com", Type::TXT, 3), ("b.x.com", Type::TXT, 3), ("c.x.com", Type::TXT, 3), ("d.x.com", NULL, 3),
          ("e.x.com", Type(65_280), 3)], &[], 5),
    ("HTTPS, SVCB and SRV without addresses carry data too",
        &[("a.x.com", Type::HTTPS, 1), ("b.x.com", Type::SVCB, 1), ("c.x.com", Type(33), 1), ("d.x.com", Type::HTTPS, 1),
          ("e.x.com", Type::HTTPS, 2)], &[], 5),
    ("HTTPS beside addresses is ordinary",
        &[("a.x.com", A, 1), ("a.x.com", Type::HTTPS, 1), ("b.x.com", AAAA, 1), ("b.x.com", Type::HTTPS, 1),
          ("c.x.com", A, 1), ("c.x.com", Type::HTTPS, 1)], &["*.x.com"], 0),
    ("services are found by SRV",
        &[("_ldap._tcp.a.x.com", Type(33), 1), ("_ldap._tcp.b.x.com", Type(33), 1), ("_ldap._tcp.c.x.com", Type(33), 1),
          ("_ldap._tcp.d.x.com", Type(33), 1), ("_ldap._tcp.e.x.com", Type(33), 1)], &["*.x.com"], 0),
    ("many lookups of names for text make no wildcard",
        &[("a.x.com", Type::TXT, 99), ("b.x.com", Type::TXT, 99), ("c.x.com", Type::TXT, 99), ("d.x.com", Type::TXT, 99),
          ("e.x.com", Type::TXT, 99)], &["a.x.com", "b.x.com", "c.x.com", "d.x.com", "e.x.com"], 0),
    ("one lookup for text of a frequent name is no message",
        &[("a.x.com", A, 99), ("a.x.com", Type::TXT, 1), ("b.x.com", A, 9), ("c.x.com", A, 9)], &["*.x.com"], 0),
    ("no wildcard covers a name used once for text",
        &[("a.x.com", A, 9), ("b.x.com", A, 8), ("c.x.com", A, 7), ("d.y.x.com", Type::TXT, 1)],
        &["a.x.com", "b.x.com", "c.x.com", "d.y.x.com"], 0),
    ("random labels used once",
        &[("q7x2k9w4m1z8.x.com", A, 1), ("w4m1z8q7x2k9.x.com", A, 2), ("m1z8q7x2k9w4.x.com", A, 1)],
        &["w4m1z8q7x2k9.x.com", "m1z8q7x2k9w4.x.com", "q7x2k9w4m1z8.x.com"], 0),
    ("random labels used again are siblings",
        &[("q7x2k9w4m1z8.x.com", A, 9), ("w4m1z8q7x2k9.x.com", A, 9), ("m1z8q7x2k9w4.x.com", A, 9)], &["*.x.com"], 0),
    ("five names for text are a tunnel",
        &[("a.x.com", Type::TXT, 1), ("b.x.com", Type::TXT, 1), ("c.x.com", NULL, 1), ("d.x.com", Type::TXT, 1),
          ("e.x.com", Type::TXT, 2), ("www.x.com", A, 1)], &["www.x.com"], 5),
    ("a few services ask for text",
        &[("_dmarc.a.x.com", Type::TXT, 1), ("_dmarc.b.x.com", Type::TXT, 1), ("_dmarc.c.x.com", Type::TXT, 1)],
        &["_dmarc.a.x.com", "_dmarc.b.x.com", "_dmarc.c.x.com"], 0),
    ("an underscore hides no tunnel",
        &[("_a.x.com", Type::TXT, 1), ("_b.x.com", Type::TXT, 1), ("_c.x.com", Type::TXT, 1), ("_d.x.com", Type::TXT, 1),
          ("_e.x.com", Type::TXT, 1)], &[], 5),
];

#[test]
fn single_use_names_are_kept_apart() {
    for (case, lookups, rules, data) in FOLDS {
        let mut names = BlockedNames::new(100);
        for (text, qtype, count) in *lookups {
            seen_of(&mut names, text, *qtype, "10.0.0.4", *count);
        }
        let proposed = proposal(&names, LearnOptions { fold: 3, ..PLAIN });
        assert_eq!(patterns(&proposed), *rules, "{case}");
        let tunnels = reasons(&proposed).into_iter().filter(|(why, _)| matches!(why, Why::Tunnel(_)));
        assert_eq!(tunnels.map(|(_, names)| names).sum::<usize>(), *data, "{case}");
    }
}

#[test]
fn rules_with_most_lookups_come_first() {
    let mut names = BlockedNames::new(100);
    for (text, count) in [("a.com", 1), ("b.com", 7), ("c.com", 3), ("d.com", 3)] {
        seen_of(&mut names, text, A, "10.0.0.4", count);
    }
    assert_eq!(patterns(&proposal(&names, PLAIN)), ["b.com", "c.com", "d.com", "a.com"]);
}

#[test]
fn probes_of_namegate_itself_get_no_rule() {
    let probes = OwnProbes {
        must_not_resolve: vec![name("example.com")],
        look_alikes: ["evilazureml.ms", "azureml.ms"].into_iter().map(name).collect(),
    };
    let mut names = BlockedNames::new(100);
    for text in ["example.com", "www.example.com", "n12345.example.com", "evilazureml.ms", "azureml.ms"] {
        seen_of(&mut names, text, A, "10.0.0.4", 3);
    }
    // Without a run of `prove`, look-alikes are names that some client wants.
    let policy = policy(&[]);
    let proposed = propose(&names, known(&policy, &probes), PLAIN);
    assert_eq!(reasons(&proposed), [(Why::Probe, 1)]);
    assert_eq!(proposed.rules.len(), 4, "{proposed:?}");
    for text in ["n0123456789abcdef.example.com", "a.b.c.d.n0123456789abcdef.example.com"] {
        seen_of(&mut names, text, Type::TXT, "10.0.0.4", 1);
    }
    seen_of(&mut names, "azureml.ms", A, "10.0.0.5", 1);
    let proposed = propose(&names, known(&policy, &probes), PLAIN);
    assert_eq!(reasons(&proposed), [(Why::Probe, 4)]);
    assert_eq!(patterns(&proposed), ["azureml.ms", "n12345.example.com", "www.example.com"]);
}

/// A case, the name, and the values to add; none if the name gets a rule.
type ParameterRow = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const PARAMETERS: &[ParameterRow] = &[
    ("another region", "x.northeurope.batch.example.com", &[("region", "northeurope")]),
    ("a word that is no region", "x.nowhere.batch.example.com", &[]),
    ("a parameter without values", "mine.blob.example.com", &[("storage", "mine")]),
    ("only the missing one of two", "mine.westeurope.data.example.com", &[("acr", "mine")]),
    ("both", "mine.northeurope.data.example.com", &[("acr", "mine"), ("region", "northeurope")]),
    ("one is enough", "a.northeurope.both.example.com", &[("region", "northeurope")]),
    ("data is no value", "mfrggzdfmztwq2lkmnsgk3lp.blob.example.com", &[]),
    ("a rule that denies", "mine.denied.example.com", &[]),
    ("a broad rule, which strict leaves out", "mine.broad.example.com", &[]),
    ("another list's parameter", "mine.none.example.com", &[]),
];

#[test]
fn a_value_of_a_parameter_is_suggested_in_place_of_a_rule() {
    const LIST: &str = r#"
        [[allow]]
        host = "*.{region}.batch.example.com"
        [[allow]]
        host = "{storage}.blob.example.com"
        [[allow]]
        host = "{acr}.{region}.data.example.com"
        [[allow]]
        host = "{acr}.{region}.both.example.com"
        [[allow]]
        host = "*.{region}.both.example.com"
        [[deny]]
        host = "{storage}.denied.example.com"
        [[allow]]
        host = "{storage}.broad.example.com"
        broad = true
    "#;
    let parameters = BTreeMap::from([("region".to_owned(), vec!["westeurope".to_owned()])]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("list.toml");
    std::fs::write(&path, LIST).unwrap();
    let settings =
        crate::config::PolicySettings { zones: vec![path.display().to_string()], ..Default::default() };
    let (mut rules, mut routes) = (PolicyBuilder::new(), ServerLists::new(Vec::new()));
    let zones = crate::allowlist::read(&settings, &parameters, &mut rules, &mut routes).unwrap().list;
    let (policy, probes) = (policy(&[]), OwnProbes::default());
    for (case, text, values) in PARAMETERS {
        let known = Known { zones: &zones, parameters: &parameters, strict: true, ..known(&policy, &probes) };
        let mut names = BlockedNames::new(10);
        seen_of(&mut names, text, A, "10.0.0.4", 3);
        let proposed = propose(&names, known, PLAIN);
        let values: Vec<(String, String)> =
            values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if values.is_empty() {
            assert_eq!(patterns(&proposed), [*text], "{case}");
        } else {
            assert_eq!(reasons(&proposed), [(Why::Parameters(values), 1)], "{case}");
            assert!(proposed.rules.is_empty(), "{case}");
        }
    }
}

/// A case, the names queried, the rules suggested, and the wildcards not suggested.
type Row = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("one name is one rule", "a.example.com", "a.example.com", ""),
    ("four are four", "a.x.com b.x.com c.x.com d.x.com", "a.x.com b.x.com c.x.com d.x.com", ""),
    ("five are a family", "a.x.com b.x.com c.x.com d.x.com e.x.com", "*.x.com", ""),
    ("the parent joins its family", "x.com a.x.com b.x.com c.x.com d.x.com e.x.com", ".x.com", ""),
    ("a public suffix does not fold", "a.com b.com c.com d.com e.com", "a.com b.com c.com d.com e.com", ""),
    ("nor one with two labels",
        "a.co.uk b.co.uk c.co.uk d.co.uk e.co.uk", "a.co.uk b.co.uk c.co.uk d.co.uk e.co.uk", ""),
    ("nor a top-level domain that no list knows",
        "a.lan b.lan c.lan d.lan e.lan", "a.lan b.lan c.lan d.lan e.lan", ""),
    ("the deepest parent folds",
        "a.y.x.com b.y.x.com c.y.x.com d.y.x.com e.y.x.com z.x.com", "*.y.x.com z.x.com", ""),
    ("families of a family fold once",
        "1.a.x.com 1.b.x.com 1.c.x.com 1.d.x.com 1.e.x.com", "*.x.com", ""),
    ("workspace names are generated",
        "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.westeurope.api.azureml.ms \
         5f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.westeurope.api.azureml.ms",
        "*.workspace.westeurope.api.azureml.ms", ""),
    ("one workspace may be the only one",
        "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.westeurope.api.azureml.ms",
        "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.westeurope.api.azureml.ms", ""),
    ("two generated names do not fold a domain",
        "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.x.com 5f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.x.com",
        "4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.x.com 5f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.x.com", ""),
    ("regions are no family",
        "westeurope.api.azureml.ms eastus.api.azureml.ms westus.api.azureml.ms northeurope.api.azureml.ms \
         uksouth.api.azureml.ms us-east-1.api.azureml.ms",
        "eastus.api.azureml.ms northeurope.api.azureml.ms uksouth.api.azureml.ms us-east-1.api.azureml.ms \
         westeurope.api.azureml.ms westus.api.azureml.ms", ""),
    ("each region folds by itself",
        "a.westeurope.x.com b.westeurope.x.com c.westeurope.x.com d.westeurope.x.com e.westeurope.x.com a.eastus.x.com",
        "*.westeurope.x.com a.eastus.x.com", ""),
    ("storage accounts are anyone's",
        "a.blob.core.windows.net b.blob.core.windows.net c.blob.core.windows.net d.blob.core.windows.net \
         e.blob.core.windows.net",
        "a.blob.core.windows.net b.blob.core.windows.net c.blob.core.windows.net d.blob.core.windows.net \
         e.blob.core.windows.net",
        "*.blob.core.windows.net"),
    ("so are sites of a provider that only the Public Suffix List knows",
        "a.readthedocs.io b.readthedocs.io c.readthedocs.io d.readthedocs.io e.readthedocs.io",
        "a.readthedocs.io b.readthedocs.io c.readthedocs.io d.readthedocs.io e.readthedocs.io",
        "*.readthedocs.io"),
    ("a parent above shared suffixes opens them too",
        "a.azure.com b.azure.com c.azure.com d.azure.com e.azure.com",
        "a.azure.com b.azure.com c.azure.com d.azure.com e.azure.com",
        "*.azure.com"),
];

#[test]
fn names_become_the_rules_expected() {
    for (case, names, rules, risky) in ROWS {
        let proposed = proposal(&blocked(names.split_whitespace()), PLAIN);
        let mut found: Vec<String> = proposed.rules.iter().map(|rule| rule.pattern.to_string()).collect();
        let mut wanted: Vec<&str> = rules.split_whitespace().collect();
        found.sort();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{case}");
        let found: Vec<String> = proposed.risky.iter().map(|fold| fold.pattern.to_string()).collect();
        assert_eq!(found.join(" "), *risky, "{case}");
    }
}

#[test]
fn risky_folds_are_made_where_wanted_and_marked_broad() {
    let names = ["a", "b", "c", "d", "e"].map(|label| format!("{label}.azurewebsites.net"));
    let names = blocked(names.iter().map(String::as_str));
    let proposed = proposal(&names, LearnOptions { fold_risky: true, ..PLAIN });
    let [rule] = proposed.rules.as_slice() else { panic!("{proposed:?}") };
    assert_eq!((rule.pattern.to_string().as_str(), rule.names), ("*.azurewebsites.net", 5));
    assert!(proposed.risky.is_empty() && rule.opens.is_some());
    let heading = Heading { origin: "a log".to_owned(), time: UNIX_EPOCH };
    assert!(to_toml(&proposed, &heading).contains("broad   = true\n"));
    // No option folds a public suffix.
    let names = blocked(["a.com", "b.com", "c.com", "d.com", "e.com"]);
    assert_eq!(proposal(&names, LearnOptions { fold_risky: true, ..PLAIN }).rules.len(), 5);
}

#[test]
fn a_wildcard_has_the_evidence_of_all_its_names() {
    let mut names = blocked(["a.x.com", "b.x.com", "c.x.com", "d.x.com", "e.x.com"]);
    let late = UNIX_EPOCH + Duration::from_secs(1_795_478_400);
    for _ in 0..3 {
        names.add(&name("d.x.com"), &Sighting::once(late, "10.0.0.5".parse().ok(), AAAA, false));
    }
    let proposed = proposal(&names, PLAIN);
    let rule = &proposed.rules[0];
    assert_eq!((rule.seen.count, rule.names, rule.seen.last), (8, 5, late));
    assert_eq!(
        rule.examples.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["d.x.com", "a.x.com", "b.x.com"]
    );
    let text = to_toml(&proposed, &Heading { origin: "a log".to_owned(), time: late });
    for part in [
        "revised = 2026-11-24\n",
        "\nhost    = \"*.x.com\"\npurpose = \"5 names queried 8 times by 2 clients\"\n",
        "\n# 2026-11-23T00:00:00Z to 2026-11-24T00:00:00Z, by 10.0.0.4, 10.0.0.5, for A, AAAA\n",
        "\n# for example d.x.com, a.x.com, b.x.com\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn what_no_rule_is_proposed_for_is_told_with_the_reason() {
    let tunnel: Vec<String> =
        (0..6).map(|number| format!("mfrggzdfmztwq2lkmnsgk3lpobzhe4tf{number}.t.tunnel.com")).collect();
    let mut names = blocked(tunnel.iter().map(String::as_str));
    let (old, new) = (UNIX_EPOCH + Duration::from_secs(1), UNIX_EPOCH + Duration::from_secs(1_795_392_001));
    for (text, time, denied) in [
        ("www.tunnel.com", new, false),
        ("dns.google", new, false),
        ("archive.ubuntu.com", new, false),
        ("denied.example", new, true),
        ("x.search.example", new, false),
        ("now.allowed.example", new, true),
        ("co.uk", new, false),
        ("old.example", old, false),
    ] {
        for _ in 0..2 {
            names.add(&name(text), &Sighting::once(time, None, A, denied));
        }
    }
    names.add(&name("seldom.example"), &Sighting::once(new, None, A, false));
    let shipped = [
        ("large", policy(&[(Action::Allow, ".ubuntu.com"), (Action::Allow, "more.example")])),
        ("small", policy(&[(Action::Allow, "*.ubuntu.com")])),
        ("other", policy(&[(Action::Allow, "other.example")])),
    ];
    let policy = policy(&[(Action::Allow, ".allowed.example"), (Action::Deny, "*.search.example")]);
    let probes = OwnProbes::default();
    let known = Known { shipped: &shipped, ..known(&policy, &probes) };
    let options = LearnOptions { since: Some(new - Duration::from_secs(60)), ..PLAIN };
    let proposed = propose(&names, known, options);
    let rules: Vec<String> = proposed.rules.iter().map(|rule| rule.pattern.to_string()).collect();
    assert_eq!(rules, ["www.tunnel.com", "seldom.example"]);
    let seldom = propose(&names, known, LearnOptions { min_count: 2, ..options });
    let told: Vec<(Why, usize)> =
        seldom.left_out.iter().map(|left_out| (left_out.why.clone(), left_out.names.len())).collect();
    assert_eq!(
        told,
        [
            (Why::Shipped(vec!["small", "large"]), 1),
            (Why::PublicResolver("Google"), 1),
            (Why::Denied(None), 1),
            (Why::Denied(Some("*.search.example at zone.toml:2".to_owned())), 1),
            (Why::Registry, 1),
            (Why::Allowed, 1),
            (Why::Seldom, 7),
            (Why::Before, 1),
        ]
    );
    assert!(proposed.left_out.iter().any(|left_out| left_out.why == Why::Tunnel("tunnel.com".to_owned())));
}

// Once, `--min-count` hid the names of a tunnel, so that its domain got a wildcard.
#[test]
fn names_looked_up_seldom_still_show_a_tunnel() {
    let mut names = BlockedNames::new(100);
    for text in ["a.x.com", "b.x.com", "c.x.com", "d.x.com", "e.x.com"] {
        seen_of(&mut names, text, A, "10.0.0.4", 20);
        seen_of(&mut names, &format!("{text}.x.com"), Type::TXT, "10.0.0.4", 1);
    }
    let proposed = proposal(&names, LearnOptions { min_count: 5, ..PLAIN });
    assert_eq!(patterns(&proposed), ["a.x.com", "b.x.com", "c.x.com", "d.x.com", "e.x.com"]);
    assert_eq!(reasons(&proposed), [(Why::Seldom, 5)]);
}

// Once, two ordinary names below a tunnel's domain became a wildcard that allowed all of the tunnel's names.
#[test]
fn no_wildcard_is_proposed_for_the_domain_of_a_tunnel() {
    let tunnel = (0..6).map(|number| format!("mfrggzdfmztwq2lkmnsgk3lpobzhe4tf{number}.tunnel.com"));
    let hosts: Vec<String> = tunnel.chain(["a.tunnel.com".to_owned(), "b.tunnel.com".to_owned()]).collect();
    let names = blocked(hosts.iter().map(String::as_str));
    let proposed = proposal(&names, LearnOptions { fold: 2, ..PLAIN });
    let rules: Vec<String> = proposed.rules.iter().map(|rule| rule.pattern.to_string()).collect();
    assert_eq!(rules, ["a.tunnel.com", "b.tunnel.com"]);
}

/// Names that are likely to be siblings, some below shared suffixes.
fn hosts() -> impl Strategy<Value = Vec<String>> {
    let label = prop_oneof![
        6 => "[a-h]",
        1 => Just("westeurope".to_owned()),
        1 => "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}",
        1 => "[a-z2-7]{40}",
    ];
    let domain = prop::sample::select(vec![
        "com",
        "co.uk",
        "lan",
        "x.com",
        "y.co.uk",
        "corp.example",
        "blob.core.windows.net",
        "windows.net",
        "azurewebsites.net",
        "github.io",
        "cloudflare-dns.com",
        "azureml.ms",
        "amazonaws.com",
    ]);
    let host = (prop::collection::vec(label, 0..4), domain).prop_map(|(labels, domain)| {
        labels.into_iter().chain([domain.to_owned()]).collect::<Vec<_>>().join(".")
    });
    prop::collection::vec(host, 0..60)
}

proptest! {
    #[test]
    fn rules_cover_what_was_asked_and_no_more_than_one_owners_names(hosts in hosts(), fold in 2..8_usize) {
        let names = blocked(hosts.iter().map(String::as_str));
        let proposed = proposal(&names, LearnOptions { fold, ..PLAIN });
        for rule in &proposed.rules {
            let parent = rule.pattern.name();
            if rule.pattern.scope() == Scope::Exact {
                prop_assert!(standing(parent) != DomainStanding::Registry, "{}", rule.pattern);
            } else {
                prop_assert!(matches!(standing(parent), DomainStanding::Registered(_)), "{}", rule.pattern);
                prop_assert_eq!(reach(parent), Reach::OneOwner, "{}", rule.pattern);
            }
            prop_assert!(public_resolver(parent).is_none(), "{}", rule.pattern);
        }
        for (name, _) in names.iter() {
            let covered = proposed.rules.iter().filter(|rule| rule.pattern.matches(&name)).count();
            let left_out = proposed.left_out.iter().filter(|out| out.names.iter().any(|(other, _)| *other == name));
            prop_assert_eq!(covered + left_out.count(), 1, "{} is in one place", name);
        }
        // The output is a valid allowlist.
        let text = to_toml(&proposed, &Heading { origin: "\"\n\u{1b}".to_owned(), time: UNIX_EPOCH });
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("learnt.toml");
        std::fs::write(&path, &text).unwrap();
        let settings = crate::config::PolicySettings { zones: vec![path.display().to_string()], ..Default::default() };
        let mut builder = PolicyBuilder::new();
        let zones = crate::allowlist::read(&settings, &Default::default(), &mut builder, &mut ServerLists::new(Vec::new())).unwrap();
        prop_assert!(zones.warnings.is_empty(), "{}", zones.warnings);
        let mut read: Vec<String> =
            zones.list[0].rules.iter().flat_map(|rule| &rule.patterns).map(ToString::to_string).collect();
        let mut written: Vec<String> = proposed.rules.iter().map(|rule| rule.pattern.to_string()).collect();
        read.sort();
        written.sort();
        prop_assert_eq!(read, written);
        prop_assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{}", text);
    }
}
