//! Settings of `[webhook]`: notices of events to another program.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;

use crate::address::http_url::HttpUrl;
use crate::address::roots::Roots;
use crate::config::values::{optional_path, plain};
use crate::config::{serializers, value};
use crate::diagnostics::{Section, ValueError};

/// Notices of events to another program, over HTTPS.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WebhookSettings {
    /// Address that gets a signed POST for each event, such as `https://hooks.corp.example/namegate`. A host name is
    /// resolved through `upstream.bootstrap`. Plain http only to a loopback address. Redirects are not followed. Empty:
    /// off.
    #[serde(serialize_with = "url_as_text")]
    pub url: Option<HttpUrl>,
    /// File with the secret that signs each message, as Standard Webhooks says: `whsec_` and 24 to 64 bytes in Base64.
    #[serde(serialize_with = "serializers::optional_path")]
    pub secret_file: Option<PathBuf>,
    /// The events to send: "request" (a new request for a grant), "first_denial" (names that were blocked for the first
    /// time since the start, every 10 s at most), "canary" (a canary failed or recovered), "reload" (a reload failed).
    pub events: Vec<WebhookEvent>,
    /// Certificate authorities for this server: "platform" for those this machine trusts, or the path of a PEM file.
    #[serde(serialize_with = "serializers::roots")]
    pub roots: Roots,
}

/// An event that a webhook is told about.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WebhookEvent {
    /// A request for a grant was filed.
    Request,
    /// A name was blocked for the first time.
    FirstDenial,
    /// A canary failed or recovered.
    Canary,
    /// A reload failed.
    Reload,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            url: None,
            secret_file: None,
            events: vec![WebhookEvent::Request, WebhookEvent::Canary, WebhookEvent::Reload],
            roots: Roots::Platform,
        }
    }
}

/// Reads `[webhook]`; `bootstrap` resolves the host name.
pub(super) fn webhook(
    mut section: Section<'_, '_>,
    base: &Path,
    bootstrap: &[SocketAddr],
) -> WebhookSettings {
    let default = WebhookSettings::default();
    let url = section.parsed("url", url);
    let secret_file = optional_path(&mut section, "secret_file", base);
    if let Some(set) = url.as_ref().filter(|url| url.get_ref().is_some()) {
        if secret_file.is_none() {
            let help = "set `webhook.secret_file` to a file with the secret that the receiver has".to_owned();
            section.faults.error(&set.span(), "`webhook.url` without `webhook.secret_file`", help);
        }
        let needs_bootstrap = set.get_ref().as_ref().is_some_and(|url| url.address().is_none());
        if needs_bootstrap && bootstrap.is_empty() {
            let help =
                "set `upstream.bootstrap`, such as `[\"10.0.0.4\"]`, or write an IP address".to_owned();
            section.faults.error(
                &set.span(),
                "no bootstrap server to resolve the host of `webhook.url`",
                help,
            );
        }
    }
    let webhook = WebhookSettings {
        url: url.and_then(Spanned::into_inner),
        secret_file,
        events: section.set("events", event).map_or(default.events, plain),
        roots: section
            .parsed("roots", |text| value::roots(text, base))
            .map_or(default.roots, Spanned::into_inner),
    };
    section.finish();
    webhook
}

fn event(text: &str) -> Result<WebhookEvent, ValueError> {
    text.parse().map_err(|_| {
        ValueError::new(
            format!("unknown event `{}`", text.escape_debug()),
            "use `request`, `first_denial`, `canary` or `reload`",
        )
    })
}

fn url(text: &str) -> Result<Option<HttpUrl>, ValueError> {
    if text.is_empty() {
        return Ok(None);
    }
    HttpUrl::parse(text).map(Some).ok_or_else(|| {
        ValueError::new(
            format!("invalid URL `{}`", text.escape_debug()),
            "write https://HOST/PATH, or http://127.0.0.1:PORT/PATH; without user and fragment",
        )
    })
}

fn url_as_text<S: serde::Serializer>(url: &Option<HttpUrl>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_ref().map_or("", HttpUrl::as_str))
}
