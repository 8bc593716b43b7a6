//! `namegate explain`: the decision for a name and its reason, without a query to any server.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::AdminToken;
use super::http::{AdminClient, printable};
use crate::allowlist::AllowlistRule;
use crate::api::pages::{ExplanationJson, GrantJson, RuleTextJson};
use crate::assemble::explain::{AllowEntry, Explanation, ended_rule, entry, host_of, judge};
use crate::assemble::unused::unused_allowlists;
use crate::assemble::{Assembly, Sources};
use crate::cli::output::{FAILED, OK, USAGE, counted, fail, print, warn};
use crate::policy::bypass::BypassAnswer;
use crate::policy::policies::Group;
use crate::policy::route::Route;
use crate::policy::rule::Action;
use crate::policy::{Policy, RuleRef, RuleText};
use crate::util::escape::on_one_line;
use crate::util::label::Label;
use crate::util::url::UrlComponent;
use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::presentation::read_name;
use crate::wire::query::Question;

/// Other groups shown that allow the name; JSON has all of them.
const GROUPS: usize = 3;

/// The question to explain.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name that a client looks up
    name: String,
    /// Record type
    #[arg(long, value_name = "TYPE", default_value = "A")]
    r#type: Type,
    /// Client address, which selects the client group
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Ask the running resolver: its policy, with grants and uses of rules
    #[arg(long)]
    running: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token: AdminToken,
}

impl Arguments {
    /// True if the running resolver is to explain.
    pub(super) fn running(&self) -> bool {
        self.running
    }

    /// The token for the running resolver.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.token.token_file.clone()
    }
}

