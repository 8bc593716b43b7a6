//! `namegate healthcheck`: queries /readyz, for containers without another HTTP client.

use super::http::{AdminClient, NoPage, Page};
use crate::assemble::Sources;
use crate::cli::output::{FAILED, OK, print, warn};

/// Queries the admin listener that the settings name.
pub(super) fn run(sources: &Sources) -> u8 {
    let listener = match AdminClient::of(sources) {
        Ok(listener) => listener,
        Err(error) => {
            warn(&error);
            return FAILED;
        }
    };
    match ask(&listener) {
        Ok(Page { status: 200, .. }) => {
            // The exit status is the result.
            let _ = print("ready");
            OK
        }
        Ok(page) => {
            warn(&page.text());
            FAILED
        }
        Err(error) => {
            warn(&format!("error: no answer from {}: {error}", listener.url("/readyz")));
            FAILED
        }
    }
}

fn ask(listener: &AdminClient) -> Result<Page, NoPage> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(listener.get("/readyz"))
}
