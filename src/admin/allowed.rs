//! Grants: list, create and revoke. Changes need the token.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Admin;
use super::access::Approver;
use super::refusal::Refusal;
use crate::api::allow_request::AllowRequestJson;
use crate::hazard::{Reach, reach};
use crate::policy::bypass::BypassName;
use crate::policy::rule::{Pattern, PatternError, Scope};
use crate::policy::temporary::{Grant, GrantScope};
use crate::wire::name::Name;

/// Longest reason and author in characters: one line.
const MAX_TEXT: usize = 200;

/// Author if the request names none.
pub(super) const UNKNOWN_AUTHOR: &str = "unknown";

/// Query string of `DELETE /api/v1/allowed/{pattern}`: the grant's scope.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeQuery {
    client: Option<String>,
    group: Option<String>,
}

/// Lists the current grants.
pub(super) async fn list(Shared(admin): Shared<Admin>) -> Json<Vec<Grant>> {
    Json(admin.grants())
}

/// Creates a grant.
pub(super) async fn allow(
    approver: Approver,
    Shared(admin): Shared<Admin>,
    wish: Result<Json<AllowRequestJson>, JsonRejection>,
) -> Result<(StatusCode, Json<Grant>), Refusal> {
    let Json(wish) = wish.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let grant = grant(&wish, admin.max_temporary, SystemTime::now())?;
    refuse_canaries(&grant.pattern, &admin.canaries, wish.force)?;
    approver.orders.allow(grant.clone()).await?;
    Ok((StatusCode::CREATED, Json(grant)))
}

/// Revokes a grant.
pub(super) async fn revoke(
    approver: Approver,
    pattern: Result<Path<String>, PathRejection>,
    scope: Result<Query<ScopeQuery>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    let Path(pattern) =
        pattern.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let Query(scope) = scope.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let pattern = Pattern::parse(&pattern).map_err(|error| no_pattern(&error))?;
    let scope = self::scope(scope.client.as_deref(), scope.group.as_deref())?;
    match approver.orders.revoke(pattern.clone(), scope.clone()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let text =
                format!("no grant for `{pattern}`{scope}; help: run `namegate allowed` to list grants");
            Err(Refusal::new(StatusCode::NOT_FOUND, text))
        }
    }
}

/// The requested grant, starting at `now`.
pub(super) fn grant(wish: &AllowRequestJson, longest: Duration, now: SystemTime) -> Result<Grant, Refusal> {
    let pattern = Pattern::parse(&wish.name).map_err(|error| no_pattern(&error))?;
    // Anyone can register names below a public suffix, so this would allow everything there.
    if pattern.scope() != Scope::Exact && is_public_suffix(&pattern) && !wish.wide {
        return Err(Refusal::unfit(format!(
            "`name`: `{pattern}` would allow every domain under a public suffix; help: use a narrower pattern, or confirm with \
             `--wide` (in an API request: `\"wide\": true`)"
        )));
    }
    if let Some(bypass) = BypassName::covering(pattern.name()) {
        let remedy = match bypass.may_be_allowed {
            true => "write a rule for exactly this name",
            false => "leave it out; nothing can allow it",
        };
        let message =
            format!("`name`: `{pattern}` is denied by a built-in rule: {}; help: {remedy}", bypass.purpose);
        return Err(Refusal::unfit(message));
    }
    let duration = duration(&wish.duration, longest)?;
    let reason = text("reason", &wish.reason)?;
    let author = match &wish.author {
        Some(author) => text("author", author)?,
        None => UNKNOWN_AUTHOR.to_owned(),
    };
    let until = now
        .checked_add(duration)
        .ok_or_else(|| Refusal::unfit("`for` is too long: the end is beyond the range of the clock"))?;
    let scope = scope(wish.client.as_deref(), wish.group.as_deref())?;
    Ok(Grant { pattern, scope, reason, author, since: now, until })
}

fn scope(client: Option<&str>, group: Option<&str>) -> Result<GrantScope, Refusal> {
    GrantScope::new(client, group).map_err(|error| Refusal::unfit(error.to_string()))
}

/// Refuses a grant for a canary: `namegate prove` and the self-test would report it as a hole.
fn refuse_canaries(pattern: &Pattern, canaries: &[Name], force: bool) -> Result<(), Refusal> {
    match canaries.iter().find(|canary| pattern.matches(canary)).filter(|_| !force) {
        None => Ok(()),
        Some(canary) => Err(Refusal::unfit(format!(
            "`name`: `{pattern}` would allow `{canary}`, which must not resolve (`prove.must_not_resolve`); help: use a \
             narrower pattern, or confirm with `--force` (in an API request: `\"force\": true`)"
        ))),
    }
}

/// True for a public suffix: a registry gives out names below it (Public Suffix List).
fn is_public_suffix(pattern: &Pattern) -> bool {
    reach(pattern.name()) == Reach::Registry
}

fn no_pattern(error: &PatternError) -> Refusal {
    let help = error.help.as_ref().map(|help| format!("; help: {help}")).unwrap_or_default();
    let span = &error.span;
    Refusal::unfit(format!("`name`: {error} (bytes {} to {}){help}", span.start, span.end))
}