/// Prints the explanation of the running resolver; exit status as for [`run`], or 2 without an answer.
pub(super) fn run_running(arguments: &Arguments, sources: &Sources) -> u8 {
    let client = arguments.client.map(|client| format!("&client={client}")).unwrap_or_default();
    let path =
        format!("/api/v1/explain?name={}&type={}{client}", UrlComponent(&arguments.name), arguments.r#type);
    let listener = match AdminClient::of(sources) {
        Ok(listener) => listener,
        Err(error) => {
            warn(&error);
            return USAGE;
        }
    };
    let explained: ExplanationJson = match listener.read(&path) {
        Ok(explained) => explained,
        Err(error) => return fail(&*error),
    };
    let printed = match arguments.json {
        true => print(&serde_json::to_string(&explained).unwrap_or_default()),
        false => print(&running_as_text(&explained)),
    };
    let is_answered = matches!(&*explained.verdict, "allowed" | "observed" | "local");
    printed.max(if is_answered { OK } else { FAILED })
}

fn running_as_text(explained: &ExplanationJson) -> String {
    let ExplanationJson { name, qtype, verdict, because, client, group, mode, route, .. } = explained;
    let mut text = printable(&format!("{verdict}: {name} {qtype}")) + "\n";
    let mut line = |head: &str, what: &str| {
        if !what.is_empty() {
            let _ = writeln!(text, "  {head:<8} {}", printable(what));
        }
    };
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    line("reason", because);
    line("client", &optional(client));
    line("group", &optional(group));
    line("mode", &optional(mode));
    if let (Some(rule), Some(place)) = (&explained.rule, &explained.place) {
        line("rule", &format!("{rule} at {place}"));
    }
    let RuleTextJson { purpose, owner, ticket, until } = &explained.text;
    line("purpose", purpose);
    line("owner", owner);
    line("ticket", ticket);
    line("until", &optional(until));
    if let Some(hits) = explained.hits {
        let last = explained.last_used.as_ref().map(|last| format!(", last {last}")).unwrap_or_default();
        line("used", &format!("{}{last}", counted(hits, "time")));
    }
    for GrantJson { pattern, client, group, until, reason, author } in &explained.grants {
        let whose =
            client.as_ref().or(group.as_ref()).map(|whose| format!(" for {whose}")).unwrap_or_default();
        line("grant", &format!("{pattern}{whose} until {until}, {author}: {reason}"));
    }
    line("route", &optional(route));
    if let Some(entry) = &explained.entry {
        line("allow it", &format!("{} in {}", on_line(&entry.text), entry.file));
    }
    text
}

/// TOML on one line, for people.
fn on_line(toml: &str) -> String {
    toml.trim_end().replace('\n', " ")
}

/// Explains; exit status 0 if the name would be answered, 1 if it is blocked or refused.
pub(super) fn run(arguments: &Arguments, assembly: &Assembly) -> u8 {
    if let Some(pattern) = arguments.name.strip_prefix("*.").and_then(read_name) {
        warn(&format!(
            "error: `{}` is a pattern, not a name\n  help: explain a name below `{pattern}`, such as `any.{pattern}`",
            on_one_line(&arguments.name)
        ));
        return USAGE;
    }
    let host = host_of(&arguments.name);
    if host != arguments.name {
        warn(&format!("note: checking only the host name {}", on_one_line(host)));
    }
    let Some(name) = read_name(host) else {
        warn(&format!(
            "error: `{}` is not a domain name: a label has 1 to 63 bytes, a name at most 255",
            on_one_line(&arguments.name)
        ));
        return USAGE;
    };
    let question = Question { name, qtype: arguments.r#type, class: Class::IN };
    let finding = judge(&question, arguments.client, &assembly.policies, &assembly.local);
    let is_blocked = matches!(finding.verdict, "blocked" | "observed");
    let hints = if is_blocked { Hints::of(&question.name, &finding, assembly) } else { Hints::default() };
    let printed = match arguments.json {
        true => print(&as_json(&question, &finding, &hints, assembly)),
        false => print(&as_text(&question, &finding, &hints, assembly)),
    };
    printed.max(if finding.allowed { OK } else { FAILED })
}

/// What would allow a name that is blocked.
#[derive(Default)]
struct Hints<'a> {
    /// A rule that has ended and allowed the name.
    ended: Option<RuleRef<'a>>,
    /// An inactive rule that covers the name with some values of its parameters.
    inactive: Option<&'a AllowlistRule>,
    /// Shipped allowlists that are not in use, with the pattern that covers the name.
    shipped: Vec<(&'static str, String)>,
    /// Other groups that may query the name, with the rule.
    groups: Vec<(&'a Group, RuleRef<'a>)>,
}

impl<'a> Hints<'a> {
    fn of(name: &Name, finding: &Explanation<'a>, assembly: &'a Assembly) -> Self {
        let own = policy(finding.group, assembly);
        // A rule decides before any allowlist that is added: it is more specific, or denies as many names.
        let shipped =
            if finding.rule.is_none() { shipped(name, finding.group, assembly) } else { Vec::new() };
        let others = assembly.policies.groups().iter().filter(|group| !std::ptr::eq(&*group.policy, own));
        let allowing = |policy: &'a Policy| allow_rule(policy, name);
        let groups = others.filter_map(|group| Some((group, allowing(&group.policy)?))).collect();
        Self { ended: ended_rule(own, name), inactive: inactive_rule(name, assembly), shipped, groups }
    }
}

/// The rules of a group; without a name, of the only one.
fn policy<'a>(group: Option<&str>, assembly: &'a Assembly) -> &'a Policy {
    let known = assembly.policies.groups().iter().find(|known| Some(&*known.name) == group);
    known.map_or_else(|| assembly.policy(), |known| &known.policy)
}

fn allow_rule<'p>(policy: &'p Policy, name: &Name) -> Option<RuleRef<'p>> {
    policy.rule_for(name).filter(|rule| rule.action() == Action::Allow)
}

