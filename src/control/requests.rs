//! [`RequestBook`]: requests for grants, from clients whose names are blocked.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::policy::clients::ClientPrefix;
use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, GrantScope, pattern_as_text};
use crate::util::rfc3339;

/// Most requests held, decided ones included: at about 1 KiB each, a megabyte.
const MAX: usize = 1000;

/// Most pending requests of one client.
const MAX_PENDING: usize = 5;

/// Most requests that one client may file within [`HOUR`].
const MAX_PER_HOUR: usize = 20;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How long a request is held: pending ones expire then, decided ones are forgotten.
const HELD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Identifies a request. Who knows it may read the request, so it cannot be guessed: 128 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(u128);

/// The text is no request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request id: it has 32 hexadecimal digits")]
pub struct NoRequestId;

/// A request for a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantRequest {
    /// Identifies it.
    pub id: RequestId,
    /// The names.
    #[serde(rename = "name", with = "pattern_as_text")]
    pub pattern: Pattern,
    /// Why the names are needed; one line.
    pub reason: String,
    /// The address that filed it.
    pub client: IpAddr,
    /// The client's group.
    pub group: String,
    /// Duration of the grant, in seconds.
    pub for_seconds: u64,
    /// When it was filed.
    #[serde(with = "rfc3339::as_seconds")]
    pub filed: SystemTime,
    /// Who filed it, as they say.
    pub author: String,
    /// What became of it.
    pub state: RequestState,
    /// When it was decided.
    #[serde(default, with = "rfc3339::as_optional_seconds", skip_serializing_if = "Option::is_none")]
    pub decided: Option<SystemTime>,
    /// Who decided it, as they say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Why it was denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When the grant ends.
    #[serde(default, with = "rfc3339::as_optional_seconds", skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
    /// The clients that the grant is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<RequestScope>,
}

/// What became of a request.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum RequestState {
    /// Nobody has decided it.
    Pending,
    /// It was approved, and its grant is in force.
    Approved,
    /// It was denied.
    Denied,
    /// Its grant has ended, or nobody decided it in time.
    Expired,
}

/// The clients that an approval is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestScope {
    /// The client that filed the request.
    #[default]
    Client,
    /// Its client group.
    Group,
    /// All clients.
    All,
}

/// A decision on a pending request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestDecision {
    /// By whom, as they say.
    pub by: String,
    /// What is decided.
    pub outcome: RequestOutcome,
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestOutcome {
    /// Make this grant, whose clients are those of the scope.
    Approve(Box<Grant>, RequestScope),
    /// Deny it for this reason.
    Deny(String),
}

/// Why a request is not accepted or not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The client has too many pending requests.
    #[error("this client has {} pending requests; help: wait until one is decided", MAX_PENDING)]
    Pending,
    /// The client files too many requests.
    #[error("this client filed {} requests within an hour; help: wait, or ask an approver", MAX_PER_HOUR)]
    Hourly,
    /// All requests are pending.
    #[error("too many requests are pending; help: ask an approver to decide some")]
    Full,
    /// A request for the same names of the same client is pending.
    #[error(
        "this client's request {0} for the same name is pending; help: run `namegate request --status {0}`"
    )]
    Same(RequestId),
    /// There is no such request.
    #[error("no such request; help: run `namegate requests` to list them")]
    Unknown,
    /// It is decided already.
    #[error("the request is already decided; help: run `namegate requests` to list the pending ones")]
    Decided,
}

/// The requests, oldest first, as saved and shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestBook {
    requests: Vec<GrantRequest>,
}

/// The requests, for the pages that list them. Only the thread that executes commands changes them.
pub type SharedRequests = Arc<Mutex<RequestBook>>;

impl RequestId {
    /// A new id from 128 random bits.
    pub fn new(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = NoRequestId;

    fn from_str(text: &str) -> Result<Self, NoRequestId> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
        bits.map(Self).ok_or(NoRequestId)
    }
}

impl TryFrom<String> for RequestId {
    type Error = NoRequestId;

    fn try_from(text: String) -> Result<Self, NoRequestId> {
        text.parse()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.to_string()
    }
}

