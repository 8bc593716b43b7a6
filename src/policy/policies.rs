//! [`Policies`]: the rules of every client group, the grants, and the followed names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};

use super::ancestors::{Ancestors, FollowedAncestors};
use super::clients::{ClientPrefix, Clients, GroupId, WholeClient};
use super::cname::CnamePolicy;
use super::followed::{Followed, SHORTEST, Start};
use super::route::{Route, RouteId};
use super::rule::{Action, Scope};
use super::temporary::{Grant, GrantScope, Temporary};
use super::verdict::Leave;
use super::{AllowReason, AllowedQuery, Judgement, Mode, Policy, Reason, RuleRef, Verdict, is_about_zones};
use crate::wire::code::Type;
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;
use crate::wire::section;

/// The rules of all client groups, the grants and the followed names. A reload builds a new `Policies`; a grant makes a
/// copy with the next [`Policies::generation`].
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

/// Answer records examined per reply: well above the longest CNAME chains in Azure (six) with their addresses.
/// Resolvers give up after about ten CNAMEs.
const MAX_HOPS: usize = 32;

/// A client group and its rules.
pub struct Group {
    /// Its name; [`Group::DEFAULT`] for clients in no other group.
    pub name: String,
    /// What its clients may query. Groups with the same rules share one policy.
    pub policy: Arc<Policy>,
}

impl Group {
    /// Name of the default group: clients in no other group.
    pub const DEFAULT: &str = "default";
}

impl Policies {
    /// `groups` in the order of their [`GroupId`]s, at least the default one. `generation` increases within a process.
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

    /// A copy with other grants and the next generation.
    pub fn with_temporary(&self, temporary: Temporary) -> Self {
        let mut ancestors = Ancestors::default();
        for (Grant { pattern, scope, .. }, end) in temporary.ends() {
            ancestors.add(pattern.name(), pattern.scope() == Scope::Below, scope, Some(end));
        }
        Self {
            temporary: Arc::new(temporary),
            temporary_ancestors: Arc::new(ancestors),
            generation: self.generation + 1,
            ..self.clone()
        }
    }

    /// Sets the route ids, indexed by [`Route`]. A route beyond the end has the default route's id.
    pub fn number_routes(&mut self, numbers: Vec<RouteId>) {
        self.routes = numbers.into();
    }

    fn route_id(&self, route: Route) -> RouteId {
        self.routes.get(usize::from(route.0)).copied().unwrap_or(self.routes[0])
    }

    /// The id of the default route.
    pub fn default_route(&self) -> RouteId {
        self.routes[0]
    }

