//! Rules for names that software does not query: they only occur as targets of CNAME records.

use std::collections::BTreeSet;

use super::{Advice, AdviceFinding, AdviceKind, JudgedRules};
use crate::hazard::alias_only;
use crate::policy::cname::CnamePolicy;
use crate::policy::rule::Pattern;

/// Hosts named for one target.
const HOSTS: usize = 3;

/// Only rules of the operator whose allowlist does not inspect CNAME targets: namegate needs no rule for those.
pub(super) fn advise(subject: &JudgedRules<'_>, most: usize) -> Advice {
    let mut advice = Advice::new(
        AdviceKind::AliasTarget,
        "rules are for names that software rarely queries: they occur as targets of CNAME records",
        "namegate decides by the queried name: remove those that no client queries. Keep them in products that check every \
         name of a CNAME chain, such as an Azure DNS security policy",
    );
    for rule in subject.own_allowing().filter(|rule| rule.cname() != CnamePolicy::Inspect) {
        let pattern = rule.pattern();
        let covers = |to: &Pattern| to.matches(pattern.name()) || pattern.matches(to.name());
        let hosts = subject.aliases.iter().filter(|(_, to)| covers(to)).map(|(host, _)| *host);
        let text = match (
            alias_only(pattern.name()),
            subject.aliases.iter().any(|(_, to)| to.matches(pattern.name())),
        ) {
            (None, false) => continue,
            (what, _) => {
                let mut text = format!("`{rule}`");
                let hosts: BTreeSet<&str> = hosts.collect();
                let hosts: Vec<String> = hosts.iter().take(HOSTS).map(|host| format!("`{host}`")).collect();
                let leads =
                    (!hosts.is_empty()).then(|| format!("CNAME chains of {} lead there", hosts.join(", ")));
                let parts: Vec<String> = what.map(str::to_owned).into_iter().chain(leads).collect();
                text.push_str(": ");
                text + &parts.join("; ")
            }
        };
        advice.find(most, || AdviceFinding { place: subject.place(rule), text });
    }
    advice
}
