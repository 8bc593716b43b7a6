//! [`GrantStore`]: temporary allows, called grants, on disk, with an audit log of who made them when.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::policy::temporary::{Grant, GrantScope, Temporary};
use crate::service::{audit_log, request_store};
use crate::util::log_event::log;
use crate::util::own_file::{self, UntrustedFileError};

/// The file with the current grants.
const ALLOWED: &str = "allowed.json";

/// Version of the file format without scopes: every grant is for all clients.
const UNSCOPED: u32 = 1;

/// Version with scopes. An older namegate must not read such a file: it would allow the names for all clients.
const SCOPED: u32 = 2;

/// Stores grants in a directory, if one is set, and logs what happens to them.
#[derive(Debug)]
pub struct GrantStore {
    directory: Option<PathBuf>,
}

/// What happens to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It was made.
    Allowed,
    /// It could not be saved, so it was not made.
    Failed,
    /// It was revoked.
    Revoked,
    /// It expired.
    Ended,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    allowed: Vec<Grant>,
}

/// A line of the audit log, as read back.
#[derive(Deserialize)]
struct Recorded {
    event: Event,
    #[serde(flatten)]
    grant: Grant,
}

impl GrantStore {
    /// Grants stored in `directory`; without one, grants end with the process.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(name))
    }

    /// Checks that the directory can be used; writes nothing.
    ///
    /// Errors: other users can change its contents, or it is not writable; with path and hint.
    pub fn check(&self) -> Result<(), String> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let is_there = own_file::check_directory(directory).map_err(|error| distrust(directory, &error))?;
        for file in [ALLOWED, audit_log::FILE, request_store::FILE]
            .map(|name| directory.join(name))
            .iter()
            .filter(|_| is_there)
        {
            own_file::check_file(file).map_err(|error| distrust(file, &error))?;
        }
        own_file::is_writable(directory).map_err(|error| cannot_write(directory, &error))
    }

    /// Creates the directory if it does not exist.
    ///
    /// Errors: it cannot be created, or as [`GrantStore::check`]; with path and hint.
    pub fn prepare(&self) -> Result<(), String> {
        let Some(directory) = &self.directory else { return Ok(()) };
        self.check()?;
        let probe = own_file::fresh(&directory.join("probe"));
        let write = || own_file::create(&probe).and_then(|_| fs::remove_file(&probe));
        own_file::create_directory(directory)
            .and_then(|()| write())
            .map_err(|error| cannot_write(directory, &error))?;
        [ALLOWED, audit_log::FILE, request_store::FILE]
            .iter()
            .for_each(|name| own_file::narrow(&directory.join(name)));
        self.check()
    }

    /// The saved grants that are still valid, each for at most `longest`. An unreadable file is logged and renamed: its
    /// grants are lost, but namegate starts.
    pub fn restore(&self, longest: Duration) -> Temporary {
        self.load(longest).unwrap_or_else(|error| {
            log!(GrantsUnreadable, "{error}");
            if let Some(path) = self.file(ALLOWED) {
                // If the rename fails, the next grant overwrites the file.
                let _ = fs::rename(&path, path.with_extension("unreadable"));
            }
            Temporary::default()
        })
    }

    /// Errors: the file cannot be read, or is not what this version writes; with path and hint.
    fn load(&self, longest: Duration) -> Result<Temporary, String> {
        let Some(path) = self.file(ALLOWED) else { return Ok(Temporary::default()) };
        let explain = |error: &dyn std::fmt::Display| {
            format!(
                "cannot read the grants in {}: {error}\n  help: the file is renamed to allowed.unreadable; \
                 grant again what is still needed",
                path.display()
            )
        };
        let text = match own_file::read(&path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(Temporary::default()),
            Err(error) => return Err(explain(&error)),
        };
        let Contents { version, mut allowed } =
            serde_json::from_str(&text).map_err(|error| explain(&error))?;
        if ![UNSCOPED, SCOPED].contains(&version) {
            return Err(explain(&format_args!("unsupported version {version}, expected {SCOPED}")));
        }
        let (now, time) = (Instant::now(), SystemTime::now());
        allowed.iter_mut().for_each(|grant| shorten(grant, longest, time));
        let temporary = Temporary::new(allowed.clone(), now, time);
        // Leave the file unchanged: another process may still write it, and a clock that is ahead may be corrected.
        let ended: Vec<&Grant> = allowed.iter().filter(|grant| grant.until <= time).collect();
        if !ended.is_empty() {
            let known = self.known_ends();
            ended
                .iter()
                .filter(|grant| !known.contains(grant))
                .for_each(|grant| self.note(Event::Ended, grant));
        }
        Ok(temporary)
    }

    /// Grants whose expiry is already in the audit log, including from earlier starts.
    fn known_ends(&self) -> Vec<Grant> {
        let text =
            self.file(audit_log::FILE).and_then(|path| own_file::read(&path).ok()?).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Recorded>(line).ok());
        lines.filter(|line| line.event == Event::Ended).map(|line| line.grant).collect()
    }

    /// Saves `temporary`, replacing the file atomically.
    ///
    /// Errors: it cannot be written; with path and hint.
    pub fn save(&self, temporary: &Temporary) -> Result<(), String> {
        let Some(path) = self.file(ALLOWED) else { return Ok(()) };
        let is_scoped = temporary.iter().any(|grant| grant.scope != GrantScope::All);
        let version = if is_scoped { SCOPED } else { UNSCOPED };
        let contents = Contents { version, allowed: temporary.iter().cloned().collect() };
        let text = serde_json::to_string_pretty(&contents).map_err(|error| error.to_string())?;
        own_file::replace(&path, text.as_bytes()).map_err(|error| {
            format!(
                "cannot save the grants in {}: {error}\n  help: make the directory writable for the user namegate \
                 runs as, or set `server.state_directory`",
                path.display()
            )
        })
    }

    /// Records what happens to `grant`: in the log, and in `audit.log` in the directory.
    pub fn note(&self, event: Event, grant: &Grant) {
        if let Err(error) = self.record(event, grant) {
            log!(GrantsUnsaved, "{error}");
        }
    }

    /// Like [`GrantStore::note`], for events that must not happen without an audit entry.
    ///
    /// Errors: `audit.log` cannot be written; with path and hint.
    pub fn record(&self, event: Event, grant: &Grant) -> Result<(), String> {
        let Grant { pattern, scope, reason, author, until, .. } = grant;
        let until = crate::util::rfc3339::seconds(*until);
        // One arm for each event, because the kind of a line is a constant.
        macro_rules! tell {
            ($event:ident, $what:literal) => {
                log!(
                    $event,
                    name = %pattern, %scope, %until, author = %author, reason = %reason,
                    "{}: {pattern}{scope} until {until}, by {author:?}: {reason:?}", $what
                )
            };
        }
        let audited = audit_log::append(self.directory.as_deref(), event, grant);
        match event {
            // Without its audit entry it is not made.
            Event::Allowed if audited.is_err() => tell!(GrantFailed, "grant failed"),
            Event::Allowed => tell!(Grant, "granted"),
            Event::Failed => tell!(GrantFailed, "grant failed"),
            Event::Revoked => tell!(GrantRevoked, "grant revoked"),
            Event::Ended => tell!(GrantExpired, "grant expired"),
        }
        audited
    }
}

