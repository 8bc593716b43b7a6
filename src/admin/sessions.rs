//! [`Sessions`]: who has signed in. They exist only in memory, and end with the process.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::token::{Role, TokenDigest};
use crate::policy::clients::WholeClient;
use crate::util::sync::lock;

/// A session without requests ends after this time. An open page sends requests.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// A session ends after this time in any case.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Most sessions. Beyond that, the client with the most sessions loses its longest idle one.
const MAX: usize = 256;

/// The cookie's name over TLS: browsers accept it only with `Secure`, from this host, for all paths (RFC 6265bis).
const SECURE_NAME: &str = "__Host-namegate";

/// The cookie's name without TLS, where browsers refuse that prefix.
const NAME: &str = "namegate";

/// A session, as its requests see it.
#[derive(Clone)]
pub(super) struct Session {
    /// The role of the token that it began with.
    pub(super) role: Role,
    /// The token that it began with.
    pub(super) token: TokenDigest,
    /// What a page must send with changes.
    pub(super) csrf: Box<str>,
}

/// Identifies a session: the hash of the cookie's value, so that a memory dump gives no cookies away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId([u8; 32]);

/// The sessions in force.
#[derive(Default)]
pub(super) struct Sessions {
    all: Mutex<Vec<Entry>>,
}

struct Entry {
    id: SessionId,
    session: Session,
    client: Option<WholeClient>,
    began: Instant,
    used: Instant,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        let since = |moment| now.saturating_duration_since(moment);
        since(self.used) >= IDLE || since(self.began) >= LIFE
    }
}

impl Sessions {
    /// Begins a session of `client`; returns the cookie's value and the session.
    ///
    /// Errors: the system gives no random numbers.
    pub(super) fn begin(
        &self,
        (role, token): (Role, TokenDigest),
        client: Option<WholeClient>,
        now: Instant,
    ) -> Result<(String, Session), getrandom::Error> {
        let (secret, csrf) = (random()?, random()?);
        let session = Session { role, token, csrf: csrf.into() };
        let mut all = lock(&self.all);
        all.retain(|entry| !entry.is_over(now));
        if all.len() == MAX {
            make_room(&mut all);
        }
        all.push(Entry { id: id(&secret), session: session.clone(), client, began: now, used: now });
        Ok((secret, session))
    }

    /// The session of the cookie in `headers`, which is in use at `now`.
    pub(super) fn find(&self, headers: &HeaderMap, now: Instant) -> Option<(SessionId, Session)> {
        let mut all = lock(&self.all);
        all.retain(|entry| !entry.is_over(now));
        for value in cookies(headers) {
            let id = id(value);
            if let Some(entry) = all.iter_mut().find(|entry| entry.id == id) {
                entry.used = now;
                return Some((id, entry.session.clone()));
            }
        }
        None
    }

    /// Ends a session.
    pub(super) fn end(&self, id: SessionId) {
        lock(&self.all).retain(|entry| entry.id != id);
    }
}

/// Removes the longest idle session of the client and role with the most.
fn make_room(all: &mut Vec<Entry>) {
    // By role too: viewers behind a shared address must not sign approvers out.
    let whose = |entry: &Entry| (entry.client, entry.session.role);
    let of_client = |entry: &Entry| all.iter().filter(|other| whose(other) == whose(entry)).count();
    let most = all.iter().map(of_client).max();
    let candidates = all.iter().enumerate().filter(|(_, entry)| Some(of_client(entry)) == most);
    let idle = candidates.min_by_key(|(_, entry)| entry.used).map(|(index, _)| index);
    if let Some(index) = idle {
        all.swap_remove(index);
    }
}

/// The `Set-Cookie` header for `value`; an empty one deletes the cookie. `SameSite=Strict`: no other site can make a
/// browser send it.
pub(super) fn set_cookie(value: &str, is_secure: bool) -> String {
    let (name, secure) = if is_secure { (SECURE_NAME, "; Secure") } else { (NAME, "") };
    let life = if value.is_empty() { 0 } else { LIFE.as_secs() };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}{secure}")
}

/// The values of cookies that may be those of a session.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = pairs.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| [SECURE_NAME, NAME].contains(name)).map(|(_, value)| value)
}

fn id(secret: &str) -> SessionId {
    SessionId(Sha256::digest(secret).into())
}

/// 256 random bits.
fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::clients::ClientPrefix;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn client(last: u8) -> Option<WholeClient> {
        Some(ClientPrefix::default().whole([10, 0, 0, last].into()))
    }

    fn begin(sessions: &Sessions, last: u8, now: Instant) -> HeaderMap {
        let (cookie, _) = sessions.begin((Role::Viewer, TokenDigest::default()), client(last), now).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("theme=dark; {NAME}={cookie}").parse().unwrap());
        headers
    }

    #[test]
    fn an_idle_session_ends() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let (used, idle) = (begin(&sessions, 1, start), begin(&sessions, 2, start));
        assert!(sessions.find(&used, start + 20 * MINUTE).is_some());
        assert!(sessions.find(&used, start + 50 * MINUTE - SECOND).is_some());
        assert!(sessions.find(&idle, start + 30 * MINUTE).is_none());
        assert!(sessions.find(&idle, start).is_none(), "it has ended for good");
    }

    #[test]
    fn a_session_in_use_ends_after_twelve_hours() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let cookie = begin(&sessions, 1, start);
        for quarter in 1..48 {
            assert!(sessions.find(&cookie, start + 15 * quarter * MINUTE).is_some(), "{quarter}");
        }
        assert!(sessions.find(&cookie, start + LIFE).is_none());
    }

    #[test]
    fn a_full_table_takes_from_the_client_with_the_most() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let other = begin(&sessions, 1, start);
        let many: Vec<HeaderMap> = (1..=MAX)
            .map(|number| begin(&sessions, 2, start + number as u32 * Duration::from_millis(1)))
            .collect();
        let now = start + MINUTE;
        assert!(sessions.find(&other, now).is_some(), "it is older than all others");
        assert!(sessions.find(&many[0], now).is_none());
        assert!(many[1..].iter().all(|cookie| sessions.find(cookie, now).is_some()));
    }

    #[test]
    fn only_the_cookie_of_a_session_is_one() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let cookie = begin(&sessions, 1, now);
        let (id, _) = sessions.find(&cookie, now).unwrap();
        let value = cookie[header::COOKIE].to_str().unwrap().rsplit_once('=').unwrap().1.to_owned();
        for other in [String::new(), format!("{NAME}="), format!("{NAME}={value}x"), format!("other={value}")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, other.parse().unwrap());
            assert!(sessions.find(&headers, now).is_none(), "{other}");
        }
        sessions.end(id);
        assert!(sessions.find(&cookie, now).is_none());
    }
}
