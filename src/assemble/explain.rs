//! Explains how a question would be decided, without sending a query.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use super::SETTINGS;
use crate::config::embedded::embedded;
use crate::local::{LocalFailure, LocalZones};
use crate::policy::bypass::{BypassAnswer, BypassName};
use crate::policy::clients::GroupId;
use crate::policy::route::Route;
use crate::policy::rule::{Action, Pattern, Scope};
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
    /// The route that the question would take.
    pub route: Option<Route>,
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
    Explanation { reason, rule: target.rule, allowed: target.allowed, route: target.route, ..finding }
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
            route: None,
            fixed_answer: None,
        };
    };
    let policy = policies.policy(group);
    let rule = policy.rule_for(&question.name);
    let client = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let verdict = policies.decide((client, group), question, AnswerFlags::default(), Instant::now());
    let route = match &verdict {
        Verdict::Allowed(..) | Verdict::Observed(..) => {
            Some(policy.route(&question.name, rule.filter(|rule| rule.action() == Action::Allow)))
        }
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
        route,
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

/// The file where an allowlist entry for `pattern` belongs, and the entry: for clients whose policy is `policy`, with
/// `purpose`, `owner` and `ticket`.
pub fn entry(
    pattern: &Pattern,
    (purpose, owner, ticket): (&str, &str, &str),
    policy: &Policy,
) -> (String, String) {
    let is_own = |source: &&RuleSource| embedded(&source.zone).is_none() && source.file.ends_with(".toml");
    let own =
        policy.sources().map(|(source, _)| source).filter(|source| source.zone != SETTINGS).filter(is_own);
    let file = own.last().map_or(NEW_FILE, |source| &source.file).to_owned();
    // Clients choose the texts, so the TOML writer must quote and escape them.
    let fields =
        [("host", &*pattern.to_string()), ("purpose", purpose), ("owner", owner), ("ticket", ticket)];
    let fields = fields.map(|(key, value)| format!("{key} = {}\n", toml::Value::from(value)));
    (file, format!("[[allow]]\n{}", fields.concat()))
}

/// Settings that would allow `name`, which `rule` denies or no rule covers.
///
/// None if it is not a host name, if no rule may allow it, or if `rule` denies exactly this name and must be removed
/// instead.
pub fn snippet(name: &Name, rule: Option<RuleRef<'_>>) -> Option<String> {
    let written = Pattern::new(Scope::Exact, name.clone()).to_string();
    // Real host names have only such labels; others are more likely typing errors.
    let is_host =
        !name.is_root() && Pattern::parse(&name.to_string()).is_ok_and(|pattern| pattern.name() == name);
    let is_denied = rule.is_some_and(|rule| rule.pattern().scope() == Scope::Exact);
    let is_final = BypassName::covering(name).is_some_and(|bypass| !bypass.may_be_allowed);
    // Clients choose the names, so the TOML writer must quote and escape them.
    (is_host && !is_denied && !is_final)
        .then(|| format!("[policy]\nallow = [{}]\n", toml::Value::from(written)))
}
