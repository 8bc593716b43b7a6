//! [`Policies`]: every client group's rules, and what is allowed besides them for a time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};

use super::ancestors::{Ancestors, FollowedAncestors};
use super::clients::{Clients, GroupId, WholeClient};
use super::cname::CnamePolicy;
use super::followed::{Followed, SHORTEST, Start};
use super::route::{Route, RouteId};
use super::rule::{Action, Scope};
use super::temporary::Temporary;
use super::verdict::Leave;
use super::{AllowReason, AllowedQuery, Judgement, Mode, Policy, Reason, RuleRef, Verdict, is_about_zones};
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;
use crate::wire::section;

/// Everything that decides. A reload makes new ones; a temporary allowance makes the same with another
/// [`Policies::generation`].
#[derive(Clone)]
pub struct Policies {
    clients: Arc<Clients>,
    groups: Arc<[Group]>,
    temporary: Arc<Temporary>,
    temporary_ancestors: Arc<Ancestors>,
    followed: Arc<Followed>,
    followed_ancestors: Arc<FollowedAncestors>,
    routes: Arc<[RouteId]>,
    compiled: u64,
    generation: u64,
}

/// Records of one answer that are followed: the longest chains of Azure have six, and resolvers give up after some ten.
const MAX_HOPS: usize = 32;

/// A client group and its rules.
pub struct Group {
    /// What it is called; [`Group::DEFAULT`] for everyone that no group claims.
    pub name: String,
    /// What it may ask; groups with the same rules share them.
    pub policy: Arc<Policy>,
}

impl Group {
    /// Name of the group of clients that no other group claims.
    pub const DEFAULT: &str = "default";
}

impl Policies {
    /// `groups` by their [`GroupId`]s; at least the default one. `generation` numbers the policies of one process upwards.
    pub fn new(clients: Clients, groups: Vec<Group>, generation: u64) -> Self {
        Self {
            clients: Arc::new(clients),
            followed: Arc::new(Followed::new(groups.len())),
            followed_ancestors: Arc::new(FollowedAncestors::new(groups.len())),
            groups: groups.into(),
            temporary: Arc::default(),
            temporary_ancestors: Arc::default(),
            routes: Arc::new([RouteId(0)]),
            compiled: generation,
            generation,
        }
    }

    /// One policy for everyone.
    pub fn for_all(policy: Policy, generation: u64) -> Self {
        let everyone = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        let group = Group { name: Group::DEFAULT.to_owned(), policy: Arc::new(policy) };
        Self::new(Clients::new(&everyone, &[]), vec![group], generation)
    }

    /// The same with other temporary allowances, under a number of its own.
    pub fn with_temporary(&self, temporary: Temporary) -> Self {
        let mut ancestors = Ancestors::default();
        for (pattern, end) in temporary.ends() {
            ancestors.add(pattern.name(), pattern.scope() == Scope::Below, Some(end));
        }
        Self {
            temporary: Arc::new(temporary),
            temporary_ancestors: Arc::new(ancestors),
            generation: self.generation + 1,
            ..self.clone()
        }
    }

    /// Says which numbers the routes have, by [`Route`]; those of routes beyond are that of the default one.
    pub fn number_routes(&mut self, numbers: Vec<RouteId>) {
        self.routes = numbers.into();
    }

    fn number(&self, route: Route) -> RouteId {
        self.routes.get(usize::from(route.0)).copied().unwrap_or(self.routes[0])
    }

    /// Number of the route of names that no route is for.
    pub fn default_route(&self) -> RouteId {
        self.routes[0]
    }

    /// Takes over what `before` allows for a time, as far as these policies still may.
    pub fn take_over(&mut self, before: &Self) {
        self.temporary = Arc::clone(&before.temporary);
        self.temporary_ancestors = Arc::clone(&before.temporary_ancestors);
        for (index, group) in self.groups.iter().enumerate() {
            let same = before.groups.iter().position(|known| known.name == group.name);
            let (Some(ours), Some(theirs)) = (GroupId::new(index), same.and_then(GroupId::new)) else {
                continue;
            };
            let rule_for = |root: &Name, route: RouteId| {
                let rule = group.policy.rule_for(root).filter(|rule| rule.action() == Action::Allow)?;
                let still_leads = rule.cname() == CnamePolicy::Follow
                    && self.number(group.policy.route(root, Some(rule))) == route;
                still_leads.then(|| rule.id())
            };
            self.followed.take_over(ours, &before.followed, theirs, rule_for);
            self.followed.each(ours, |name, until| {
                self.followed_ancestors.add(ours, name, until);
            });
        }
        self.followed.count_on_from(&before.followed);
        // Grants that were given while these were compiled have taken numbers.
        if self.generation <= before.generation {
            self.generation = before.generation + 1;
            self.compiled = self.generation;
        }
    }

