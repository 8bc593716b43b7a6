//! [`Model`]: what authentic replies carried, and what the rules in force allow.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use namegate::policy::Policy;
use namegate::policy::cname::CnamePolicy;
use namegate::policy::expect::Expect;
use namegate::policy::route::Route;
use namegate::wire::answer::Lifetime;
use namegate::wire::request::AnswerFlags;

use super::super::oracle::{Rules, oracle};
use super::super::testbed::{LIFETIMES, Zone, policy, rules};
use super::super::{Action, Name, Pattern, Question};

/// The servers, one per route.
pub(super) const SERVERS: [&str; 2] = ["127.0.0.1:9", "127.0.0.2:9"];

/// TTL of stale answers in seconds.
const STALE_TTL: u32 = 30;

/// Shortest time for which a followed name stays allowed.
const LEAD: Duration = Duration::from_secs(10);

/// A set of rules, and the routes of names.
pub(super) struct RuleSet {
    zones: Vec<Zone>,
    routed: Vec<(Pattern, Route)>,
    /// The routes as rules, for checking every one.
    routes: Rules,
    pub(super) policy: Arc<Policy>,
}

/// Rule sets that reloads switch between: names come and go, change their route, and their answers are inspected more
/// or less strictly.
pub(super) static RULE_SETS: LazyLock<[RuleSet; 5]> = LazyLock::new(|| {
    use CnamePolicy::{Follow, Inspect, Trust};
    [
        RuleSet::new(
            &[
                (&[".example"], &["b.example"], Trust),
                (&[".follow.test"], &[], Follow),
                (&[".inspect.test"], &[], Inspect),
            ],
            &[],
        ),
        RuleSet::new(
            &[(&["a.example", "b.example"], &[], Trust), (&["*.follow.test"], &["x.test"], Follow)],
            &["a.example"],
        ),
        RuleSet::new(
            &[(&[".example", ".inspect.test", ".follow.test"], &["*.deep.example"], Trust)],
            &[".example", ".follow.test"],
        ),
        RuleSet::new(
            &[(&["a.deep.example"], &[], Trust), (&[".follow.test"], &[], Follow)],
            &["*.follow.test"],
        ),
        RuleSet::new(&[], &[]),
    ]
});

impl RuleSet {
    fn new(zones: &[(&[&str], &[&str], CnamePolicy)], routed: &[&str]) -> Self {
        let zone = |(allow, deny, cname): &(&[&str], &[&str], _)| Zone {
            rules: rules(allow, deny),
            cname: *cname,
            expect: Expect::Any,
        };
        let zones: Vec<Zone> = zones.iter().map(zone).collect();
        let routed: Vec<_> = routed.iter().map(|text| (Pattern::parse(text).unwrap(), Route(1))).collect();
        let routes = routed.iter().map(|(pattern, _)| (Action::Allow, pattern.clone())).collect();
        let policy = policy(&zones, &routed);
        Self { zones, routed, routes, policy }
    }

    /// The server for `name`, if no answer led to it.
    fn server(&self, name: &Name) -> &'static str {
        let route = oracle(&self.routes, name).map_or(0, |index| usize::from(self.routed[index].1.0));
        SERVERS[route]
    }

    /// The action for `name`, and the policy for aliases in its answers; `None` if no rule covers it.
    fn rule(&self, name: &Name) -> Option<(Action, CnamePolicy)> {
        let all: Rules = self.zones.iter().flat_map(|zone| zone.rules.clone()).collect();
        let found = oracle(&all, name)?;
        let of_zone = self.zones.iter().flat_map(|zone| zone.rules.iter().map(|_| zone.cname)).nth(found)?;
        Some((all[found].0, of_zone))
    }
}

/// What an authentic reply carried.
#[derive(Clone, Debug)]
pub(super) struct Authentic {
    pub(super) question: Question,
    pub(super) flags: AnswerFlags,
    pub(super) server: String,
    pub(super) received: Duration,
    pub(super) lifetime: Lifetime,
    pub(super) alias: Option<Name>,
}

/// An answer whose alias targets clients of a group may query.
#[derive(Clone, Debug)]
struct Lead {
    group: usize,
    /// The allowed name at the start of the chain.
    root: Name,
    server: String,
    target: Name,
    until: Duration,
}

/// See the module documentation. A reply's index is its mark.
pub(super) struct Model {
    pub(super) authentic: Vec<Authentic>,
    /// The rules of each group.
    rules: [usize; 2],
    grants: Vec<(Pattern, Duration)>,
    leads: Vec<Lead>,
}

impl Model {
    /// A model without replies.
    pub(super) fn new() -> Self {
        Self { authentic: Vec::new(), rules: group_rules(0), grants: Vec::new(), leads: Vec::new() }
    }

