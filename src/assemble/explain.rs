//! Explains how a question would be decided, without sending a query.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant, SystemTime};

use super::SETTINGS;
use crate::config::embedded::embedded;
use crate::local::{LocalFailure, LocalZones};
use crate::policy::bypass::{BypassAnswer, BypassName};
use crate::policy::clients::GroupId;
use crate::policy::policies::Group;
use crate::policy::route::{Route, RouteId};
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::temporary::Grant;
use crate::policy::{AllowReason, Policies, Policy, Reason, RuleRef, RuleSource, Verdict};
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::{self, AnswerFlags};

/// A file for new entries, if no own allowlist is loaded.
const NEW_FILE: &str = "zones/requested.toml";

/// How a question would be decided.
pub struct Explanation<'p> {
    /// `allowed`, `blocked`, `observed`, `local` or `refused`.
    pub verdict: &'static str,
    /// Why, for people; empty if the rule is the reason.
    pub reason: String,
    /// The most specific rule for the name.
    pub rule: Option<RuleRef<'p>>,
    /// True if the client would get an answer with data.
    pub allowed: bool,
    /// The client's group, if there are several.
    pub group: Option<&'p str>,
    /// The policy of the client's group; none if the client may not query.
    pub policy: Option<&'p Policy>,
    /// The grants that cover the name, whatever the verdict.
    pub grants: Vec<&'p Grant>,
    /// The route that the question would take.
    pub route: Option<Route>,
    /// The id of the route, if the question would be forwarded.
    pub route_id: Option<RouteId>,
    /// The answer for a blocked name, if it is not `block.answer`.
    pub fixed_answer: Option<BypassAnswer>,
}

/// Decides a question as if `client` had sent it; without a client, for the default group. Nothing is sent or counted.
///
/// For a name in a local zone, the result also covers the target of its CNAMEs.
pub fn judge<'p>(
    question: &Question,
    client: Option<IpAddr>,
    policies: &'p Policies,
    local: &LocalZones,
) -> Explanation<'p> {
    let finding = judge_name(question, client, policies);
    if finding.verdict != "local" {
        return finding;
    }
    let by = local_zone(&question.name, local);
    let finding = Explanation { reason: format!("answered by {by}"), ..finding };
    let mut request = Vec::new();
    request::write(&mut request, 0, question, AnswerFlags::default());
    let answer = match local.answer_now(&request) {
        Ok(answer) => answer,
        Err(LocalFailure::TooManyAliases) => {
            let reason = "local zones: SERVFAIL, CNAME chain too long, possibly a loop".to_owned();
            return Explanation { reason, allowed: false, ..finding };
        }
        Err(LocalFailure::NotHeld) => return finding,
    };
    let Some(name) = answer.leads_to else { return finding };
    let target = judge_name(&Question { name: name.clone(), ..*question }, client, policies);
    // If the reason is empty, the rule is shown on its own line.
    let why = match target.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let reason = format!("answered by {by}; CNAME target {name} is {}{why}", target.verdict);
    let Explanation { rule, allowed, route, route_id, .. } = target;
    Explanation { reason, rule, allowed, route, route_id, ..finding }
}

/// The local zone that answers for `name`.
fn local_zone(name: &Name, local: &LocalZones) -> String {
    let origins = local.origins().iter().filter(|origin| name.is_within(origin));
    let origin = origins.max_by_key(|origin| origin.labels().count());
    origin.map_or_else(|| "a local zone".to_owned(), |origin| format!("local zone {origin}"))
}