/// Limits a grant to `max_temporary`: the file may be older than the setting, or edited by hand.
fn shorten(grant: &mut Grant, longest: Duration, now: SystemTime) {
    let latest = [grant.since, now].into_iter().filter_map(|start| start.checked_add(longest)).min();
    if let Some(latest) = latest.filter(|latest| grant.until > *latest) {
        let (until, latest_shown) =
            (crate::util::rfc3339::seconds(grant.until), crate::util::rfc3339::seconds(latest));
        log!(
            GrantShortened,
            "grant shortened by `admin.max_temporary`: {}{} ends at {latest_shown}, not at {until}",
            grant.pattern,
            grant.scope
        );
        grant.until = latest;
    }
}

fn cannot_write(directory: &Path, error: &dyn std::fmt::Display) -> String {
    let place = directory.display();
    format!("cannot write to {place}: {error}\n  help: set `server.state_directory` to a writable directory")
}

fn distrust(path: &Path, error: &UntrustedFileError) -> String {
    let help = error
        .remedy(path)
        .unwrap_or_else(|| "set `server.state_directory` to a writable directory".to_owned());
    format!("cannot use {} (`server.state_directory`): {error}\n  help: {help}", path.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::policy::rule::Pattern;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn grant(pattern: &str) -> Grant {
        let since = SystemTime::now();
        let until = since + Duration::from_secs(3600);
        let (reason, author) = ("a \"quoted\"\nreason".to_owned(), String::new());
        Grant {
            pattern: Pattern::parse(pattern).unwrap(),
            scope: GrantScope::All,
            reason,
            author,
            since,
            until,
        }
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let grants = GrantStore::new(Some(directory.path().to_owned()));
        assert_eq!(grants.load(DAY).unwrap().iter().len(), 0);
        let temporary = Temporary::new([grant("*.example.org")], Instant::now(), SystemTime::now());
        grants.save(&temporary).unwrap();
        grants.note(Event::Allowed, &grant("*.example.org"));
        let again = grants.load(DAY).unwrap();
        assert_eq!(again.iter().next().unwrap().pattern, Pattern::parse("*.example.org").unwrap());
        let audit = fs::read_to_string(directory.path().join("audit.log")).unwrap();
        assert_eq!(audit.lines().count(), 1);
        assert!(audit.contains(r#""event":"allowed","pattern":"*.example.org""#), "{audit}");
    }

    #[test]
    fn only_scoped_grants_raise_the_version() {
        let directory = tempfile::tempdir().unwrap();
        let grants = GrantStore::new(Some(directory.path().to_owned()));
        let client = GrantScope::new(Some("10.0.0.7/24"), None).unwrap();
        let group = GrantScope::Group("build".to_owned());
        for (scope, version, written) in [
            (GrantScope::All, 1, ""),
            (client, 2, "\"client\": \"10.0.0.0/24\""),
            (group, 2, "\"group\": \"build\""),
        ] {
            let grant = Grant { scope: scope.clone(), ..grant("a.example") };
            grants.save(&Temporary::new([grant], Instant::now(), SystemTime::now())).unwrap();
            let text = fs::read_to_string(directory.path().join("allowed.json")).unwrap();
            assert!(text.contains(&format!("\"version\": {version}")) && text.contains(written), "{text}");
            assert_eq!(grants.load(DAY).unwrap().iter().next().unwrap().scope, scope);
        }
    }

    #[test]
    fn unreadable_file_is_reported_with_place_and_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let grants = GrantStore::new(Some(directory.path().to_owned()));
        let path = directory.path().join("allowed.json");
        for (text, said) in [
            ("", "EOF"),
            ("{\"version\":1,\"allowed\":[{\"pattern\":", "EOF"),
            ("{\"version\":3,\"allowed\":[]}", "version 3"),
            ("{\"version\":1,\"allowed\":[],\"more\":1}", "more"),
            (
                "{\"version\":2,\"allowed\":[{\"pattern\":\"a.example\",\"clients\":[\"10.0.0.1\"],\"reason\":\"\",\"author\":\"\",\
                 \"since\":\"2026-01-01T00:00:00Z\",\"until\":\"2126-01-01T00:00:00Z\"}]}",
                "unknown field `clients`",
            ),
            (
                "{\"version\":1,\"allowed\":[{\"pattern\":\"*\",\"reason\":\"\",\"author\":\"\",\"since\":\"2026-01-01T00:00:00Z\",\
                 \"until\":\"2026-01-01T00:00:00Z\"}]}",
                "every name",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = grants.load(DAY).unwrap_err();
            assert!(error.contains(&path.display().to_string()) && error.contains("help:"), "{error}");
            assert!(error.contains(said), "{text}: {error}");
            assert_eq!(grants.restore(DAY).iter().len(), 0);
            assert!(!path.exists() && path.with_extension("unreadable").exists());
        }
    }

    #[test]
    fn restored_grant_is_limited_by_the_setting() {
        let now = SystemTime::now();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (since, until, longest, restored) in [
            (now - hours(1), now + hours(1), hours(24), now + hours(1)),
            (now - hours(1), now + hours(1000), hours(24), now + hours(23)),
            (now + hours(500), now + hours(1000), hours(24), now + hours(24)),
            (now - hours(2), now + hours(1), hours(1), now - hours(1)),
        ] {
            let mut grant = Grant { since, until, ..grant("a.example") };
            shorten(&mut grant, longest, now);
            assert_eq!(grant.until, restored, "{since:?} {until:?} {longest:?}");
        }
    }
}
