//! Commands for several resolvers at once, and `namegate fleet`, which compares them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use futures_util::future::join_all;
use tokio::runtime::Builder;

use super::http::{AdminClient, Error};
use crate::api::pages::StatusJson;
use crate::assemble::Sources;
use crate::cli::output::{FAILED, NO_ANSWER, OK, exit_status, fail, marked, print, warn};
use crate::policy::temporary::Grant;

/// Runs `command` for each resolver at the same time, and prints the outcomes. The exit status is that of an error, if there
/// is one.
pub(super) fn on_each(
    resolvers: &[Sources],
    command: &impl AsyncFn(&AdminClient) -> Result<String, Error>,
) -> u8 {
    let on_one = async |sources: &Sources| -> Result<String, (String, Error)> {
        let client = AdminClient::of(sources).map_err(|error| (String::new(), Error::from(error)))?;
        let head = if resolvers.len() > 1 { client.url("") + ": " } else { String::new() };
        match command(&client).await {
            Ok(text) => Ok(head + &text),
            Err(error) => Err((head, error)),
        }
    };
    let outcomes = match all_at_once(resolvers.iter().map(on_one)) {
        Ok(outcomes) => outcomes,
        Err(error) => return fail(&error),
    };
    let mut status = OK;
    for outcome in outcomes {
        match outcome {
            Ok(text) => status = status.max(print(&text)),
            Err((head, error)) => {
                warn(&(head + &marked(&*error)));
                let failed = exit_status(&*error);
                // A refusal says more than a missing answer.
                status = if status == FAILED { FAILED } else { failed };
            }
        }
    }
    status
}

fn all_at_once<T>(asked: impl Iterator<Item: Future<Output = T>>) -> std::io::Result<Vec<T>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(join_all(asked)))
}

/// Shows each resolver in a row; exit status 1 if they differ, 2 if one gives no answer.
pub(super) fn run(resolvers: &[Sources]) -> u8 {
    let on_one = async |sources: &Sources| {
        let client = AdminClient::of(sources)?;
        let help = "pass the admin address of a running resolver with --admin";
        let (status, grants) = (client.json("/api/v1/status").await, client.json("/api/v1/allowed").await);
        let status = status.map_err(|error| error.or_help(help))?;
        let grants = grants.map_err(|error| error.or_help(help))?;
        Ok::<_, Error>(Member { address: client.url("").replacen("http://", "", 1), status, grants })
    };
    let outcomes = match all_at_once(resolvers.iter().map(on_one)) {
        Ok(outcomes) => outcomes,
        Err(error) => return fail(&error),
    };
    let mut members = Vec::new();
    let mut unanswered = false;
    for outcome in outcomes {
        match outcome {
            Ok(member) => members.push(member),
            Err(error) => {
                warn(&marked(&*error));
                unanswered = true;
            }
        }
    }
    let printed = print(&table(&members));
    let differences = differences(&members);
    if !differences.is_empty() {
        warn(&format!("different: {}", differences.join(", ")));
    }
    match (printed, differences.is_empty(), unanswered) {
        (OK, true, false) => OK,
        (OK, false, _) => FAILED,
        (OK, true, true) => NO_ANSWER,
        (failed, ..) => failed,
    }
}

/// A resolver of the fleet.
struct Member {
    address: String,
    status: StatusJson,
    grants: Vec<Grant>,
}

impl Member {
    /// The grants, as text: which names for which clients. Their times differ by seconds.
    fn grants(&self) -> BTreeSet<String> {
        self.grants.iter().map(|grant| format!("{}{}", grant.pattern, grant.scope)).collect()
    }

    fn row(&self) -> [String; 8] {
        let StatusJson { version, policy, upstreams, problems, .. } = &self.status;
        let up = upstreams.iter().filter(|upstream| upstream.up).count();
        let reload = if policy.last_reload_succeeded { "" } else { ", then failed" };
        [
            self.address.clone(),
            version.clone(),
            policy.hash.clone(),
            policy.mode.clone(),
            self.grants.len().to_string(),
            format!("{up}/{} up", upstreams.len()),
            format!("{}{reload}", policy.loaded),
            problems.len().to_string(),
        ]
    }
}

const HEADINGS: [&str; 8] =
    ["resolver", "version", "policy", "mode", "grants", "upstreams", "last reload", "problems"];

fn table(members: &[Member]) -> String {
    let rows: Vec<[String; 8]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(members.iter().map(Member::row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:<width$}  ", width = width(column));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What is not the same in all of them.
fn differences(members: &[Member]) -> Vec<&'static str> {
    fn differ<T: Ord>(members: &[Member], of: impl Fn(&Member) -> T) -> bool {
        members.iter().map(of).collect::<BTreeSet<_>>().len() > 1
    }
    let found = [
        ("version", differ(members, |member| member.status.version.clone())),
        ("policy", differ(members, |member| member.status.policy.hash.clone())),
        ("mode", differ(members, |member| member.status.policy.mode.clone())),
        ("grants", differ(members, Member::grants)),
    ];
    found.into_iter().filter(|(_, differ)| *differ).map(|(what, _)| what).collect()
}