impl GrantRequest {
    /// The clients of a grant with `scope`; `prefix` says which addresses are one client.
    pub fn grant_scope(&self, scope: RequestScope, prefix: ClientPrefix) -> GrantScope {
        match scope {
            RequestScope::Client => GrantScope::Client(prefix.net(self.client)),
            RequestScope::Group => GrantScope::Group(self.group.clone()),
            RequestScope::All => GrantScope::All,
        }
    }

    /// Its state at `now`: an approved request has expired with its grant.
    fn state_at(&self, now: SystemTime) -> RequestState {
        let is_over = self.state == RequestState::Approved && self.until.is_some_and(|until| until <= now);
        if is_over { RequestState::Expired } else { self.state }
    }

    /// This request as it is at `now`.
    fn at(&self, now: SystemTime) -> Self {
        Self { state: self.state_at(now), ..self.clone() }
    }

    /// The time from which it is held for [`HELD`].
    fn begins(&self) -> SystemTime {
        self.until.or(self.decided).unwrap_or(self.filed)
    }
}

impl RequestBook {
    /// The request with `id` at `now`.
    pub fn get(&self, id: RequestId, now: SystemTime) -> Option<GrantRequest> {
        self.requests.iter().find(|request| request.id == id).map(|request| request.at(now))
    }

    /// All requests at `now`, newest first.
    pub fn all(&self, now: SystemTime) -> Vec<GrantRequest> {
        self.requests.iter().rev().map(|request| request.at(now)).collect()
    }

    /// Number of requests in each state at `now`.
    pub fn count(&self, state: RequestState, now: SystemTime) -> usize {
        self.requests.iter().filter(|request| request.state_at(now) == state).count()
    }

    /// Whether a request of `client` for `pattern` would be accepted at `now`. `prefix` says which addresses are one
    /// client.
    ///
    /// Errors: why it would not.
    pub fn admits(
        &self,
        (client, pattern): (IpAddr, &Pattern),
        prefix: ClientPrefix,
        now: SystemTime,
    ) -> Result<(), RequestError> {
        let whole = prefix.whole(client);
        let own = || self.requests.iter().filter(|request| prefix.whole(request.client) == whole);
        let pending = || own().filter(|request| request.state == RequestState::Pending);
        if let Some(same) = pending().find(|request| request.pattern == *pattern) {
            return Err(RequestError::Same(same.id));
        }
        if pending().count() >= MAX_PENDING {
            return Err(RequestError::Pending);
        }
        let is_recent = |request: &&GrantRequest| {
            now.duration_since(request.filed).is_ok_and(|age| age < HOUR) || request.filed > now
        };
        if own().filter(is_recent).count() >= MAX_PER_HOUR {
            return Err(RequestError::Hourly);
        }
        let is_full = self.requests.len() >= MAX;
        if is_full && self.requests.iter().all(|request| request.state == RequestState::Pending) {
            return Err(RequestError::Full);
        }
        Ok(())
    }

    /// A copy with a new request. If there are too many, a decided one of the client that holds the most is forgotten.
    ///
    /// Errors: as for [`RequestBook::admits`].
    pub fn with(&self, request: GrantRequest, prefix: ClientPrefix) -> Result<Self, RequestError> {
        self.admits((request.client, &request.pattern), prefix, request.filed)?;
        let mut requests = self.requests.clone();
        if requests.len() >= MAX {
            let held = |client: IpAddr| {
                let whole = prefix.whole(client);
                self.requests.iter().filter(|request| prefix.whole(request.client) == whole).count()
            };
            let decided = requests.iter().enumerate().filter(|(_, old)| old.state != RequestState::Pending);
            // Of equals the first, which is the oldest.
            let gone = decided.rev().max_by_key(|(_, old)| held(old.client)).map(|(place, _)| place);
            requests.remove(gone.ok_or(RequestError::Full)?);
        }
        requests.push(request);
        Ok(Self { requests })
    }