fn judge_name<'p>(question: &Question, client: Option<IpAddr>, policies: &'p Policies) -> Explanation<'p> {
    let group = client.map_or(Some(GroupId::DEFAULT), |client| policies.group(client));
    let Some(group) = group else {
        let client = client.map(|client| client.to_string()).unwrap_or_default();
        let reason = format!("client {client} is not permitted by server.allow_clients");
        return Explanation {
            verdict: "refused",
            reason,
            rule: None,
            allowed: false,
            group: None,
            policy: None,
            grants: Vec::new(),
            route: None,
            route_id: None,
            fixed_answer: None,
        };
    };
    let policy = policies.policy(group);
    let group_name = policies.groups().get(group.index()).map_or(Group::DEFAULT, |group| &group.name);
    let grants = policies.temporary().iter().filter(|grant| {
        let is_for_client = client.is_none_or(|client| grant.scope.includes(client, group_name));
        is_for_client && grant.pattern.matches(&question.name)
    });
    let grants = grants.collect();
    let rule = policy.rule_for(&question.name);
    let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let verdict = policies.decide((client, group), question, AnswerFlags::default(), Instant::now());
    let route = match &verdict {
        Verdict::Allowed(..) | Verdict::Observed(..) => {
            Some(policy.route(&question.name, rule.filter(|rule| rule.action() == Action::Allow)))
        }
        _ => None,
    };
    let route_id = match &verdict {
        Verdict::Allowed(query, _) | Verdict::Observed(query, _) => Some(query.route()),
        _ => None,
    };
    let fixed_answer = match &verdict {
        Verdict::Blocked(Reason::Ancestor(_)) => Some(BypassAnswer::NoData),
        Verdict::Blocked(_) => rule.and_then(|rule| rule.bypass()).map(|bypass| bypass.answer),
        _ => None,
    };
    let (verdict, reason, allowed) = match verdict {
        Verdict::Allowed(_, AllowReason::Rule(_)) => ("allowed", String::new(), true),
        Verdict::Allowed(_, AllowReason::Temporary(grant)) => {
            let until = crate::util::rfc3339::seconds(grant.until);
            ("allowed", format!("granted{} until {until}: {}", grant.scope, grant.reason), true)
        }
        Verdict::Allowed(_, AllowReason::Followed) => {
            ("allowed", "CNAME target in a recent answer to these clients".to_owned(), true)
        }
        Verdict::Allowed(_, AllowReason::Ancestor) => {
            let reason = "some subdomains of this name are allowed, but not the name itself; this type is forwarded so that resolvers can find \
                          zones and validate answers (policy.dnssec_ancestors)";
            ("allowed", reason.to_owned(), true)
        }
        Verdict::MinimalAny(Some(reason)) => ("observed", format!("would be blocked: {reason}"), true),
        Verdict::MinimalAny(None) => {
            ("allowed", "ANY is answered with a minimal HINFO (RFC 8482)".to_owned(), true)
        }
        Verdict::Local => ("local", "answered by a local zone".to_owned(), true),
        Verdict::Observed(_, reason) => ("observed", format!("would be blocked: {reason}"), true),
        Verdict::Blocked(Reason::Noise) => {
            ("blocked", Reason::Noise.to_string() + " (noise: search suffix or single label)", false)
        }
        Verdict::Blocked(reason @ Reason::Ancestor(_)) => {
            ("blocked", format!("{reason}; answered with NODATA, not NXDOMAIN"), false)
        }
        Verdict::Blocked(reason) => ("blocked", reason.to_string(), false),
        Verdict::Refused => ("refused", format!("{} is never forwarded", question.qtype), false),
    };
    let rule = rule.filter(|_| verdict != "local" && verdict != "refused");
    let group = policies.groups().get(group.index()).filter(|_| policies.groups().len() > 1);
    Explanation {
        verdict,
        reason,
        rule,
        allowed,
        group: group.map(|group| &*group.name),
        policy: Some(policy),
        grants,
        route,
        route_id,
        fixed_answer,
    }
}

/// The host of a URL or of `HOST:PORT`; otherwise the text itself.
pub fn host_of(text: &str) -> &str {
    let authority = match text.split_once("://") {
        Some((_, rest)) => {
            let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
            authority.rsplit_once('@').map_or(authority, |(_, host)| host)
        }
        None => text,
    };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// How long an ended rule is extended: time enough to review it.
const EXTENSION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// An allowlist entry, and where to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowEntry {
    /// The file that decides for the clients in question; `FILE:LINE` if a rule there is to be changed.
    pub file: String,
    /// The entry.
    pub text: String,
}

/// The entry that would allow the blocked `name` for the clients of `finding`: for a rule that has ended, its new end;
/// else a rule for exactly this name, in the group's own allowlist file if it has one, else in `settings_file`.
///
/// None if the name is not blocked, is not a host name, may not be allowed, or a rule denies exactly this name and must
/// be removed instead.
pub fn entry(
    name: &Name,
    finding: &Explanation<'_>,
    settings_file: &str,
    now: SystemTime,
) -> Option<AllowEntry> {
    let policy = finding.policy.filter(|_| matches!(finding.verdict, "blocked" | "observed"))?;
    let host = allowable(name, finding.rule)?;
    if let Some(ended) = ended_rule(policy, name).filter(|_| finding.rule.is_none()) {
        let day = crate::util::rfc3339::seconds(now + EXTENSION).to_string()[..10].to_owned();
        let text =
            if is_list(ended.source()) { format!("until={day}\n") } else { format!("until = {day}\n") };
        return Some(AllowEntry { file: ended.place(), text });
    }
    Some(match own_files(policy).last() {
        Some(source) if is_list(source) => AllowEntry { file: source.file.clone(), text: host + "\n" },
        Some(source) => AllowEntry { file: source.file.clone(), text: toml_rule(&host, ("", "", "")) },
        None => AllowEntry { file: settings_file.to_owned(), text: inline(host, finding.group, policy) },
    })
}

