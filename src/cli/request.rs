//! `namegate request` and `namegate requests`: ask for a name, and decide what was asked for.

use std::fmt::Write;

use axum::http::Method;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::http::{AdminClient, Error, printable};
use crate::api::requests::{
    ApproveJson, DenyJson, FileRequestJson, RequestJson, RequestsJson, RuleEntryJson, ScopeJson,
};
use crate::assemble::Sources;
use crate::cli::output::{author, fail, print};
use crate::control::requests::RequestId;

/// The request.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name or pattern, such as `ml.azure.com`, `*.azureml.ms` or `.azurecr.io`
    #[arg(required_unless_present = "status")]
    name: Option<String>,
    /// Why the name is needed; required without --status
    #[arg(long, value_name = "TEXT", required_unless_present = "status")]
    reason: Option<String>,
    /// Allow for this time, such as `30m` or `4h`
    #[arg(long = "for", value_name = "DURATION", default_value = "4h")]
    duration: humantime::Duration,
    /// Who requests it [default: SUDO_USER if USER is root, else USER]
    #[arg(long, value_name = "WHO")]
    author: Option<String>,
    /// Show what became of this request
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "reason"])]
    status: Option<RequestId>,
}

/// Which requests to list, or the decision on one.
#[derive(Debug, Args)]
pub(super) struct RequestsArguments {
    /// What to do with the request ID [default: list all requests]
    #[arg(value_enum, requires = "id")]
    action: Option<RequestAction>,
    /// The request's id
    id: Option<RequestId>,
    /// Approve for this time, such as `30m` or `2h` [default: as requested]
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<humantime::Duration>,
    /// Approve for the client that requested it (default)
    #[arg(long, conflicts_with_all = ["group", "all"])]
    client: bool,
    /// Approve for the client's group
    #[arg(long, conflicts_with = "all")]
    group: bool,
    /// Approve for all clients
    #[arg(long)]
    all: bool,
    /// Why it is denied; shown to the requester
    #[arg(long, value_name = "TEXT", required_if_eq("action", "deny"))]
    reason: Option<String>,
    /// Who decides [default: SUDO_USER if USER is root, else USER]
    #[arg(long, value_name = "WHO")]
    author: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "action")]
    json: bool,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RequestAction {
    /// Make a grant
    Approve,
    /// Refuse a grant
    Deny,
    /// Print the allowlist entry that would allow the name for good
    Rule,
}

/// Files a request, or shows one.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    printed(match arguments.status {
        Some(id) => status(id, sources),
        None => file(arguments, sources),
    })
}

/// Lists the requests, or decides one.
pub(super) fn list(arguments: &RequestsArguments, sources: &Sources) -> u8 {
    printed(match (arguments.action, arguments.id) {
        (Some(action), Some(id)) => decide(action, id, arguments, sources),
        _ => listed(arguments.json, sources),
    })
}

fn printed(outcome: Result<String, Error>) -> u8 {
    match outcome {
        Ok(text) => print(&text),
        Err(error) => fail(&*error),
    }
}

fn file(arguments: &Arguments, sources: &Sources) -> Result<String, Error> {
    let wish = FileRequestJson {
        name: arguments.name.clone().unwrap_or_default(),
        reason: arguments.reason.clone().unwrap_or_default(),
        duration: Some(arguments.duration.to_string()),
        author: author(arguments.author.as_ref()),
    };
    let filed: RequestJson = send(sources, Sender::Anyone, Method::POST, "/api/v1/requests", Some(&wish))?;
    let (name, id) = (printable(&filed.name), printable(&filed.id));
    Ok(format!("Requested: {name} as {id}\nTo see the outcome: namegate request --status {id}"))
}

fn status(id: RequestId, sources: &Sources) -> Result<String, Error> {
    let path = format!("/api/v1/requests/{id}");
    let request: RequestJson = send::<(), _>(sources, Sender::Anyone, Method::GET, &path, None)?;
    Ok(outcome(&request))
}

