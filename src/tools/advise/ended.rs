//! Rules whose `until` has passed.

use super::{Advice, AdviceFinding, AdviceKind, JudgedRules};

/// Rules that have ended and therefore decide nothing.
pub(super) fn advise(subject: &JudgedRules<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::Ended,
        "rules have ended: they decide nothing any longer",
        "remove them, or set a later `until`",
    );
    for rule in subject.policy.iter_with_ended().filter(|rule| rule.is_over()) {
        advice.find(most, || {
            let until = rule.until().map(|until| until.to_string()).unwrap_or_default();
            let owner = match rule.text().owner {
                "" => String::new(),
                owner => format!(", owner {owner}"),
            };
            AdviceFinding { place: subject.place(rule), text: format!("`{rule}`: until {until}{owner}") }
        });
    }
    advice
}
