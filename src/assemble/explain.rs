//! What would become of a name, and why, without asking anyone.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use crate::local::{LocalFailure, LocalZones};
use crate::policy::bypass::BypassName;
use crate::policy::clients::GroupId;
use crate::policy::route::Route;
use crate::policy::rule::{Action, Pattern, Scope};
use crate::policy::{AllowReason, Policies, Reason, RuleRef, Verdict};
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::{self, AnswerFlags};

/// What would become of a question.
pub struct Explanation<'p> {
    /// `allowed`, `blocked`, `observed`, `local` or `refused`.
    pub verdict: &'static str,
    /// Why, for people; empty where the rule says it all.
    pub reason: String,
    /// The most specific rule for the name.
    pub rule: Option<RuleRef<'p>>,
    /// The client would get data.
    pub allowed: bool,
    /// The client's group, where there are several.
    pub group: Option<&'p str>,
    /// Where the question would go.
    pub route: Option<Route>,
}

/// Judges a question as if `client` had asked it; any client where none is given. Nothing is sent or counted.
///
/// For a name of a local zone the finding says where its aliases lead, too.
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
    let mut request = Vec::new();
    request::write(&mut request, 0, question, AnswerFlags::default());
    let answer = match local.answer_now(&request) {
        Ok(answer) => answer,
        Err(LocalFailure::TooManyAliases) => {
            let reason = "local zones: SERVFAIL, too many aliases; they may go in a circle".to_owned();
            return Explanation { reason, allowed: false, ..finding };
        }
        Err(LocalFailure::NotHeld) => return finding,
    };
    let Some(name) = answer.leads_to else { return finding };
    let target = judge_name(&Question { name: name.clone(), ..*question }, client, policies);
    let why = match (target.reason.as_str(), target.rule) {
        ("", Some(rule)) => format!(" by rule {rule}"),
        ("", None) => String::new(),
        (reason, _) => format!(": {reason}"),
    };
    let reason = format!("answered by a local zone; its alias leads to {name}, {}{why}", target.verdict);
    Explanation { reason, rule: target.rule, allowed: target.allowed, route: target.route, ..finding }
}

fn judge_name<'p>(question: &Question, client: Option<IpAddr>, policies: &'p Policies) -> Explanation<'p> {
    let group = client.map_or(Some(GroupId::DEFAULT), |client| policies.group(client));
    let Some(group) = group else {
        let client = client.map(|client| client.to_string()).unwrap_or_default();
        let reason = format!("{client} is in none of the subnets of `allow_clients` in [server]");
        return Explanation {
            verdict: "refused",
            reason,
            rule: None,
            allowed: false,
            group: None,
            route: None,
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
    let (verdict, reason, allowed) = match verdict {
        Verdict::Allowed(_, AllowReason::Rule(_)) => ("allowed", String::new(), true),
        Verdict::Allowed(_, AllowReason::Temporary(grant)) => {
            let until = crate::util::rfc3339::seconds(grant.until);
            ("allowed", format!("allowed until {until}: {}", grant.reason), true)
        }
        Verdict::Allowed(_, AllowReason::Followed) => {
            ("allowed", "an answer to these clients led to it".to_owned(), true)
        }
        Verdict::Allowed(_, AllowReason::Ancestor) => {
            let reason = "only names below it are allowed; resolvers may ask for this type to find zones and \
                          validate answers (policy.dnssec_ancestors)";
            ("allowed", reason.to_owned(), true)
        }
        Verdict::MinimalAny(Some(reason)) => ("observed", format!("would be blocked: {reason}"), true),
        Verdict::MinimalAny(None) => {
            ("allowed", "ANY is answered with a minimal HINFO (RFC 8482)".to_owned(), true)
        }
        Verdict::Local => ("local", "answered by a local zone".to_owned(), true),
        Verdict::Observed(_, reason) => ("observed", format!("would be blocked: {reason}"), true),
        Verdict::Blocked(Reason::Noise) => {
            ("blocked", Reason::Noise.to_string() + " (search-suffix noise)", false)
        }
        Verdict::Blocked(reason @ Reason::Ancestor(_)) => {
            let answer = "; answered without data, not with NXDOMAIN";
            ("blocked", reason.to_string() + answer, false)
        }
        Verdict::Blocked(reason) => ("blocked", reason.to_string(), false),
        Verdict::Refused => ("refused", format!("{} is never forwarded", question.qtype), false),
    };
    let rule = rule.filter(|_| verdict != "local" && verdict != "refused");
    let group = policies.groups().get(group.index()).filter(|_| policies.groups().len() > 1);
    Explanation { verdict, reason, rule, allowed, group: group.map(|group| &*group.name), route }
}

/// The host of a URL, or of a host with a port; the text itself where it is neither.
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

/// Settings that would allow `name`, which `rule` denies or no rule covers. None where no rule can be written for it (it
/// is no host name, or no rule may allow it), or where the rule that denies it stands for just this name: that rule has to go.
pub fn snippet(name: &Name, rule: Option<RuleRef<'_>>) -> Option<String> {
    let written = Pattern::new(Scope::Exact, name.clone()).to_string();
    // Names that software or people make have no other labels; others are typing errors more often than hosts.
    let is_host =
        !name.is_root() && Pattern::parse(&name.to_string()).is_ok_and(|pattern| pattern.name() == name);
    let is_denied = rule.is_some_and(|rule| rule.pattern().scope() == Scope::Exact);
    let is_final = BypassName::covering(name).is_some_and(|bypass| !bypass.may_be_allowed);
    // Names are what clients chose: the writer quotes and escapes whatever stands in them.
    (is_host && !is_denied && !is_final)
        .then(|| format!("[policy]\nallow = [{}]\n", toml::Value::from(written)))
}