    fn rules_of(&self, group: usize) -> &'static RuleSet {
        &RULE_SETS[self.rules[group]]
    }

    /// Changes the rules in force. A lead stays if its root's answers may still be followed by the same route.
    pub(super) fn reload(&mut self, rules: usize) {
        self.rules = group_rules(rules);
        let of_group = self.rules.map(|rules| &RULE_SETS[rules]);
        self.leads.retain(|lead| {
            let rules = of_group[lead.group];
            rules.rule(&lead.root) == Some((Action::Allow, CnamePolicy::Follow))
                && rules.server(&lead.root) == lead.server
        });
    }

    pub(super) fn allow(&mut self, pattern: Pattern, until: Duration) {
        self.revoke(&pattern);
        self.grants.push((pattern, until));
    }

    pub(super) fn revoke(&mut self, pattern: &Pattern) {
        self.grants.retain(|(known, _)| known != pattern);
    }

    /// The servers that may be queried for `name` by clients of `group`; empty if none.
    pub(super) fn servers(&self, group: usize, name: &Name, now: Duration) -> Vec<&str> {
        let rules = self.rules_of(group);
        let is_granted = self.grants.iter().any(|(pattern, until)| *until > now && pattern.matches(name));
        match rules.rule(name) {
            _ if is_granted => vec![rules.server(name)],
            Some((Action::Allow, _)) => vec![rules.server(name)],
            Some((Action::Deny, _)) => Vec::new(),
            None => self.leads(group, name, now).map(|lead| &*lead.server).collect(),
        }
    }

    fn leads(&self, group: usize, name: &Name, now: Duration) -> impl Iterator<Item = &Lead> {
        self.leads.iter().filter(move |lead| (lead.group, &lead.target) == (group, name) && lead.until > now)
    }

    /// Checks data that clients of `group` get, and records where they lead.
    pub(super) fn check(
        &mut self,
        group: usize,
        (question, flags): (&Question, AnswerFlags),
        (mark, ttl): (u32, u32),
        now: Duration,
    ) {
        let data =
            self.authentic.get(mark as usize).unwrap_or_else(|| panic!("forged data: {mark:x}")).clone();
        assert_eq!((&data.question, data.flags), (question, flags), "data of another question");
        let servers = self.servers(group, &question.name, now);
        assert!(
            servers.contains(&&*data.server),
            "{question:?}: {servers:?} may be queried, not {}",
            data.server
        );
        check_age(&data, ttl, now);
        let Some(target) = data.alias else { return };
        match self.rules_of(group).rule(&question.name) {
            Some((Action::Allow, CnamePolicy::Inspect)) if !self.is_granted(&question.name, now) => {
                let leads_well = !self.servers(group, &target, now).is_empty();
                assert!(leads_well, "{} leads to {target}, which is not allowed", question.name);
            }
            rule @ (Some((Action::Allow, CnamePolicy::Follow)) | None) => {
                let until = now + Duration::from_secs(ttl.into()).max(LEAD);
                let roots: HashSet<Name> = match rule {
                    Some(_) => HashSet::from([question.name.clone()]),
                    None => self.leads(group, &question.name, now).map(|lead| lead.root.clone()).collect(),
                };
                let lead =
                    |root| Lead { group, root, server: data.server.clone(), target: target.clone(), until };
                self.leads.extend(roots.into_iter().map(lead));
            }
            _ => {}
        }
    }

    fn is_granted(&self, name: &Name, now: Duration) -> bool {
        self.grants.iter().any(|(pattern, until)| *until > now && pattern.matches(name))
    }
}

/// The groups have different rules: one may query names that the other may not.
pub(super) fn group_rules(rules: usize) -> [usize; 2] {
    [rules % RULE_SETS.len(), (rules / RULE_SETS.len() + rules) % RULE_SETS.len()]
}

/// Data are fresh, or stale within the limit with the TTL that says so.
fn check_age(data: &Authentic, ttl: u32, now: Duration) {
    let age = now - data.received;
    let (most, lifetime) = match data.lifetime {
        Lifetime::Positive(seconds) => (seconds, Duration::from_secs(seconds.into()).min(LIFETIMES.max)),
        Lifetime::Negative(seconds) => {
            (seconds, Duration::from_secs(seconds.into()).min(LIFETIMES.max_negative))
        }
        Lifetime::Failure | Lifetime::Unknown => panic!("{data:?} has no data"),
    };
    // An answer that is not cached still reaches the clients waiting for it.
    if age < lifetime || age.is_zero() {
        assert!(
            u64::from(ttl) <= u64::from(most).saturating_sub(age.as_secs()),
            "{ttl} s of {most} s after {age:?}"
        );
    } else {
        assert!(age < lifetime + LIFETIMES.max_stale, "{age:?} old, lifetime {lifetime:?}");
        assert!(ttl <= STALE_TTL, "a stale answer with {ttl} s");
    }
}
