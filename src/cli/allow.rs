//! `namegate allow` and `namegate allowed`: grants, which allow a name for a limited time.

use std::fmt::Write;
use std::path::PathBuf;

use axum::http::Method;
use clap::Args;
use tokio::runtime::Builder;

use super::http::{AdminClient, Page, printable};
use crate::admin::token::{Token, TokenFile};
use crate::api::allow_request::{self, AllowRequestJson};
use crate::assemble::Sources;
use crate::cli::output::{FAILED, marked, print, warn};
use crate::config;
use crate::diagnostics::ValueError;
use crate::policy::rule::Pattern;
use crate::policy::temporary::Grant;

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
    /// Accept a pattern that covers a whole top-level domain
    #[arg(long)]
    wide: bool,
    /// Revoke the grant
    #[arg(long, conflicts_with_all = ["duration", "reason", "wide"])]
    revoke: bool,
    /// File with the admin token [default: `admin.token_file` in the settings]
    #[arg(long, value_name = "FILE", env = "NAMEGATE_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

/// The format.
#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

type Error = Box<dyn std::error::Error>;

/// Asks the running resolver to make or revoke a grant.
pub(super) fn run(arguments: &Arguments, sources: &Sources) -> u8 {
    printed(if arguments.revoke { revoke(arguments, sources) } else { allow(arguments, sources) })
}

/// Lists the grants in force.
pub(super) fn list(arguments: &ListArguments, sources: &Sources) -> u8 {
    printed(listed(arguments, sources))
}

fn printed(outcome: Result<String, Error>) -> u8 {
    match outcome {
        Ok(text) => print(&text),
        Err(error) => {
            warn(&marked(&*error));
            FAILED
        }
    }
}

fn allow(arguments: &Arguments, sources: &Sources) -> Result<String, Error> {
    let request = AllowRequestJson {
        name: arguments.name.clone(),
        duration: arguments.duration.map(|duration| duration.to_string()).unwrap_or_default(),
        reason: arguments.reason.clone().unwrap_or_default(),
        author: arguments.author.clone().or_else(login).filter(|author| !author.trim().is_empty()),
        wide: arguments.wide,
    };
    let page = order(arguments, sources, Method::POST, "/api/v1/allowed", Some(&request))?;
    if page.status != 201 {
        return Err(refusal(&page));
    }
    let granted: Grant = serde_json::from_slice(&page.body).map_err(|_| "the answer is not from namegate")?;
    Ok(format!("Granted: {} until {}", granted.pattern, crate::util::rfc3339::seconds(granted.until)))
}

/// The name of the person at the terminal: under `sudo`, USER is root.
fn login() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER");
    variable("SUDO_USER").filter(|_| user.as_deref() == Some("root")).or(user)
}

fn revoke(arguments: &Arguments, sources: &Sources) -> Result<String, Error> {
    // Only a valid pattern becomes part of a path.
    let pattern = Pattern::parse(&arguments.name).map_err(ValueError::from)?;
    let page = order(arguments, sources, Method::DELETE, &format!("/api/v1/allowed/{pattern}"), None)?;
    match page.status {
        204 => Ok(format!("Revoked: {pattern}")),
        _ => Err(refusal(&page)),
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
    let width = allowed.iter().map(|grant| grant.pattern.to_string().len()).max().unwrap_or(0).min(60);
    allowed.iter().fold(String::new(), |mut text, Grant { pattern, reason, author, until, .. }| {
        let (author, reason) = (printable(author), printable(reason));
        let until = crate::util::rfc3339::seconds(*until);
        let _ = writeln!(text, "{:<width$}  until {until}  {author}: {reason}", pattern.to_string());
        text
    })
}

fn order(
    arguments: &Arguments,
    sources: &Sources,
    method: Method,
    path: &str,
    request: Option<&AllowRequestJson>,
) -> Result<Page, Error> {
    let listener = AdminClient::of(sources)?;
    let token = token(arguments, sources)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let page = runtime.block_on(listener.order(method, path, &token, request));
    Ok(page.map_err(|error| listener.no_answer(path, &error))?)
}

/// The token from the file named on the command line, else in the settings.
fn token(arguments: &Arguments, sources: &Sources) -> Result<Token, Error> {
    let file = match &arguments.token_file {
        Some(file) => Some(file.clone()),
        None => {
            let loaded = config::load(sources.config.as_deref(), &sources.overrides)
                .map_err(|report| report.render(false))?;
            loaded.settings.admin.token_file
        }
    };
    let file = file.ok_or(
        "no admin token\n  help: pass --token-file, set NAMEGATE_TOKEN_FILE, or set `admin.token_file`",
    )?;
    Ok(TokenFile::new(file).read()?)
}

fn refusal(page: &Page) -> Error {
    let error = serde_json::from_slice::<allow_request::ErrorJson>(&page.body);
    let text = error.map_or_else(|_| page.text(), |error| printable(&error.error));
    format!("request rejected (HTTP {}): {}", page.status, text.replacen("; help: ", "\n  help: ", 1)).into()
}
