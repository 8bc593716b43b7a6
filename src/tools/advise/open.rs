//! Rules that allow more than they should.

use super::{Advice, AdviceFinding, AdviceKind, JudgedRules};
use crate::hazard::{Reach, placeholder, public_resolver, public_resolvers, reach, tunnel};
use crate::policy::RuleRef;
use crate::policy::rule::{Action, Scope};

pub(super) fn advise(subject: &JudgedRules<'_>, most: usize) -> Vec<Advice> {
    let mut advice = vec![placeholders(subject, most), resolvers(subject, most), tunnels(subject, most)];
    advice.extend(wide(subject, most));
    advice
}

fn placeholders(subject: &JudgedRules<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Placeholder,
        "rules are for names that nobody has: placeholders of a template",
        "write the real names, or remove the rules",
    );
    for rule in subject.own_allowing() {
        if let Some(why) = placeholder(rule.pattern().name()) {
            let text = || format!("`{rule}`: {why}");
            advice.find(most, || AdviceFinding { place: subject.place(rule), text: text() });
        }
    }
    advice
}

fn resolvers(subject: &JudgedRules<'_>, most: usize) -> Advice {
    let policy = subject.policy;
    let mut advice = Advice::new(
        AdviceKind::PublicResolver,
        "public resolvers are allowed: over HTTPS or TLS they resolve any name, bypassing namegate",
        "remove the rules, or add these names to `policy.deny`",
    );
    for (name, operator) in public_resolvers() {
        if let Some(rule) = policy.rule_for(&name).filter(|rule| rule.action() == Action::Allow) {
            let text = || format!("`{name}` ({operator}), allowed by `{rule}`");
            advice.find(most, || AdviceFinding { place: subject.place(rule), text: text() });
        }
    }
    // Rules for names below a resolver's name, such as one account's. The loop above finds rules for the name itself.
    let at_one = |rule: &RuleRef<'_>| public_resolvers().any(|(name, _)| rule.pattern().matches(&name));
    let opens = |rule: &RuleRef<'_>| rule.action() == Action::Allow && !rule.is_overruled();
    for rule in policy.iter().filter(opens) {
        if let Some(operator) = public_resolver(rule.pattern().name()).filter(|_| !at_one(&rule)) {
            let text = || format!("`{rule}` ({operator})");
            advice.find(most, || AdviceFinding { place: subject.place(rule), text: text() });
        }
    }
    advice
}

fn tunnels(subject: &JudgedRules<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Tunnel,
        "rules allow tunnel services, which carry any traffic to any machine",
        "remove the rules; for a tunnel that you need, allow its exact name",
    );
    for rule in subject.own_allowing() {
        let pattern = rule.pattern();
        if let Some((suffix, what)) = tunnel(pattern.name(), pattern.scope() != Scope::Exact) {
            let text = || format!("`{rule}`: {what} (`{suffix}`)");
            advice.find(most, || AdviceFinding { place: subject.place(rule), text: text() });
        }
    }
    advice
}

/// Rules that allow names of others: below a public suffix, or below a suffix of a cloud or CDN.
fn wide(subject: &JudgedRules<'_>, most: usize) -> [Advice; 2] {
    let mut suffix = Advice::new(
        AdviceKind::PublicSuffix,
        "rules allow every domain that a registry sells below a public suffix",
        "allow the domains that you need",
    );
    let mut broad = Advice::new(
        AdviceKind::Broad,
        "rules allow domains where any tenant can create names, so data can leave through them",
        "allow your own resources instead; `policy.strict = true` excludes rules marked `broad`",
    );
    for rule in subject.policy.iter().filter(|rule| rule.action() == Action::Allow) {
        let place = || subject.place(rule);
        let written = subject.written(rule).filter(|written| written.broad);
        let opens = match (written, reach(rule.pattern().name())) {
            (Some(written), _) if written.purpose.is_empty() => "marked `broad`".to_owned(),
            (Some(written), _) => format!("marked `broad`, purpose: {}", written.purpose),
            _ if rule.pattern().scope() == Scope::Exact || !subject.is_own(rule) => continue,
            (None, Reach::OneOwner) => continue,
            // Reported as a tunnel.
            (None, _) if tunnel(rule.pattern().name(), false).is_some() => continue,
            (None, Reach::Anyone(shared, what)) => {
                let is_itself = shared.is_empty() || rule.pattern().name().to_string() == shared;
                if is_itself { what.to_owned() } else { format!("{what} (`{shared}`)") }
            }
            (None, Reach::Registry) => {
                let is_reverse = rule.pattern().name().labels().last() == Some(b"arpa");
                let what = match is_reverse {
                    true => "names of every address, which its owner's servers answer",
                    false => "every domain below a public suffix",
                };
                let text = format!("`{rule}`: {what}");
                suffix.find(most, || AdviceFinding { place: place(), text });
                continue;
            }
        };
        broad.find(most, || AdviceFinding { place: place(), text: format!("`{rule}`: {opens}") });
    }
    [suffix, broad]
}
