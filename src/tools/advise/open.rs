//! Rules that allow more than they should.

use super::{Advice, AdviceFinding, AdviceKind, Sources};
use crate::hazard::{Reach, public_resolver, public_resolvers, reach};
use crate::policy::rule::{Action, Scope};
use crate::policy::{Policy, RuleRef};

pub(super) fn advise(policy: &Policy, sources: &Sources<'_>, most: usize) -> Vec<Advice> {
    vec![resolvers(policy, most), broad(policy, sources, most)]
}

fn resolvers(policy: &Policy, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::PublicResolver,
        "public resolvers are allowed: over HTTPS or TLS they resolve any name, bypassing namegate",
        "remove the rules, or add these names to `policy.deny`",
    );
    for (name, operator) in public_resolvers() {
        if let Some(rule) = policy.rule_for(&name).filter(|rule| rule.action() == Action::Allow) {
            let text = || format!("`{name}` ({operator}), allowed by `{rule}`");
            advice.find(most, || AdviceFinding { place: rule.place(), text: text() });
        }
    }
    // Rules for names below a resolver's name, such as one account's. The loop above finds rules for the name itself.
    let at_one = |rule: &RuleRef<'_>| public_resolvers().any(|(name, _)| rule.pattern().matches(&name));
    let opens = |rule: &RuleRef<'_>| rule.action() == Action::Allow && !rule.is_overruled();
    for rule in policy.iter().filter(opens) {
        if let Some(operator) = public_resolver(rule.pattern().name()).filter(|_| !at_one(&rule)) {
            advice
                .find(most, || AdviceFinding { place: rule.place(), text: format!("`{rule}` ({operator})") });
        }
    }
    advice
}

fn broad(policy: &Policy, sources: &Sources<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Broad,
        "rules allow domains where any tenant can create names, so data can leave through them",
        "allow your own resources instead; `policy.strict = true` excludes rules marked `broad`",
    );
    for rule in policy.iter().filter(|rule| rule.action() == Action::Allow) {
        let opens = match sources.written(rule).filter(|written| written.broad) {
            Some(written) if written.purpose.is_empty() => Some("marked `broad`".to_owned()),
            Some(written) => Some(format!("marked `broad`, purpose: {}", written.purpose)),
            None if sources.is_own(rule) => opens(rule),
            None => None,
        };
        if let Some(opens) = opens {
            advice.find(most, || AdviceFinding { place: rule.place(), text: format!("`{rule}`: {opens}") });
        }
    }
    advice
}

/// What a wildcard allows besides its owner's names.
fn opens(rule: RuleRef<'_>) -> Option<String> {
    let pattern = rule.pattern();
    if pattern.scope() == Scope::Exact {
        return None;
    }
    match reach(pattern.name()) {
        Reach::OneOwner => None,
        Reach::Anyone(_, what) => Some(what.to_owned()),
        Reach::Registry => Some("every domain below a public suffix".to_owned()),
    }
}
