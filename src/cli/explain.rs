//! `namegate explain`: the decision for a name and its reason, without a query to any server.

use std::fmt::Write;
use std::net::IpAddr;

use clap::Args;
use serde_json::json;

use crate::allowlist::AllowlistRule;
use crate::assemble::Assembly;
use crate::assemble::explain::{Explanation, host_of, judge, snippet};
use crate::cli::output::{FAILED, OK, USAGE, print, warn};
use crate::policy::bypass::BypassAnswer;
use crate::policy::route::Route;
use crate::util::escape::on_one_line;
use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::presentation::read_name;
use crate::wire::query::Question;

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
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    let inactive = (!finding.allowed).then(|| inactive_rule(&question.name, assembly)).flatten();
    let printed = match arguments.json {
        true => print(&as_json(&question, &finding, assembly)),
        false => print(&as_text(&question, &finding, inactive, assembly)),
    };
    printed.max(if finding.allowed { OK } else { FAILED })
}

fn as_text(
    question: &Question,
    finding: &Explanation<'_>,
    inactive: Option<&AllowlistRule>,
    assembly: &Assembly,
) -> String {
    let mut text = format!("{} — {} {}\n", finding.verdict, question.name, question.qtype);
    let mut line = |head: &str, what: &str| {
        let _ = writeln!(text, "  {head:<8} {what}");
    };
    if !finding.reason.is_empty() {
        line("reason", &finding.reason);
    }
    if let Some(group) = finding.group {
        line("group", group);
    }
    if let Some(rule) = finding.rule {
        let place = match rule.bypass() {
            Some(_) => "(built in)".to_owned(),
            None => format!("at {}", rule.place()),
        };
        line("rule", &format!("{rule} {place}"));
        if let Some(written) = assembly.written(rule).filter(|written| !written.purpose.is_empty()) {
            line("purpose", &written.purpose);
        }
    }
    match finding.verdict {
        "allowed" | "observed" if finding.allowed => line("route", &servers(finding.route, assembly)),
        "local" if finding.route.is_some() => line("route", &servers(finding.route, assembly)),
        "blocked" => {
            line("answer", &denial(finding, assembly));
            if let Some(rule) = inactive {
                let hint =
                    format!("`{}` would allow it: set [parameters] {}", rule.host, rule.missing.join(", "));
                line("inactive", &hint);
            }
            if let Some(snippet) = snippet(&question.name, finding.rule) {
                line("allow it", &format!("{} in the settings", snippet.trim_end().replace('\n', " ")));
            }
        }
        _ => {}
    }
    text
}

fn as_json(question: &Question, finding: &Explanation<'_>, assembly: &Assembly) -> String {
    let rule = finding.rule.map(|rule| {
        json!({
            "pattern": rule.to_string(),
            "zone": rule.source().zone,
            "place": rule.place(),
            "purpose": assembly.written(rule).map(|written| written.purpose.as_str()),
        })
    });
    let value = json!({
        "name": question.name.to_string(),
        "type": question.qtype.to_string(),
        "verdict": finding.verdict,
        "reason": Some(&finding.reason).filter(|reason| !reason.is_empty()),
        "rule": rule,
        "group": finding.group,
        "route": servers(finding.route, assembly),
        "policy": assembly.policy().hash(),
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
    let ttl = humantime::format_duration(assembly.settings.block.ttl);
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
    rules.filter(|rule| !rule.missing.is_empty()).find(|rule| rule.values_for(name).is_some())
}