    /// The group whose rules hold for `client`; none where it may not ask.
    pub fn group(&self, client: IpAddr) -> Option<GroupId> {
        self.clients.group(client)
    }

    /// All that the client at `address` has.
    pub fn whole_client(&self, address: IpAddr) -> WholeClient {
        self.clients.prefix().whole(address)
    }

    /// The rules of a group.
    pub fn policy(&self, group: GroupId) -> &Policy {
        &self.groups.get(group.index()).unwrap_or(&self.groups[0]).policy
    }

    /// The rules of clients that no group claims.
    pub fn default(&self) -> &Policy {
        &self.groups[0].policy
    }

    /// All groups, the default one first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What is allowed for a time.
    pub fn temporary(&self) -> &Temporary {
        &self.temporary
    }

    /// What answers have led to.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Number of the rules within the process; what is allowed for a time does not change it.
    pub fn compiled(&self) -> u64 {
        self.compiled
    }

    /// Number of these policies within the process: a verdict of others is to be taken again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Decides at `now` on a question of `client`, who is of `group`: the one place where a query may become an
    /// [`AllowedQuery`].
    ///
    /// A temporary allowance stands above every rule, for it is what an operator wants now; only names of local zones, those of
    /// [`super::bypass`] and what is never forwarded are not its business. A name that an answer led to is allowed where no rule denies it.
    pub fn decide<'q>(
        &self,
        (client, group): (IpAddr, GroupId),
        question: &'q Question,
        flags: AnswerFlags,
        now: Instant,
    ) -> Verdict<'q, '_> {
        let policy = self.policy(group);
        let (generation, prefix) = (self.generation, self.clients.prefix());
        let leave = |route, is_observed, is_for_a_time| {
            AllowedQuery::new(
                question,
                Leave { flags, client, prefix, generation, route, is_observed, is_for_a_time },
            )
        };
        let allowed = |route, ground| match question.qtype {
            Type::ANY => Verdict::MinimalAny(None),
            _ => Verdict::Allowed(leave(route, false, !matches!(ground, AllowReason::Rule(_))), ground),
        };
        let name = &question.name;
        let judgement = policy.judge(question, now);
        if let Judgement::NotAllowed(reason @ Reason::Bypass(_)) = judgement {
            return Verdict::Blocked(reason);
        }
        if matches!(judgement, Judgement::Allowed(_) | Judgement::NotAllowed(_))
            && let Some(grant) = self.temporary.find(name, now)
        {
            return allowed(self.number(policy.route(name, None)), AllowReason::Temporary(grant));
        }
        let mut reason = match judgement {
            Judgement::Refused => return Verdict::Refused,
            Judgement::Local => return Verdict::Local,
            Judgement::Allowed(rule) => {
                return allowed(self.number(policy.route(name, Some(rule))), AllowReason::Rule(rule));
            }
            Judgement::NotAllowed(reason) => reason,
        };
        if !matches!(reason, Reason::Denied(_) | Reason::Ancestor(Some(_)))
            && let Some(route) = self.followed.find(group, name, now)
        {
            return allowed(route, AllowReason::Followed);
        }
        if self.leads_to_lent(group, name, now) {
            reason = Reason::Ancestor(reason.rule());
        }
        if matches!(reason, Reason::Ancestor(_)) && policy.dnssec_ancestors && is_about_zones(question.qtype)
        {
            return allowed(self.number(policy.route(name, None)), AllowReason::Ancestor);
        }
        match policy.mode() {
            Mode::Enforce => Verdict::Blocked(reason),
            Mode::Observe if question.qtype == Type::ANY => Verdict::MinimalAny(Some(reason)),
            Mode::Observe => {
                Verdict::Observed(leave(self.number(policy.route(name, None)), true, false), reason)
            }
        }
    }

    /// True where a grant, or an answer to clients of `group`, lets some name below `name` be asked for at `now`.
    fn leads_to_lent(&self, group: GroupId, name: &Name, now: Instant) -> bool {
        self.temporary_ancestors.contains(name, now) || self.followed_ancestors.contains(group, name, now)
    }

    /// True where clients of `group` may ask for `name` at `now`, whatever the reason.
    fn admits(&self, group: GroupId, name: &Name, now: Instant) -> bool {
        let policy = self.policy(group);
        // As `decide` has it: local zones answer before any rule.
        if policy.is_local(name) {
            return true;
        }
        match policy.rule_for(name) {
            Some(rule) if rule.action() == Action::Allow => true,
            Some(rule) => rule.bypass().is_none() && self.temporary.find(name, now).is_some(),
            None => {
                self.temporary.find(name, now).is_some() || self.followed.find(group, name, now).is_some()
            }
        }
    }

    /// The rule by which clients of `group` were led to `name`, which is allowed on no other ground at `now`.
    pub fn leading_rule(&self, group: GroupId, name: &Name, now: Instant) -> Option<RuleRef<'_>> {
        let rule = self.policy(group).rule_by_id(self.followed.rule(group, name, now)?);
        rule.filter(|rule| rule.action() == Action::Allow)
    }

    /// The rule by which clients of `group` may ask `question` at `now`: the one that allows its name, or that led to it; none
    /// where someone allowed it for a time.
    pub fn opening_rule<'p>(
        &'p self,
        group: GroupId,
        ground: AllowReason<'p>,
        question: &Question,
        now: Instant,
    ) -> Option<RuleRef<'p>> {
        match ground {
            AllowReason::Rule(rule) => Some(rule),
            AllowReason::Followed => self.leading_rule(group, &question.name, now),
            AllowReason::Temporary(_) | AllowReason::Ancestor => None,
        }
    }

    /// True where every name that `reply` leads to is one that clients of `group` may ask for at `now`. What cannot be read
    /// leads nowhere good.
    pub fn admits_aliases(&self, group: GroupId, reply: &[u8], now: Instant) -> bool {
        let answers = || section::records(reply).filter(|record| record.is_answer);
        // A DNAME renames as well as a CNAME, which every server puts beside it (RFC 6672 section 3.1); without one there is no
        // telling where it leads.
        if answers().any(|record| record.kind == Type::DNAME)
            && !answers().any(|record| record.kind == Type::CNAME)
        {
            return false;
        }
        answers().all(|record| match record.target() {
            Ok(Some(target)) => self.admits(group, &target, now),
            Ok(None) => true,
            Err(section::Unreadable) => false,
        })
    }

    /// Allows to clients of `group` what `reply`, the answer to `query` of one of them, leads to.
    ///
    /// However long the way, it began at a name that a rule allows: no answer for a name on it can make it forget which.
    pub fn follow(&self, group: GroupId, query: &AllowedQuery<'_>, reply: &[u8], now: Instant) {
        let name = &query.question().name;
        let by_itself = self.policy(group).rule_for(name).filter(|rule| rule.action() == Action::Allow);
        let on_the_way = match by_itself {
            Some(_) => None,
            None => self.followed.root(group, name, now),
        };
        let (root, rule) = match (&by_itself, &on_the_way) {
            (Some(rule), _) => (name, rule.id()),
            (None, Some((root, rule))) => (root, *rule),
            // What led here leads nowhere any more.
            (None, None) => return,
        };
        let start = Start { client: query.whole_client(), root, rule, route: query.route() };
        for record in section::records(reply).filter(|record| record.is_answer).take(MAX_HOPS) {
            if let Ok(Some(target)) = record.target() {
                self.followed.note(group, start, &target, record.ttl, now);
                // What found no room there leads nowhere.
                if self.followed.find(group, &target, now).is_some() {
                    let until = now + Duration::from_secs(record.ttl.into()).max(SHORTEST);
                    self.followed_ancestors.note(group, &target, until, now);
                }
            }
        }
    }

    /// True where clients of the group with this index may ask for what validates names below `name`, which is not allowed itself.
    fn may_ask_about_zone(&self, index: usize, name: &Name, now: Instant) -> bool {
        let policy = &self.groups[index].policy;
        let is_allowed = |rule: RuleRef<'_>| rule.action() == Action::Allow;
        policy.dnssec_ancestors
            && !policy.rule_for(name).is_some_and(is_allowed)
            && (policy.is_ancestor(name, now)
                || GroupId::new(index).is_some_and(|group| self.leads_to_lent(group, name, now)))
    }

    /// The same for clients of any group.
    pub fn may_ask_for_zone(&self, name: &Name, now: Instant) -> bool {
        (0..self.groups.len()).any(|index| self.may_ask_about_zone(index, name, now))
    }

    /// True where some client may be given an answer for `name` that came by `route`: for what is kept over a reload.
    pub fn may_keep(&self, name: &Name, route: RouteId, now: Instant) -> bool {
        let temporary = self.temporary.find(name, now).is_some();
        self.groups.iter().enumerate().any(|(index, Group { policy, .. })| {
            let rule = policy.rule_for(name).filter(|rule| rule.action() == Action::Allow && !temporary);
            let followed = || self.followed.find(GroupId::new(index)?, name, now);
            let is_ancestor = || self.may_ask_about_zone(index, name, now);
            let asked = rule.is_some() || temporary || policy.mode() == Mode::Observe || is_ancestor();
            asked && self.number(policy.route(name, rule)) == route || followed() == Some(route)
        })
    }
}