/// The entry for names that were requested: in an own allowlist of the clients with `policy`, or in a new one, with
/// `purpose`, `owner` and `ticket`.
pub fn rule_entry(pattern: &Pattern, texts: (&str, &str, &str), policy: &Policy) -> AllowEntry {
    let own = own_files(policy).filter(|source| !is_list(source)).last();
    let file = own.map_or(NEW_FILE, |source| &source.file).to_owned();
    AllowEntry { file, text: toml_rule(&pattern.to_string(), texts) }
}

/// An allow rule as TOML, without empty texts.
fn toml_rule(host: &str, (purpose, owner, ticket): (&str, &str, &str)) -> String {
    let fields = [("host", host), ("purpose", purpose), ("owner", owner), ("ticket", ticket)];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    // Clients choose the texts, so the TOML writer must quote and escape them.
    let fields: String =
        fields.map(|(key, value)| format!("{key} = {}\n", toml::Value::from(value))).collect();
    format!("[[allow]]\n{fields}")
}

/// The settings that allow `host` for the clients of a group.
fn inline(host: String, group: Option<&str>, policy: &Policy) -> String {
    let Some(group) = group.filter(|group| *group != Group::DEFAULT) else { return for_all(host) };
    // A group's list replaces the general one, so it repeats what the group has from there.
    let is_inline = |rule: &RuleRef<'_>| rule.source().zone == SETTINGS && rule.action() == Action::Allow;
    let others = policy.iter_with_ended().filter(is_inline).map(|rule| rule.to_string());
    let allow: toml::Value = others.chain([host]).collect::<Vec<_>>().into();
    format!("[[client]]\nname = {}\nallow = {allow}\n", toml::Value::from(group))
}

/// The settings that allow `host` for clients in no group.
fn for_all(host: String) -> String {
    // Clients choose the names, so the TOML writer must quote and escape them.
    format!("[policy]\nallow = [{}]\n", toml::Value::from(host))
}

/// A rule of `policy` that has ended and allowed `name`.
pub fn ended_rule<'p>(policy: &'p Policy, name: &Name) -> Option<RuleRef<'p>> {
    let allowed =
        |rule: &RuleRef<'_>| rule.is_over() && rule.action() == Action::Allow && rule.pattern().matches(name);
    policy.iter_with_ended().find(allowed)
}

/// The allowlists of `policy` that are neither shipped nor in the settings.
fn own_files(policy: &Policy) -> impl Iterator<Item = &RuleSource> {
    let is_shipped = |source: &RuleSource| {
        embedded(&source.zone).is_some() && source.file == format!("zones/{}.toml", source.zone)
    };
    let sources = policy.sources().map(|(source, _)| source);
    sources.filter(move |source| source.zone != SETTINGS && !is_shipped(source))
}

/// True for a plain list.
fn is_list(source: &RuleSource) -> bool {
    source.file.ends_with(".list")
}

/// Settings that would allow `name`, which `rule` denies or no rule covers.
///
/// None if it is not a host name, if no rule may allow it, or if `rule` denies exactly this name and must be removed
/// instead.
pub fn snippet(name: &Name, rule: Option<RuleRef<'_>>) -> Option<String> {
    allowable(name, rule).map(for_all)
}

/// The pattern for exactly `name`, if a rule with it would allow the name.
fn allowable(name: &Name, rule: Option<RuleRef<'_>>) -> Option<String> {
    let written = Pattern::new(Scope::Exact, name.clone()).to_string();
    // Real host names have only such labels; others are more likely typing errors.
    let is_host =
        !name.is_root() && Pattern::parse(&name.to_string()).is_ok_and(|pattern| pattern.name() == name);
    let is_denied = rule.is_some_and(|rule| rule.pattern().scope() == Scope::Exact);
    let is_final = BypassName::covering(name).is_some_and(|bypass| !bypass.may_be_allowed);
    (is_host && !is_denied && !is_final).then_some(written)
}