fn duration(text: &str, longest: Duration) -> Result<Duration, Refusal> {
    let shown = crate::util::duration::shown(longest);
    match humantime::parse_duration(text) {
        Err(error) => {
            Err(Refusal::unfit(format!("`for`: {error}; help: write a duration such as `30m` or `2h`")))
        }
        Ok(duration) if duration < Duration::from_secs(1) => {
            Err(Refusal::unfit("`for` must be at least 1s; help: write a duration such as `30m` or `2h`"))
        }
        Ok(duration) if duration > longest => Err(Refusal::unfit(format!(
            "`for` is too long: at most {shown} (`admin.max_temporary`); help: to allow it for longer, add a rule to an allowlist"
        ))),
        Ok(duration) => Ok(duration),
    }
}

/// A non-empty line of text, trimmed.
pub(super) fn text(key: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let fault = match text.chars().count() {
        0 => "is empty; help: write a few words".to_owned(),
        length if length > MAX_TEXT => {
            format!("has {length} characters, limit {MAX_TEXT}; help: shorten it")
        }
        _ if text.chars().any(char::is_control) => {
            "contains control characters; help: write one line".to_owned()
        }
        _ => return Ok(text.to_owned()),
    };
    Err(Refusal::unfit(format!("`{key}` {fault}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::UNIX_EPOCH;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn wish(name: &str, duration: &str, reason: &str) -> AllowRequestJson {
        let [name, duration, reason] = [name, duration, reason].map(str::to_owned);
        AllowRequestJson { name, duration, reason, ..AllowRequestJson::default() }
    }

    fn refused(wish: &AllowRequestJson) -> String {
        let refusal = grant(wish, DAY, UNIX_EPOCH).unwrap_err();
        assert_eq!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY);
        refusal.text
    }

    #[test]
    fn a_wish_becomes_a_grant() {
        let wish =
            AllowRequestJson { author: Some("ops".to_owned()), ..wish("*.Example.org.", "1h", " new feed ") };
        let granted = grant(&wish, DAY, UNIX_EPOCH).unwrap();
        assert_eq!(
            serde_json::to_value(&granted).unwrap(),
            serde_json::json!({
                "pattern": "*.example.org",
                "reason": "new feed",
                "author": "ops",
                "since": "1970-01-01T00:00:00Z",
                "until": "1970-01-01T01:00:00Z",
            })
        );
    }

    #[test]
    fn a_canary_needs_force() {
        let canaries =
            ["example.com", "dns.google"].map(|name| crate::wire::presentation::read_name(name).unwrap());
        for (pattern, canary) in [
            ("example.com", Some("example.com")),
            (".example.com", Some("example.com")),
            ("*.google", Some("dns.google")),
            ("*.example.com", None),
            ("google", None),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let refused = refuse_canaries(&pattern, &canaries, false).map_err(|refusal| refusal.text);
            match canary {
                None => assert_eq!(refused, Ok(())),
                Some(canary) => {
                    let told = format!("`name`: `{pattern}` would allow `{canary}`, which must not resolve");
                    assert!(refused.is_err_and(|text| text.starts_with(&told) && text.contains("--force")));
                }
            }
            assert_eq!(refuse_canaries(&pattern, &canaries, true), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_remedy() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (wish, told) in [
            (
                wish("*example.org", "1h", "r"),
                "`name`: `*` must be the whole first label, with a domain after it (bytes 0 to 8); help: write `*.example.org`",
            ),
            (wish("", "1h", "r"), "`name`: the host is empty"),
            (wish("*.org", "1h", "r"), "would allow every domain under a public suffix; help: "),
            (wish(".", "1h", "r"), "`name`: this would match every name"),
            (
                wish("mask.icloud.com", "1h", "r"),
                "`name`: `mask.icloud.com` is denied by a built-in rule: iCloud Private Relay would bypass this \
                 resolver; help: write",
            ),
            (wish("_dns.resolver.arpa", "1h", "r"), "; help: leave it out; nothing can allow it"),
            (wish("a.example", "0s", "r"), "`for` must be at least 1s; help: "),
            (wish("a.example", "soon", "r"), "`for`: expected number at 0; help: "),
            (wish("a.example", "25h", "r"), "`for` is too long: at most 1d (`admin.max_temporary`); help: "),
            (wish("a.example", "1h", "  "), "`reason` is empty; help: "),
            (wish("a.example", "1h", &long), "`reason` has 201 characters, limit 200; help: "),
            (wish("a.example", "1h", "two\nlines"), "`reason` contains control characters; help: "),
            (
                AllowRequestJson { client: Some("host-7".to_owned()), ..wish("a.example", "1h", "r") },
                "`client` is not an IP address or prefix; help: ",
            ),
            (
                AllowRequestJson {
                    client: Some("10.0.0.1".to_owned()),
                    group: Some("build".to_owned()),
                    ..wish("a.example", "1h", "r")
                },
                "exclude each other; help: ",
            ),
            (
                AllowRequestJson { author: Some("\u{1b}[2J".to_owned()), ..wish("a.example", "1h", "r") },
                "`author` contains control",
            ),
        ] {
            let text = refused(&wish);
            assert!(text.contains(told), "{told}: {text}");
        }
        assert!(grant(&AllowRequestJson { wide: true, ..wish("*.org", "1h", "r") }, DAY, UNIX_EPOCH).is_ok());
        assert!(grant(&wish("localhost", "1h", "r"), DAY, UNIX_EPOCH).is_ok(), "one name, not a domain");
    }
}
