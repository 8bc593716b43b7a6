//! Commands for several resolvers at once.

use futures_util::future::join_all;
use tokio::runtime::Builder;

use super::http::{AdminClient, Error};
use crate::assemble::Sources;
use crate::cli::output::{FAILED, OK, exit_status, marked, print, warn};

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
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            warn(&marked(&error));
            return FAILED;
        }
    };
    let mut status = OK;
    for outcome in runtime.block_on(join_all(resolvers.iter().map(on_one))) {
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
