//! `namegate allow` and `namegate allowed`: grants, which allow a name for a limited time.

use std::fmt::Write;

use axum::http::Method;
use clap::Args;

use super::fleet::on_each;
use super::http::{AdminClient, Error, printable};
use crate::api::allow_request::AllowRequestJson;
use crate::assemble::Sources;
use crate::cli::output::{author, fail, print};
use crate::diagnostics::ValueError;
use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, GrantScope};
use crate::util::url::UrlComponent;

/// The grant.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name or pattern, such as `ml.azure.com`, `*.azureml.ms` or `.azurecr.io`
    name: String,
    /// Allow for this time, such as `30m` or `2h`; required without --revoke
    #[arg(long = "for", value_name = "DURATION", required_unless_present = "revoke")]
    duration: Option<humantime::Duration>,
    /// Reason, shown by `namegate allowed` and in the log; required without --revoke
    #[arg(long, value_name = "TEXT", required_unless_present = "revoke")]
    reason: Option<String>,
    /// Who requests it [default: SUDO_USER if USER is root, else USER]
    #[arg(long, value_name = "WHO")]
    author: Option<String>,
    /// Allow it only for this client, an address or a prefix [default: all clients]
    #[arg(long, value_name = "ADDRESS", value_parser = client, conflicts_with = "group")]
    client: Option<GrantScope>,
    /// Allow it only for the clients of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Accept a pattern that covers a whole top-level domain
    #[arg(long)]
    wide: bool,
    /// Accept a pattern that covers a name of `prove.must_not_resolve`
    #[arg(long)]
    force: bool,
    /// Revoke the grant
    #[arg(long, conflicts_with_all = ["duration", "reason", "wide", "force"])]
    revoke: bool,
}

/// The format.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads `--client`.
fn client(text: &str) -> Result<GrantScope, &'static str> {
    GrantScope::new(Some(text), None)
        .map_err(|_| "not an IP address or prefix, such as 10.0.0.5 or 10.0.0.0/24")
}

impl Arguments {
    fn client(&self) -> Option<String> {
        self.client.as_ref().and_then(GrantScope::client)
    }
}

/// Asks each resolver to make or revoke a grant.
pub(super) fn run(arguments: &Arguments, resolvers: &[Sources]) -> u8 {
    match arguments.revoke {
        true => on_each(resolvers, &async |client| revoke(arguments, client).await),
        false => on_each(resolvers, &async |client| allow(arguments, client).await),
    }
}

/// Lists the grants in force.
pub(super) fn list(arguments: &ListArguments, sources: &Sources) -> u8 {
    match listed(arguments, sources) {
        Ok(text) => print(&text),
        Err(error) => fail(&*error),
    }
}

async fn allow(arguments: &Arguments, client: &AdminClient) -> Result<String, Error> {
    let request = AllowRequestJson {
        name: arguments.name.clone(),
        duration: arguments.duration.map(|duration| duration.to_string()).unwrap_or_default(),
        reason: arguments.reason.clone().unwrap_or_default(),
        author: author(arguments.author.as_ref()),
        client: arguments.client(),
        group: arguments.group.clone(),
        wide: arguments.wide,
        force: arguments.force,
    };
    let page = client.order(Method::POST, "/api/v1/allowed", Some(&request)).await?;
    if page.status != 201 {
        return Err(page.refusal().into());
    }
    let granted: Grant = serde_json::from_slice(&page.body).map_err(|_| "the answer is not from namegate")?;
    let Grant { pattern, scope, until, .. } = granted;
    Ok(format!("Granted: {pattern}{} until {}", shown(&scope), crate::util::rfc3339::seconds(until)))
}

async fn revoke(arguments: &Arguments, client: &AdminClient) -> Result<String, Error> {
    // Only a valid pattern becomes part of a path.
    let pattern = Pattern::parse(&arguments.name).map_err(ValueError::from)?;
    let scope = match &arguments.group {
        Some(group) => GrantScope::Group(group.clone()),
        None => arguments.client.clone().unwrap_or_default(),
    };
    let query = match (scope.client(), scope.group()) {
        (Some(client), _) => format!("?client={}", UrlComponent(&client)),
        (_, Some(group)) => format!("?group={}", UrlComponent(group)),
        _ => String::new(),
    };
    let path = format!("/api/v1/allowed/{pattern}{query}");
    let page = client.order(Method::DELETE, &path, None::<&()>).await?;
    match page.status {
        204 => Ok(format!("Revoked: {pattern}{scope}")),
        _ => Err(page.refusal().into()),
    }
}

fn listed(arguments: &ListArguments, sources: &Sources) -> Result<String, Error> {
    let allowed: Vec<Grant> = AdminClient::of(sources)?.read("/api/v1/allowed")?;
    Ok(if arguments.json { serde_json::to_string(&allowed)? } else { as_text(&allowed) })
}

fn as_text(allowed: &[Grant]) -> String {
    if allowed.is_empty() {
        return "No grants in force".to_owned();
    }
    let subject = |grant: &Grant| format!("{}{}", grant.pattern, shown(&grant.scope));
    let width = allowed.iter().map(|grant| subject(grant).len()).max().unwrap_or(0).min(60);
    allowed.iter().fold(String::new(), |mut text, grant| {
        let (author, reason) = (printable(&grant.author), printable(&grant.reason));
        let until = crate::util::rfc3339::seconds(grant.until);
        let _ = writeln!(text, "{:<width$}  until {until}  {author}: {reason}", subject(grant));
        text
    })
}

/// The scope for a terminal.
fn shown(scope: &GrantScope) -> String {
    printable(&scope.to_string())
}