/// What became of a request, on one line.
fn outcome(request: &RequestJson) -> String {
    let shown = |text: &Option<String>| printable(text.as_deref().unwrap_or_default());
    let (name, by, until) = (printable(&request.name), shown(&request.decided_by), shown(&request.until));
    match request.state.as_str() {
        "approved" => format!("Approved: {name}{} until {until}, by {by}", shown_scope(request)),
        "denied" => format!("Denied: {name}, by {by}: {}", shown(&request.answer)),
        "expired" if request.until.is_some() => format!("Expired: {name} was allowed until {until}"),
        "expired" => format!("Expired: {name}: nobody decided in time"),
        _ => format!("Pending: {name}, filed {}", printable(&request.filed)),
    }
}

fn shown_scope(request: &RequestJson) -> String {
    match request.scope {
        Some(ScopeJson::Client) => format!(" for client {}", printable(&request.client)),
        Some(ScopeJson::Group) => format!(" for group {}", printable(&request.group)),
        Some(ScopeJson::All) | None => String::new(),
    }
}

fn listed(json: bool, sources: &Sources) -> Result<String, Error> {
    let page: RequestsJson = AdminClient::of(sources)?.read("/api/v1/requests")?;
    if json {
        return Ok(serde_json::to_string(&page)?);
    }
    if page.requests.is_empty() {
        return Ok("No requests".to_owned());
    }
    let mut text = String::new();
    for request in &page.requests {
        let [id, client, group, author, reason] =
            [&request.id, &request.client, &request.group, &request.author, &request.reason]
                .map(|text| printable(text));
        let duration = std::time::Duration::from_secs(request.for_seconds);
        let duration = crate::util::duration::shown(duration);
        let _ = writeln!(text, "{id}  {}", outcome(request));
        let _ = writeln!(text, "    {duration} for client {client} ({group}), {author}: {reason}");
    }
    Ok(text)
}

fn decide(
    action: RequestAction,
    id: RequestId,
    arguments: &RequestsArguments,
    sources: &Sources,
) -> Result<String, Error> {
    let author = author(arguments.author.as_ref());
    let path = |what: &str| format!("/api/v1/requests/{id}/{what}");
    match action {
        RequestAction::Approve => {
            let scope = match (arguments.group, arguments.all) {
                (true, _) => ScopeJson::Group,
                (_, true) => ScopeJson::All,
                _ => ScopeJson::Client,
            };
            let duration = arguments.duration.map(|duration| duration.to_string());
            let body = ApproveJson { duration, scope, author };
            let request = send(sources, Sender::Approver, Method::POST, &path("approve"), Some(&body))?;
            Ok(outcome(&request))
        }
        RequestAction::Deny => {
            let body = DenyJson { reason: arguments.reason.clone().unwrap_or_default(), author };
            let request = send(sources, Sender::Approver, Method::POST, &path("deny"), Some(&body))?;
            Ok(outcome(&request))
        }
        RequestAction::Rule => {
            let entry: RuleEntryJson =
                send::<(), _>(sources, Sender::Approver, Method::GET, &path("rule"), None)?;
            let text: Vec<String> = entry.text.lines().map(printable).collect();
            Ok(format!("# For {}\n{}", printable(&entry.file), text.join("\n")))
        }
    }
}

/// Who may send a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Anyone,
    Approver,
}

/// Sends a request and reads the reply.
fn send<B: Serialize, T: DeserializeOwned>(
    sources: &Sources,
    sender: Sender,
    method: Method,
    path: &str,
    body: Option<&B>,
) -> Result<T, Error> {
    let listener = AdminClient::of(sources)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let page = match sender {
        Sender::Approver => runtime.block_on(listener.order(method, path, body))?,
        Sender::Anyone => runtime.block_on(listener.ask(method, path, body))?,
    };
    match page.status {
        200 | 201 => Ok(serde_json::from_slice(&page.body).map_err(|_| "the answer is not from namegate")?),
        _ => Err(page.refusal().into()),
    }
}