    /// A copy in which the pending request `id` is decided at `now`, and the decided request.
    ///
    /// Errors: there is no such request, or it is not pending.
    pub fn decided(
        &self,
        id: RequestId,
        decision: RequestDecision,
        now: SystemTime,
    ) -> Result<(Self, GrantRequest), RequestError> {
        let mut book = self.clone();
        let request =
            book.requests.iter_mut().find(|request| request.id == id).ok_or(RequestError::Unknown)?;
        if request.state != RequestState::Pending {
            return Err(RequestError::Decided);
        }
        (request.decided, request.decided_by) = (Some(now), Some(decision.by));
        match decision.outcome {
            RequestOutcome::Approve(grant, scope) => {
                request.state = RequestState::Approved;
                (request.until, request.scope) = (Some(grant.until), Some(scope));
            }
            RequestOutcome::Deny(answer) => {
                (request.state, request.answer) = (RequestState::Denied, Some(answer));
            }
        }
        let request = request.clone();
        Ok((book, request))
    }

    /// A copy in which the approvals of a grant for `pattern` and `scope` have ended at `now`, because it was revoked;
    /// `None` if there are none.
    pub fn revoked(
        &self,
        (pattern, scope): (&Pattern, &GrantScope),
        prefix: ClientPrefix,
        now: SystemTime,
    ) -> Option<Self> {
        let mut book = self.clone();
        for request in &mut book.requests {
            let made = request.scope.filter(|_| request.state_at(now) == RequestState::Approved);
            if made.is_some_and(|made| request.grant_scope(made, prefix) == *scope)
                && request.pattern == *pattern
            {
                request.until = Some(now);
            }
        }
        (book != *self).then_some(book)
    }

