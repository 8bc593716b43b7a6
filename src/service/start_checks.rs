//! [`faults`]: what keeps namegate from starting, besides faults of the files in its policy. `serve` and `check` run the
//! same tests.

use std::path::Path;

use crate::admin::token::TokenFile;
use crate::assemble::Assembly;
use crate::observe::dnstap;
use crate::observe::query_log::rotated_file::RotatedFile;
use crate::service::cookie_secrets::cookies;
use crate::service::grant_store::GrantStore;
use crate::service::state::check_upstreams;
use crate::service::webhook::Webhook;
use crate::util::own_file;

/// One test. It changes nothing, and its error has a hint.
type StartTest = fn(&Assembly) -> Result<(), String>;

/// The tests, in the order of their messages.
const TESTS: [StartTest; 7] =
    [state_directory, check_upstreams, admin_tokens, cookie_secrets, query_log, dnstap_socket, webhook];

/// The faults, each with a hint.
pub fn faults(assembly: &Assembly) -> Vec<String> {
    TESTS.iter().filter_map(|test| test(assembly).err()).collect()
}

fn state_directory(assembly: &Assembly) -> Result<(), String> {
    GrantStore::new(assembly.settings.server.state_directory.clone()).check()
}

fn admin_tokens(assembly: &Assembly) -> Result<(), String> {
    TokenFile::of(&assembly.settings).map(drop).map_err(|error| error.to_string())
}

fn webhook(assembly: &Assembly) -> Result<(), String> {
    Webhook::check(&assembly.settings)
}

fn cookie_secrets(assembly: &Assembly) -> Result<(), String> {
    cookies(&assembly.settings.cookies, None).map(drop).map_err(|error| error.to_string())
}

fn query_log(assembly: &Assembly) -> Result<(), String> {
    let log = &assembly.settings.log;
    let Some(file) = &log.file else { return Ok(()) };
    // Opening creates a file that does not exist.
    let tested = match file.symlink_metadata() {
        Ok(_) => RotatedFile::open(file, log.file_max_size.as_u64(), log.file_keep).map(drop),
        Err(_) => {
            let directory =
                file.parent().filter(|parent| *parent != Path::new("")).unwrap_or_else(|| Path::new("."));
            directory.metadata().and_then(|_| own_file::is_writable(directory))
        }
    };
    tested.map_err(|error| {
        format!(
            "cannot write the query log {}: {error}\n  help: create its directory, or set `log.file` to a writable file",
            file.display()
        )
    })
}

fn dnstap_socket(assembly: &Assembly) -> Result<(), String> {
    let Some(socket) = &assembly.settings.dnstap.socket else { return Ok(()) };
    dnstap::check(socket).map_err(|fault| {
        format!(
            "cannot use the dnstap socket {}: {fault}\n  help: set `dnstap.socket` to the socket of a dnstap reader",
            socket.display()
        )
    })
}