/// The shipped allowlists that the group does not use and that have the name, those with fewest rules first.
fn shipped(name: &Name, group: Option<&str>, assembly: &Assembly) -> Vec<(&'static str, String)> {
    let settings = &assembly.settings;
    let client = settings.client.iter().find(|client| Some(&*client.name) == group);
    let own = client.map(|client| client.policy(&settings.policy, &settings.parameters).1);
    let parameters = own.as_ref().unwrap_or(&settings.parameters);
    let directory = settings.policy.zones_directory.clone();
    let unused = unused_allowlists(policy(group, assembly), parameters, directory);
    // An allowlist with errors gives no hint.
    let mut unused: Vec<(&'static str, Policy)> = unused.filter_map(Result::ok).collect();
    unused.sort_by_key(|(_, rules)| rules.rules());
    let has = |(allowlist, rules): &(&'static str, Policy)| {
        allow_rule(rules, name).map(|rule| (*allowlist, rule.to_string()))
    };
    unused.iter().filter_map(has).collect()
}

fn as_text(question: &Question, finding: &Explanation<'_>, hints: &Hints<'_>, assembly: &Assembly) -> String {
    let mut text = format!("{} — {} {}\n", finding.verdict, question.name, question.qtype);
    let mut line = |head: &str, what: &str| {
        let _ = writeln!(text, "  {head:<8} {what}");
    };
    if !finding.reason.is_empty() {
        line("reason", &finding.reason);
    }
    if let Some(group) = finding.group {
        line("group", &format!("{group}: {}", rules_of(policy(Some(group), assembly))));
    }
    if let Some(policy) = finding.policy {
        line("mode", policy.mode().label());
    }
    if let Some(rule) = finding.rule {
        let place = match rule.bypass() {
            Some(_) => "(built in)".to_owned(),
            None => format!("at {}", rule.place()),
        };
        line("rule", &format!("{rule} {place}"));
        let RuleText { purpose, owner, ticket } = rule.text();
        let until = rule.until().map(|until| until.to_string()).unwrap_or_default();
        for (head, what) in [("purpose", purpose), ("owner", owner), ("ticket", ticket), ("until", &until)] {
            if !what.is_empty() {
                line(head, &on_one_line(what));
            }
        }
    }
    if let Some(ended) = hints.ended {
        let until = ended.until().map(|until| until.to_string()).unwrap_or_default();
        line("ended", &format!("{ended} at {}, until {until}", ended.place()));
    }
    match finding.verdict {
        "allowed" | "observed" if finding.allowed => line("route", &servers(finding.route, assembly)),
        "local" if finding.route.is_some() => line("route", &servers(finding.route, assembly)),
        "blocked" => line("answer", &denial(finding, assembly)),
        _ => {}
    }
    if matches!(finding.verdict, "blocked" | "observed") {
        hints_as_text(question, finding, hints, assembly, line);
    }
    text
}

fn hints_as_text(
    question: &Question,
    finding: &Explanation<'_>,
    hints: &Hints<'_>,
    assembly: &Assembly,
    mut line: impl FnMut(&str, &str),
) {
    let (shown, more) = hints.groups.split_at(hints.groups.len().min(GROUPS));
    for (group, rule) in shown {
        let clients = subnets(&group.name, assembly);
        let clients =
            if clients.is_empty() { "clients in no other group".to_owned() } else { clients.join(", ") };
        line(
            "hint",
            &format!("group {} ({clients}) may query it: rule {rule} at {}", group.name, rule.place()),
        );
    }
    if !more.is_empty() {
        line("hint", &format!("{} more groups may query it", more.len()));
    }
    if let Some(rule) = hints.inactive {
        line(
            "inactive",
            &format!("`{}` would allow it: set [parameters] {}", rule.host, rule.missing.join(", ")),
        );
    }
    for (allowlist, pattern) in &hints.shipped {
        line("allow it", &format!("allowlist `{allowlist}` has it (`{pattern}`): add it to policy.zones"));
    }
    if let Some(AllowEntry { file, text }) = allow_entry(question, finding, assembly) {
        line("allow it", &format!("{} in {file}", on_line(&text)));
    } else if let Some(rule) =
        finding.rule.filter(|rule| rule.bypass().is_none() && rule.action() == Action::Deny)
    {
        line("allow it", &format!("remove the rule at {}: it denies exactly this name", rule.place()));
    }
}

fn allow_entry(question: &Question, finding: &Explanation<'_>, assembly: &Assembly) -> Option<AllowEntry> {
    entry(&question.name, finding, &assembly.origin, SystemTime::now())
}

/// `61 rules from azure-ml (60), settings (1)`.
fn rules_of(policy: &Policy) -> String {
    let from: Vec<String> =
        policy.sources().map(|(source, rules)| format!("{} ({rules})", source.zone)).collect();
    let rules = counted(policy.rules() as u64, "rule");
    if from.is_empty() { rules } else { format!("{rules} from {}", from.join(", ")) }
}

/// The subnets of a group; none for the default group.
fn subnets(group: &str, assembly: &Assembly) -> Vec<String> {
    let client = assembly.settings.client.iter().find(|client| client.name == group);
    client.map_or_else(Vec::new, |client| client.subnets.iter().map(ToString::to_string).collect())
}

fn as_json(question: &Question, finding: &Explanation<'_>, hints: &Hints<'_>, assembly: &Assembly) -> String {
    let rule = finding.rule.map(|rule| {
        json!({
            "pattern": rule.to_string(),
            "zone": rule.source().zone,
            "place": rule.place(),
            "purpose": Some(rule.text().purpose).filter(|purpose| !purpose.is_empty()),
            "owner": Some(rule.text().owner).filter(|owner| !owner.is_empty()),
            "ticket": Some(rule.text().ticket).filter(|ticket| !ticket.is_empty()),
            "until": rule.until().map(|until| until.to_string()),
        })
    });
    let group = policy(finding.group, assembly);
    let zones: Vec<&str> = group.sources().map(|(source, _)| &*source.zone).collect();
    let shipped = hints.shipped.iter().map(|(zone, pattern)| json!({ "zone": zone, "pattern": pattern }));
    let groups = hints.groups.iter().map(|(group, rule)| {
        let subnets = subnets(&group.name, assembly);
        json!({ "group": group.name, "subnets": subnets, "pattern": rule.to_string(), "place": rule.place() })
    });
    let inactive = hints.inactive.map(|rule| json!({ "host": rule.host, "parameters": rule.missing }));
    let value = json!({
        "name": question.name.to_string(),
        "type": question.qtype.to_string(),
        "verdict": finding.verdict,
        "reason": Some(&finding.reason).filter(|reason| !reason.is_empty()),
        "rule": rule,
        "group": finding.group,
        "mode": finding.policy.map(|policy| policy.mode().label()),
        "zones": zones,
        "route": servers(finding.route, assembly),
        "policy": assembly.policy().hash(),
        "shipped": shipped.collect::<Vec<_>>(),
        "inactive": inactive,
        "entry": allow_entry(question, finding, assembly).map(|entry| json!({ "file": entry.file, "text": entry.text })),
        "ended": hints.ended.map(|rule| json!({ "pattern": rule.to_string(), "place": rule.place() })),
        "other_groups": groups.collect::<Vec<_>>(),
    });
    value.to_string()
}

fn servers(route: Option<Route>, assembly: &Assembly) -> String {
    let route = route.unwrap_or(Route::DEFAULT);
    let servers = assembly.routes.iter().find(|(known, _)| *known == route).map_or(&[][..], |(_, list)| list);
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn denial(finding: &Explanation<'_>, assembly: &Assembly) -> String {
    use crate::config::BlockAnswer;
    let ttl = crate::util::duration::shown(assembly.settings.block.ttl);
    let answer = match finding.fixed_answer {
        Some(BypassAnswer::NoData) => BlockAnswer::Nodata,
        Some(BypassAnswer::NxDomain) => BlockAnswer::Nxdomain,
        None => assembly.settings.block.answer,
    };
    match answer {
        BlockAnswer::Nxdomain => format!("NXDOMAIN, cached by clients for {ttl}"),
        BlockAnswer::Nodata => format!("NODATA, cached by clients for {ttl}"),
        BlockAnswer::Refused => "REFUSED".to_owned(),
    }
}

/// An inactive rule that would cover the name if its parameters had the values found in the name.
fn inactive_rule<'a>(name: &Name, assembly: &'a Assembly) -> Option<&'a AllowlistRule> {
    let rules = assembly.zones.iter().flat_map(|zone| &zone.rules);
    let could_allow = |rule: &&AllowlistRule| rule.action == Action::Allow && !rule.missing.is_empty();
    rules.filter(could_allow).find(|rule| rule.values_for(name).is_some())
}
