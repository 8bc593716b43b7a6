//! Requests for grants: file, list, approve and deny. Filing needs no token; deciding does.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Extension, Path, State as Shared};
use axum::http::StatusCode;

use super::Admin;
use super::access::{AdminPeer, Approver};
use super::allowed::{grant, text};
use super::refusal::Refusal;
use crate::api::allow_request::AllowRequestJson;
use crate::api::requests::{
    ApproveJson, DenyJson, FileRequestJson, RequestJson, RequestsJson, RuleEntryJson, ScopeJson,
};
use crate::assemble::explain::{AllowEntry, judge, rule_entry};
use crate::control::requests::{
    GrantRequest, NoRequestId, RequestDecision, RequestError, RequestId, RequestOutcome, RequestScope,
    RequestState, SharedRequests,
};
use crate::policy::policies::Group;
use crate::policy::rule::{Pattern, Scope};
use crate::util::duration::shown as shown_duration;
use crate::util::label::Label;
use crate::util::sync::lock;
use crate::wire::code::{Class, Type};
use crate::wire::query::Question;

/// Duration if a request names none.
const DEFAULT_FOR: &str = "4h";

impl Admin {
    fn requests(&self) -> Result<&SharedRequests, Refusal> {
        self.requests.as_ref().ok_or_else(|| {
            let text = "requests are disabled; help: set `requests.enabled = true` and restart namegate";
            Refusal::new(StatusCode::FORBIDDEN, text)
        })
    }

    fn request(&self, id: Result<Path<String>, PathRejection>) -> Result<GrantRequest, Refusal> {
        let malformed = |text: String| Refusal::new(StatusCode::BAD_REQUEST, text);
        let Path(id) = id.map_err(|rejection| malformed(rejection.body_text()))?;
        let id: RequestId = id.parse().map_err(|error: NoRequestId| malformed(error.to_string()))?;
        lock(self.requests()?).get(id, SystemTime::now()).ok_or_else(|| RequestError::Unknown.into())
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let status = match error {
            RequestError::Pending | RequestError::Hourly | RequestError::Full => {
                StatusCode::TOO_MANY_REQUESTS
            }
            RequestError::Same(_) | RequestError::Decided => StatusCode::CONFLICT,
            RequestError::Unknown => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.to_string())
    }
}

/// Lists the requests, newest first.
pub(super) async fn list(Shared(admin): Shared<Admin>) -> Result<Json<RequestsJson>, Refusal> {
    let requests = lock(admin.requests()?).all(SystemTime::now());
    Ok(Json(RequestsJson { requests: requests.iter().map(shown).collect() }))
}

