//! [`RequestStore`]: requests for grants on disk, with their lines in the audit log.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control::requests::{GrantRequest, RequestBook, SharedRequests};
use crate::service::audit_log;
use crate::util::log_event::log;
use crate::util::own_file;
use crate::util::sync::lock;

/// The file in the state directory.
pub(super) const FILE: &str = "requests.json";

/// Version of the file format.
const VERSION: u32 = 1;

/// Stores requests in a directory, if one is set, and logs what happens to them.
#[derive(Clone, Debug)]
pub struct RequestStore {
    directory: Option<PathBuf>,
    book: SharedRequests,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestEvent {
    /// It was filed.
    Requested,
    /// It was approved.
    Approved,
    /// It was denied.
    Denied,
    /// Nobody decided it in time.
    Expired,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    requests: RequestBook,
}

impl RequestStore {
    /// The requests saved in `directory`; without one, requests end with the process. An unreadable file is logged and
    /// renamed.
    pub fn restore(directory: Option<PathBuf>) -> Self {
        let mut book = RequestBook::default();
        if let Some(path) = directory.as_ref().map(|directory| directory.join(FILE)) {
            let text = own_file::read(&path).map_err(|error| error.to_string());
            match text.and_then(|text| read(text.as_deref())) {
                Ok(saved) => book = saved,
                Err(error) => {
                    // If the rename fails, the next request overwrites the file.
                    let _ = fs::rename(&path, path.with_extension("unreadable"));
                    log!(
                        RequestsUnreadable,
                        "cannot read the requests in {}: {error}\n  help: the file is renamed to requests.unreadable; \
                         clients must file their requests again",
                        path.display()
                    );
                }
            }
        }
        Self { directory, book: Arc::new(Mutex::new(book)) }
    }

    /// The requests, for those who only read them.
    pub fn shared(&self) -> SharedRequests {
        Arc::clone(&self.book)
    }

    /// A copy of the requests.
    pub fn book(&self) -> RequestBook {
        lock(&self.book).clone()
    }

    /// As [`RequestBook::aged`].
    pub fn aged(&self, now: SystemTime) -> Option<(RequestBook, Vec<GrantRequest>)> {
        lock(&self.book).aged(now)
    }

    /// Saves `book`, replacing the file atomically, and makes it the current one.
    ///
    /// Errors: it cannot be written; with path and hint.
    pub fn replace(&self, book: RequestBook) -> Result<(), String> {
        if let Some(path) = self.directory.as_ref().map(|directory| directory.join(FILE)) {
            let contents = Contents { version: VERSION, requests: book.clone() };
            let text = serde_json::to_string_pretty(&contents).map_err(|error| error.to_string())?;
            own_file::replace(&path, text.as_bytes()).map_err(|error| {
                format!(
                    "cannot save the requests in {}: {error}\n  help: make the directory writable for the user namegate \
                     runs as, or set `server.state_directory`",
                    path.display()
                )
            })?;
        }
        *lock(&self.book) = book;
        Ok(())
    }

    /// Records what happens to `request`: in the log, and in `audit.log` in the directory.
    ///
    /// Errors: `audit.log` cannot be written; with path and hint.
    pub fn record(&self, event: RequestEvent, request: &GrantRequest) -> Result<(), String> {
        let GrantRequest { id, pattern, reason, client, author, .. } = request;
        let by = request.decided_by.as_deref().unwrap_or_default();
        match event {
            RequestEvent::Requested => {
                log!(Request, name = %pattern, %client, "request {id}: {pattern} for client {client}, by {author:?}: {reason:?}");
            }
            RequestEvent::Approved => {
                log!(RequestApproved, name = %pattern, "request {id} approved by {by:?}: {pattern}");
            }
            RequestEvent::Denied => {
                let answer = request.answer.as_deref().unwrap_or_default();
                log!(RequestDenied, name = %pattern, "request {id} denied by {by:?}: {pattern}: {answer:?}");
            }
            RequestEvent::Expired => log!(RequestExpired, name = %pattern, "request {id} expired: {pattern}"),
        }
        audit_log::append(self.directory.as_deref(), event, request)
    }
}

fn read(text: Option<&str>) -> Result<RequestBook, String> {
    let Some(text) = text else { return Ok(RequestBook::default()) };
    let Contents { version, requests } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match version {
        VERSION => Ok(requests),
        _ => Err(format!("unsupported version {version}, expected {VERSION}")),
    }
}