    /// A copy at `now` without old requests, and the pending ones that have expired; `None` if nothing has changed.
    pub fn aged(&self, now: SystemTime) -> Option<(Self, Vec<GrantRequest>)> {
        let is_old =
            |request: &GrantRequest| now.duration_since(request.begins()).is_ok_and(|age| age > HELD);
        if !self.requests.iter().any(|request| is_old(request) || request.state_at(now) != request.state) {
            return None;
        }
        let (mut requests, mut expired) = (Vec::new(), Vec::new());
        for request in &self.requests {
            match request.state {
                RequestState::Pending if is_old(request) => {
                    let request =
                        GrantRequest { state: RequestState::Expired, decided: Some(now), ..request.clone() };
                    expired.push(request.clone());
                    requests.push(request);
                }
                _ if is_old(request) => {}
                _ => requests.push(request.at(now)),
            }
        }
        Some((Self { requests }, expired))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::UNIX_EPOCH;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn request(id: u128, client: &str, name: &str, filed: SystemTime) -> GrantRequest {
        GrantRequest {
            id: RequestId::new(id),
            pattern: Pattern::parse(name).unwrap(),
            reason: "a job".to_owned(),
            client: client.parse().unwrap(),
            group: "default".to_owned(),
            for_seconds: 3600,
            filed,
            author: "ana".to_owned(),
            state: RequestState::Pending,
            decided: None,
            decided_by: None,
            answer: None,
            until: None,
            scope: None,
        }
    }

    fn filed(count: u128, client: impl Fn(u128) -> String, at: impl Fn(u128) -> SystemTime) -> RequestBook {
        (0..count).fold(RequestBook::default(), |book, id| {
            let request = request(id, &client(id), &format!("h{id}.example"), at(id));
            book.with(request, ClientPrefix::default()).unwrap()
        })
    }

    fn deny(book: &RequestBook, id: u128) -> RequestBook {
        let decision =
            RequestDecision { by: "bo".to_owned(), outcome: RequestOutcome::Deny("no".to_owned()) };
        book.decided(RequestId::new(id), decision, now()).unwrap().0
    }

    #[test]
    fn one_client_files_only_its_share() {
        let prefix = ClientPrefix::default();
        let book = filed(5, |id| format!("2001:db8::{id:x}"), |_| now());
        let one_more = |client, name| book.with(request(9, client, name, now()), prefix).map(drop);
        assert_eq!(one_more("2001:db8::ffff", "x.example"), Err(RequestError::Pending), "the same /64");
        assert_eq!(one_more("2001:db8::1", "h3.example"), Err(RequestError::Same(RequestId::new(3))));
        assert_eq!(one_more("2001:db8:1::1", "h3.example"), Ok(()));
        let mut busy = RequestBook::default();
        for id in 0..20 {
            busy = deny(&busy.with(request(id, "10.0.0.1", "x.example", now()), prefix).unwrap(), id);
        }
        let later = |seconds| request(99, "10.0.0.1", "x.example", now() + Duration::from_secs(seconds));
        assert_eq!(busy.with(later(3599), prefix), Err(RequestError::Hourly));
        assert!(busy.with(later(3600), prefix).is_ok());
    }

    #[test]
    fn full_book_forgets_what_is_decided_of_the_busiest_client() {
        let prefix = ClientPrefix::default();
        let client = |id: u128| {
            if id < 990 { format!("10.0.{}.{}", id / 5 / 200, id / 5 % 200) } else { "10.9.9.9".to_owned() }
        };
        let mut book = filed(990, client, |_| now());
        for id in 990..1000 {
            book = deny(&book.with(request(id, "10.9.9.9", "x.example", now()), prefix).unwrap(), id);
        }
        book = deny(&book, 0);
        let more = book.with(request(2000, "10.8.8.8", "x.example", now()), prefix).unwrap();
        assert_eq!(more.requests.len(), MAX);
        assert!(
            more.get(RequestId::new(990), now()).is_none() && more.get(RequestId::new(0), now()).is_some()
        );
        let pending = filed(1000, |id| format!("10.0.{}.{}", id / 5 / 200, id / 5 % 200), |_| now());
        assert_eq!(pending.with(request(2000, "10.8.8.8", "x", now()), prefix), Err(RequestError::Full));
    }

    #[test]
    fn a_request_is_decided_once_and_expires_with_its_grant() {
        let (book, id) = (filed(1, |_| "10.0.0.1".to_owned(), |_| now()), RequestId::new(0));
        let until = now() + HOUR;
        let scope = GrantScope::new(Some("10.0.0.1"), None).unwrap();
        let (pattern, since) = (Pattern::parse("h0.example").unwrap(), now());
        let grant = Grant { pattern, scope, reason: String::new(), author: String::new(), since, until };
        let outcome = RequestOutcome::Approve(Box::new(grant), RequestScope::Client);
        let decision = RequestDecision { by: "bo".to_owned(), outcome };
        let (book, request) = book.decided(id, decision.clone(), now()).unwrap();
        assert_eq!((request.state, request.until), (RequestState::Approved, Some(until)));
        assert_eq!(book.decided(id, decision.clone(), now()), Err(RequestError::Decided));
        assert_eq!(book.decided(RequestId::new(7), decision, now()), Err(RequestError::Unknown));
        assert_eq!(book.get(id, until).unwrap().state, RequestState::Expired);
        let scope = request.grant_scope(RequestScope::Client, ClientPrefix::default());
        let revoked = book.revoked((&request.pattern, &scope), ClientPrefix::default(), now()).unwrap();
        assert_eq!(revoked.get(id, now()).unwrap().state, RequestState::Expired);
        assert!(book.revoked((&request.pattern, &GrantScope::All), ClientPrefix::default(), now()).is_none());
    }

    #[test]
    fn old_requests_expire_and_are_forgotten() {
        let book = deny(&filed(2, |_| "10.0.0.1".to_owned(), |_| now()), 0);
        assert!(book.aged(now() + HELD).is_none());
        let (aged, expired) = book.aged(now() + HELD + Duration::from_secs(1)).unwrap();
        assert_eq!((aged.requests.len(), expired.len()), (1, 1));
        assert_eq!(aged.requests[0].state, RequestState::Expired);
        assert_eq!(aged.aged(now() + HELD * 3).unwrap().0.requests.len(), 0);
    }

    #[test]
    fn what_is_saved_reads_back() {
        let book = deny(&filed(2, |_| "10.0.0.1".to_owned(), |_| now()), 0);
        let text = serde_json::to_string(&book).unwrap();
        assert!(text.contains(r#""id":"00000000000000000000000000000000","name":"h0.example""#), "{text}");
        assert!(text.contains(r#""state":"denied""#) && text.contains(r#""answer":"no""#), "{text}");
        assert_eq!(serde_json::from_str::<RequestBook>(&text).unwrap(), book);
        for id in ["", "0", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert!(id.parse::<RequestId>().is_err(), "{id}");
        }
    }
}
