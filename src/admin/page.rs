//! The console at `/` and `/request`: one document with inline style and script that gets its data from the JSON pages.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = concat!(
    include_str!("page/element.js"),
    include_str!("page/time.js"),
    include_str!("page/http.js"),
    include_str!("page/session.js"),
    include_str!("page/router.js"),
    include_str!("page/banner.js"),
    include_str!("page/chart.js"),
    include_str!("page/lookups.js"),
    include_str!("page/overview.js"),
    include_str!("page/tail.js"),
    include_str!("page/explain.js"),
    include_str!("page/name.js"),
    include_str!("page/client.js"),
    include_str!("page/log.js"),
    include_str!("page/requests.js"),
    include_str!("page/ask.js"),
    include_str!("page/poll.js"),
);

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| format!(include_str!("page/index.html"), style = STYLE, script = SCRIPT));

/// Content Security Policy (level 3) of the page: run only this script, apply only this style, connect only to this
/// listener. Clients choose the names on the page, so even a mistake in the script must not turn them into markup. With
/// the last two directives the browser refuses every assignment that could.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source_hash(STYLE),
        source_hash(SCRIPT)
    )
});

/// Serves the page.
pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
    ];
    (headers, DOCUMENT.as_str())
}

/// The hash of an inline style or script, as in a Content Security Policy.
fn source_hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}