/// Shows a request to whoever knows its id.
pub(super) async fn show(
    Shared(admin): Shared<Admin>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<RequestJson>, Refusal> {
    Ok(Json(shown(&admin.request(id)?)))
}

/// Files a request for the client that sent it.
pub(super) async fn file(
    Shared(admin): Shared<Admin>,
    peer: Option<Extension<AdminPeer>>,
    wish: Result<Json<FileRequestJson>, JsonRejection>,
) -> Result<(StatusCode, Json<RequestJson>), Refusal> {
    let Json(wish) = wish.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let client = peer.map(|Extension(AdminPeer(address))| address.ip().to_canonical());
    let client = client.ok_or_else(|| Refusal::new(StatusCode::FORBIDDEN, "the client is not known"))?;
    let now = SystemTime::now();
    let request = request(&admin, &wish, client, now)?;
    admin.control.file(request.clone()).await?;
    Ok((StatusCode::CREATED, Json(shown(&request))))
}

/// The request that `client` files with `wish`.
fn request(
    admin: &Admin,
    wish: &FileRequestJson,
    client: IpAddr,
    now: SystemTime,
) -> Result<GrantRequest, Refusal> {
    let book = admin.requests()?;
    let state = admin.state.load();
    let Some(group) = state.policies.group(client) else {
        let text = format!("client {client} is not permitted by server.allow_clients");
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    };
    let group = state.policies.groups().get(group.index()).map_or(Group::DEFAULT, |group| &group.name);
    let grant = grant(
        &AllowRequestJson {
            name: wish.name.clone(),
            duration: wish.duration.clone().unwrap_or_else(|| DEFAULT_FOR.to_owned()),
            reason: wish.reason.clone(),
            author: wish.author.clone(),
            ..AllowRequestJson::default()
        },
        admin.max_temporary,
        now,
    )?;
    if let Some(name) = admin.canaries.iter().find(|name| grant.pattern.matches(name)) {
        let pattern = &grant.pattern;
        return Err(Refusal::unfit(format!(
            "`name`: `{pattern}` cannot be requested: {name} must not resolve (`prove.must_not_resolve`); help: use \
             another name"
        )));
    }
    refuse_allowed(admin, &grant.pattern, client)?;
    lock(book).admits((client, &grant.pattern), state.policies.client_prefix(), now)?;
    let for_seconds = grant.until.duration_since(now).unwrap_or_default().as_secs();
    Ok(GrantRequest {
        id: RequestId::new(rand::random()),
        pattern: grant.pattern,
        reason: grant.reason,
        client,
        group: group.to_owned(),
        for_seconds,
        filed: now,
        author: grant.author,
        state: RequestState::Pending,
        decided: None,
        decided_by: None,
        answer: None,
        until: None,
        scope: None,
    })
}

/// Refuses names that `client` may query already.
fn refuse_allowed(admin: &Admin, pattern: &Pattern, client: IpAddr) -> Result<(), Refusal> {
    if pattern.scope() != Scope::Exact {
        return Ok(());
    }
    let state = admin.state.load();
    let question = Question { name: pattern.name().clone(), qtype: Type::A, class: Class::IN };
    let finding = judge(&question, Some(client), &state.policies, &state.local);
    if !matches!(finding.verdict, "allowed" | "local") {
        return Ok(());
    }
    let why = match (finding.reason.as_str(), finding.rule) {
        ("", Some(rule)) => format!("by rule {rule}"),
        (reason, _) => reason.to_owned(),
    };
    let text = format!("`{pattern}` is already allowed for client {client}: {why}; help: query it again");
    Err(Refusal::new(StatusCode::CONFLICT, text))
}

/// Approves a request: makes its grant.
pub(super) async fn approve(
    approver: Approver,
    Shared(admin): Shared<Admin>,
    id: Result<Path<String>, PathRejection>,
    approval: Result<Json<ApproveJson>, JsonRejection>,
) -> Result<Json<RequestJson>, Refusal> {
    let Json(approval) =
        approval.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let request = pending(admin.request(id)?)?;
    let made_for = match approval.scope {
        ScopeJson::Client => RequestScope::Client,
        ScopeJson::Group => RequestScope::Group,
        ScopeJson::All => RequestScope::All,
    };
    let scope = request.grant_scope(made_for, admin.state.load().policies.client_prefix());
    let duration = match approval.duration {
        Some(duration) => duration,
        None => shown_duration(Duration::from_secs(request.for_seconds)),
    };
    let wish = AllowRequestJson {
        name: request.pattern.to_string(),
        duration,
        reason: request.reason.clone(),
        author: approval.author,
        client: scope.client(),
        group: scope.group().map(str::to_owned),
        ..AllowRequestJson::default()
    };
    let mut grant = grant(&wish, admin.max_temporary, SystemTime::now())?;
    // Added behind the check: a reason of full length stays acceptable.
    grant.reason = format!("{} (request {} by {})", request.reason, request.id, request.author);
    let by = grant.author.clone();
    let decision = RequestDecision { by, outcome: RequestOutcome::Approve(Box::new(grant), made_for) };
    let decided = approver.orders.decide(request.id, decision).await?;
    Ok(Json(shown(&decided)))
}

/// Denies a request.
pub(super) async fn deny(
    approver: Approver,
    Shared(admin): Shared<Admin>,
    id: Result<Path<String>, PathRejection>,
    denial: Result<Json<DenyJson>, JsonRejection>,
) -> Result<Json<RequestJson>, Refusal> {
    let Json(denial) = denial.map_err(|rejection| Refusal::new(rejection.status(), rejection.body_text()))?;
    let request = pending(admin.request(id)?)?;
    let answer = text("reason", &denial.reason)?;
    let by = denial.author.as_deref().map(|author| text("author", author)).transpose()?;
    let by = by.unwrap_or_else(|| super::allowed::UNKNOWN_AUTHOR.to_owned());
    let decision = RequestDecision { by, outcome: RequestOutcome::Deny(answer) };
    let decided = approver.orders.decide(request.id, decision).await?;
    Ok(Json(shown(&decided)))
}

/// The allowlist entry that would allow the requested names for good.
pub(super) async fn rule(
    _: Approver,
    Shared(admin): Shared<Admin>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<RuleEntryJson>, Refusal> {
    let request = admin.request(id)?;
    let state = admin.state.load();
    let groups = state.policies.groups();
    let group = groups.iter().find(|group| group.name == request.group);
    let policy = group.map_or_else(|| state.policies.default(), |group| &group.policy);
    let id = request.id.to_string();
    let AllowEntry { file, text } =
        rule_entry(&request.pattern, (&request.reason, &request.author, &id), policy);
    Ok(Json(RuleEntryJson { file, text }))
}

fn shown(request: &GrantRequest) -> RequestJson {
    let time = |time: SystemTime| crate::util::rfc3339::seconds(time).to_string();
    RequestJson {
        id: request.id.to_string(),
        name: request.pattern.to_string(),
        reason: request.reason.clone(),
        client: request.client.to_string(),
        group: request.group.clone(),
        for_seconds: request.for_seconds,
        filed: time(request.filed),
        author: request.author.clone(),
        state: request.state.label().to_owned(),
        decided: request.decided.map(time),
        decided_by: request.decided_by.clone(),
        answer: request.answer.clone(),
        until: request.until.map(time),
        scope: request.scope.map(|scope| match scope {
            RequestScope::Client => ScopeJson::Client,
            RequestScope::Group => ScopeJson::Group,
            RequestScope::All => ScopeJson::All,
        }),
    }
}

fn pending(request: GrantRequest) -> Result<GrantRequest, Refusal> {
    match request.state {
        RequestState::Pending => Ok(request),
        _ => Err(RequestError::Decided.into()),
    }
}