    /// Takes over the grants of `before`, and its followed names as far as these policies still follow them.
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
                    && self.route_id(group.policy.route(root, Some(rule))) == route;
                still_leads.then(|| rule.id())
            };
            self.followed.take_over(ours, &before.followed, theirs, rule_for);
            self.followed.each(ours, |name, until| {
                self.followed_ancestors.add(ours, name, until);
            });
        }
        self.followed.count_on_from(&before.followed);
        // Grants made while these policies were compiled have advanced the generation: continue after it.
        if self.generation <= before.generation {
            self.generation = before.generation + 1;
            self.compiled = self.generation;
        }
    }

    /// The group of `client`; `None` if it may not query.
    pub fn group(&self, client: IpAddr) -> Option<GroupId> {
        self.clients.group(client)
    }

    /// The client that `address` belongs to: one IPv4 address or one IPv6 prefix.
    pub fn whole_client(&self, address: IpAddr) -> WholeClient {
        self.clients.prefix().whole(address)
    }

    /// The length of the IPv6 prefix that counts as one client.
    pub fn client_prefix(&self) -> ClientPrefix {
        self.clients.prefix()
    }

    /// The rules of a group.
    pub fn policy(&self, group: GroupId) -> &Policy {
        &self.groups.get(group.index()).unwrap_or(&self.groups[0]).policy
    }

    /// The rules of the default group.
    pub fn default(&self) -> &Policy {
        &self.groups[0].policy
    }

    /// All groups, the default one first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The grants.
    pub fn temporary(&self) -> &Temporary {
        &self.temporary
    }

    /// The followed names.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    /// Generation of the rules; grants do not change it.
    pub fn compiled(&self) -> u64 {
        self.compiled
    }

    /// Generation of these policies. If a verdict has another generation, call [`Policies::decide`] again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Decides at `now` whether `client` in `group` may query `question`. Only this function creates an
    /// [`AllowedQuery`].
    ///
    /// A grant overrides every rule: it is what an operator wants now. It does not override local zones, bypass names
    /// ([`super::bypass`]) and types that are never forwarded. A followed name is allowed unless a rule denies it.
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
        let allowed = |route, allow_reason| match question.qtype {
            Type::ANY => Verdict::MinimalAny(None),
            _ => Verdict::Allowed(
                leave(route, false, !matches!(allow_reason, AllowReason::Rule(_))),
                allow_reason,
            ),
        };
        let name = &question.name;
        let judgement = policy.judge(question, now);
        if let Judgement::NotAllowed(reason @ Reason::Bypass(_)) = judgement {
            return Verdict::Blocked(reason);
        }
        if matches!(judgement, Judgement::Allowed(_) | Judgement::NotAllowed(_))
            && let Some(grant) = self.grant_for((client, group), name, now)
        {
            return allowed(self.route_id(policy.route(name, None)), AllowReason::Temporary(grant));
        }
        let mut reason = match judgement {
            Judgement::Refused => return Verdict::Refused,
            Judgement::Local => return Verdict::Local,
            Judgement::Allowed(rule) => {
                return allowed(self.route_id(policy.route(name, Some(rule))), AllowReason::Rule(rule));
            }
            Judgement::NotAllowed(reason) => reason,
        };
        if !matches!(reason, Reason::Denied(_) | Reason::Ancestor(Some(_)))
            && let Some(route) = self.followed_route(group, name, now)
        {
            return allowed(route, AllowReason::Followed);
        }
        if self.has_temporary_descendant(client, group, name, now) {
            reason = Reason::Ancestor(reason.rule());
        }
        if matches!(reason, Reason::Ancestor(_)) && policy.dnssec_ancestors && is_about_zones(question.qtype)
        {
            return allowed(self.route_id(policy.route(name, None)), AllowReason::Ancestor);
        }
        match policy.mode() {
            Mode::Enforce => Verdict::Blocked(reason),
            Mode::Observe if question.qtype == Type::ANY => Verdict::MinimalAny(Some(reason)),
            Mode::Observe => {
                Verdict::Observed(leave(self.route_id(policy.route(name, None)), true, false), reason)
            }
        }
    }

    /// The route of a followed name, unless the rule at the start of its chain has ended.
    #[inline]
    fn followed_route(&self, group: GroupId, name: &Name, now: Instant) -> Option<RouteId> {
        if self.followed.is_used() { self.lasting_route(group, name, now) } else { None }
    }

    /// Apart, so that [`Policies::decide`] stays small: most policies follow nothing.
    #[inline(never)]
    fn lasting_route(&self, group: GroupId, name: &Name, now: Instant) -> Option<RouteId> {
        let route = self.followed.find(group, name, now)?;
        let rule = self.policy(group).rule_by_id(self.followed.rule(group, name, now)?);
        rule.is_none_or(|rule| !rule.is_over()).then_some(route)
    }

    /// The grant that allows `client` in `group` to query `name` at `now`.
    #[inline]
    fn grant_for(&self, (client, group): (IpAddr, GroupId), name: &Name, now: Instant) -> Option<&Grant> {
        self.temporary.find(name, now, |scope| self.includes(scope, client, group))
    }

    /// True if a grant of this scope is for `client` in `group`.
    fn includes(&self, scope: &GrantScope, client: IpAddr, group: GroupId) -> bool {
        scope.includes(client, self.groups.get(group.index()).map_or(Group::DEFAULT, |group| &group.name))
    }

    /// True if a grant for `client` or a followed name of its `group` allows some name below `name` at `now`.
    fn has_temporary_descendant(&self, client: IpAddr, group: GroupId, name: &Name, now: Instant) -> bool {
        self.temporary_ancestors.contains(name, now, |scope| self.includes(scope, client, group))
            || self.followed_ancestors.contains(group, name, now)
    }

    /// True if `client` in `group` may query `name` at `now`, for whatever reason.
    fn admits(&self, (client, group): (IpAddr, GroupId), name: &Name, now: Instant) -> bool {
        let policy = self.policy(group);
        // As in `decide`: local zones answer before any rule.
        if policy.is_local(name) {
            return true;
        }
        match policy.rule_for(name) {
            Some(rule) if rule.action() == Action::Allow => true,
            Some(rule) => rule.bypass().is_none() && self.grant_for((client, group), name, now).is_some(),
            None => {
                self.grant_for((client, group), name, now).is_some()
                    || self.followed_route(group, name, now).is_some()
            }
        }
    }

    /// The rule at the start of the CNAME chain that led clients of `group` to the followed `name`. Call it only if no
    /// rule or grant allows `name` at `now`.
    pub fn leading_rule(&self, group: GroupId, name: &Name, now: Instant) -> Option<RuleRef<'_>> {
        let rule = self.policy(group).rule_by_id(self.followed.rule(group, name, now)?);
        rule.filter(|rule| rule.action() == Action::Allow)
    }

    /// The rule responsible for an allowed `question` of `group` at `now`: the matching rule, or for a followed name
    /// the rule at the start of its CNAME chain. `None` for a grant or an ancestor.
    pub fn opening_rule<'p>(
        &'p self,
        group: GroupId,
        allow_reason: AllowReason<'p>,
        question: &Question,
        now: Instant,
    ) -> Option<RuleRef<'p>> {
        match allow_reason {
            AllowReason::Rule(rule) => Some(rule),
            AllowReason::Followed => self.leading_rule(group, &question.name, now),
            AllowReason::Temporary(_) | AllowReason::Ancestor => None,
        }
    }

    /// True if `asker`, a client and its group, may query every name that `reply` leads to at `now`. False if a record
    /// is malformed.
    pub fn admits_aliases(&self, asker: (IpAddr, GroupId), reply: &[u8], now: Instant) -> bool {
        let answers = || section::records(reply).filter(|record| record.is_answer);
        // A server must add a CNAME to a DNAME (RFC 6672 section 3.1). Without it the target is unknown: reject.
        if answers().any(|record| record.kind == Type::DNAME)
            && !answers().any(|record| record.kind == Type::CNAME)
        {
            return false;
        }
        answers().all(|record| match record.target() {
            Ok(Some(target)) => self.admits(asker, &target, now),
            Ok(None) => true,
            Err(section::Unreadable) => false,
        })
    }

    /// Allows clients of `group` to query the names that `reply`, an answer to `query`, leads to.
    ///
    /// A CNAME chain stays linked to its first name, which a rule allows; answers for later names do not change that
    /// link.
    pub fn follow(&self, group: GroupId, query: &AllowedQuery<'_>, reply: &[u8], now: Instant) {
        let name = &query.question().name;
        let by_itself = self.policy(group).rule_for(name).filter(|rule| rule.action() == Action::Allow);
        let followed_root = match by_itself {
            Some(_) => None,
            None if self.followed_route(group, name, now).is_none() => None,
            None => self.followed.root(group, name, now),
        };
        let (root, rule) = match (&by_itself, &followed_root) {
            (Some(rule), _) => (name, rule.id()),
            (None, Some((root, rule))) => (root, *rule),
            // The followed name has expired meanwhile.
            (None, None) => return,
        };
        let start = Start { client: query.whole_client(), root, rule, route: query.route() };
        for record in section::records(reply).filter(|record| record.is_answer).take(MAX_HOPS) {
            if let Ok(Some(target)) = record.target() {
                self.followed.note(group, start, &target, record.ttl, now);
                // If the target's share was full, it was not stored: do not record its ancestors.
                if self.followed.find(group, &target, now).is_some() {
                    let until = now + Duration::from_secs(record.ttl.into()).max(SHORTEST);
                    self.followed_ancestors.note(group, &target, until, now);
                }
            }
        }
    }

    /// True if a client of this group may query DS, DNSKEY, NS and SOA of `name` only because an allowed name is below it.
    fn group_may_query_ancestor(&self, index: usize, name: &Name, now: Instant) -> bool {
        let policy = &self.groups[index].policy;
        let is_allowed = |rule: RuleRef<'_>| rule.action() == Action::Allow;
        policy.dnssec_ancestors
            && !policy.rule_for(name).is_some_and(is_allowed)
            && (policy.is_ancestor(name, now)
                || self.temporary_ancestors.contains(name, now, |_| true)
                || GroupId::new(index)
                    .is_some_and(|group| self.followed_ancestors.contains(group, name, now)))
    }

    /// True if any group may query DS, DNSKEY, NS and SOA of `name` only because an allowed name is below it.
    pub fn may_ask_for_zone(&self, name: &Name, now: Instant) -> bool {
        (0..self.groups.len()).any(|index| self.group_may_query_ancestor(index, name, now))
    }

    /// True if some client may still get an answer for `name` from `route`. Decides which cache entries survive a
    /// reload.
    pub fn may_keep(&self, name: &Name, route: RouteId, now: Instant) -> bool {
        let is_granted = self.temporary.find(name, now, |_| true).is_some();
        let is_granted_to_all = self.temporary.find(name, now, |scope| *scope == GrantScope::All).is_some();
        self.groups.iter().enumerate().any(|(index, Group { policy, .. })| {
            let rule =
                policy.rule_for(name).filter(|rule| rule.action() == Action::Allow && !is_granted_to_all);
            let uses_route = |rule| self.route_id(policy.route(name, rule)) == route;
            let followed = || self.followed_route(GroupId::new(index)?, name, now);
            let is_ancestor = || self.group_may_query_ancestor(index, name, now);
            let needs_no_rule = || policy.mode() == Mode::Observe || is_ancestor();
            rule.is_some() && uses_route(rule)
                || (is_granted || rule.is_none() && needs_no_rule()) && uses_route(None)
                || followed() == Some(route)
        })
    }
}
