//! [`AdminClient`]: requests to a running resolver's admin listener.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin::token::{Role, Token, TokenFile};
use crate::api::allow_request::ErrorJson;
use crate::assemble::Sources;
use crate::config::{self, Settings};
use crate::net::socket::reachable;

/// Time for one page, from connecting to its last byte: container runtimes give up after some seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time for a command, which may wait for a reload.
const ORDER_PATIENCE: Duration = Duration::from_secs(35);

const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const TOO_MANY: u16 = 429;

/// Largest page in bytes. Pages of namegate are far smaller.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Longest text shown, in characters: a name of 255 bytes, each escaped as `\DDD`, and some room.
const MAX_TEXT: usize = 1100;

/// The admin listener of a running resolver.
#[derive(Clone, Debug)]
pub(super) struct AdminClient {
    address: SocketAddr,
    /// Where a token is looked for, if the resolver requires one.
    sources: Sources,
    /// The token for reading, once the resolver has required it.
    token: OnceLock<Token>,
}

/// A page with any status.
#[derive(Debug)]
pub(super) struct Page {
    /// HTTP status code.
    pub(super) status: u16,
    /// At most [`MAX_BODY`] bytes.
    pub(super) body: Vec<u8>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoPage {
    /// Nothing listens there, or the network does not lead there.
    #[error(transparent)]
    Unreachable(#[from] std::io::Error),
    /// It took longer than this.
    #[error("no reply within {} s", .0.as_secs())]
    Silence(Duration),
    /// The reply is not HTTP/1.1.
    #[error("the server there does not speak HTTP: {0}")]
    NotHttp(#[from] hyper::Error),
    /// The resolver requires a token.
    #[error("{0}")]
    Refused(String),
    /// The page is cut off, or has more than [`MAX_BODY`] bytes.
    #[error("the page is cut off or larger than {} MiB", MAX_BODY >> 20)]
    NotWhole,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoJson {
    /// No page.
    #[error("no answer from {0}: {1}")]
    Unanswered(String, NoPage),
    /// The resolver requires a token.
    #[error("{0}: {1}")]
    Refused(String, String),
    /// Not the expected page.
    #[error("{url} is not a page of namegate (HTTP {status}{why})")]
    NoGate { url: String, status: u16, why: &'static str },
}

impl NoJson {
    /// The error for people; `help` applies unless the resolver refused.
    pub(super) fn or_help(self, help: &str) -> Error {
        match self {
            Self::Refused(..) => self.into(),
            Self::Unanswered(..) | Self::NoGate { .. } => {
                NoAnswer(format!("error: {self}\n  help: {help}")).into()
            }
        }
    }
}

/// The running resolver gives no usable answer; the text is ready to print. It has an exit status of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAnswer(pub(super) String);

/// Why a command that queries a running resolver fails; for people.
pub(super) type Error = Box<dyn std::error::Error>;

impl AdminClient {
    /// The listener that the settings name; the error is ready to print.
    pub(super) fn of(sources: &Sources) -> Result<Self, String> {
        // With an address from the command line or the environment, a broken settings file does not matter.
        let client = |address| Self { address, sources: sources.clone(), token: OnceLock::new() };
        if let Some(Some(address)) = sources.overrides.admin {
            return Ok(client(address));
        }
        match settings(sources)?.admin.listen {
            Some(address) => Ok(client(address)),
            None => {
                Err("error: the admin listener is off\n  help: set `admin.listen`, or pass --admin"
                    .to_owned())
            }
        }
    }

    /// The address of `path`, which begins with a slash or is empty, for people.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Fetches `path`. A token is sent only to a resolver that requires one.
    pub(super) async fn get(&self, path: &str) -> Result<Page, NoPage> {
        let get = async |token: Option<&Token>| {
            let mut request = Request::new(Body::empty());
            token.map_or(Ok(()), |token| authorize(&mut request, token))?;
            self.send(Method::GET, path, request, PATIENCE).await
        };
        let mut page = get(self.token.get()).await?;
        if page.status == UNAUTHORIZED && self.token.get().is_none() {
            let token = self.find_token(Role::Viewer).map_err(NoPage::Refused)?;
            page = get(Some(self.token.get_or_init(|| token))).await?;
        }
        if [UNAUTHORIZED, FORBIDDEN, TOO_MANY].contains(&page.status) {
            return Err(NoPage::Refused(page.refusal()));
        }
        Ok(page)
    }

    /// The token for `role`: that of the command line, else that of the settings. The error is for people.
    fn find_token(&self, role: Role) -> Result<Token, String> {
        let read = |file, role| TokenFile::new(file, role).read().map_err(|error| error.to_string());
        if let Some(file) = &self.sources.overrides.token_file {
            return read(file.clone(), Role::Approver);
        }
        let admin = settings(&self.sources)?.admin;
        let viewer = admin.viewer_token_file.filter(|_| role == Role::Viewer);
        match (viewer, admin.token_file) {
            (Some(file), _) => read(file, Role::Viewer),
            (None, Some(file)) => read(file, Role::Approver),
            (None, None) => Err(
                "no admin token\n  help: pass --token-file, set NAMEGATE_TOKEN_FILE, or set `admin.token_file`".to_owned(),
            ),
        }
    }

    /// Fetches `path` and reads it as JSON; the error is for people.
    pub(super) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let (page, url) = (self.page(path)?, self.url(path));
        serde_json::from_slice(&page.body).map_err(|error| {
            NoAnswer(format!("error: {url} is not a page of namegate (HTTP {}): {error}", page.status)).into()
        })
    }

    /// Fetches `path` with any status; the error is for people.
    pub(super) fn page(&self, path: &str) -> Result<Page, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let page = runtime.map_err(NoPage::from).and_then(|runtime| runtime.block_on(self.get(path)));
        page.map_err(|error| self.no_page(path, &error))
    }

    /// Fetches the JSON page `path`; every text in it is printable ASCII.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoJson> {
        let url = || self.url(path);
        let page = self.get(path).await.map_err(|error| match error {
            NoPage::Refused(text) => NoJson::Refused(self.url(""), text),
            error => NoJson::Unanswered(self.url(""), error),
        })?;
        if page.status != 200 {
            return Err(NoJson::NoGate { url: url(), status: page.status, why: "" });
        }
        let why = ", unexpected JSON: it may be another version";
        let no_gate = |_| NoJson::NoGate { url: url(), status: page.status, why };
        let mut value = serde_json::from_slice(&page.body).map_err(no_gate)?;
        make_printable(&mut value);
        serde_json::from_value(value).map_err(no_gate)
    }

    /// The error for a page that could not be fetched, ready to print.
    fn no_page(&self, path: &str, error: &NoPage) -> Error {
        if let NoPage::Refused(text) = error {
            return format!("error: {}: {text}", self.url(path)).into();
        }
        NoAnswer(format!(
            "error: no answer from {}: {error}\n  help: pass the admin address of a running resolver with --admin (`namegate serve` starts one)",
            self.url(path)
        ))
        .into()
    }

    /// Sends a command with the admin token, and `body` as JSON; the error is for people.
    pub(super) async fn order<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&T>,
    ) -> Result<Page, Error> {
        let token = self.find_token(Role::Approver)?;
        self.post(method, path, Some(&token), body).await
    }

    /// Sends a request that needs no token, and `body` as JSON; the error is for people.
    pub(super) async fn ask<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&T>,
    ) -> Result<Page, Error> {
        self.post(method, path, None, body).await
    }

    async fn post<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        token: Option<&Token>,
        body: Option<&T>,
    ) -> Result<Page, Error> {
        let send = async || {
            let json = body.map(serde_json::to_vec).transpose().map_err(std::io::Error::from)?;
            let mut request = Request::new(json.map_or_else(Body::empty, Body::from));
            token.map_or(Ok(()), |token| authorize(&mut request, token))?;
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            self.send(method, path, request, ORDER_PATIENCE).await
        };
        send().await.map_err(|error| self.no_page(path, &error))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        mut request: Request<Body>,
        patience: Duration,
    ) -> Result<Page, NoPage> {
        *request.method_mut() = method;
        let exchange = self.exchange(path, request);
        timeout(patience, exchange).await.unwrap_or(Err(NoPage::Silence(patience)))
    }

    async fn exchange(&self, path: &str, mut request: Request<Body>) -> Result<Page, NoPage> {
        let address = reachable(self.address);
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let target = path.parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        *request.uri_mut() = target;
        let host = HeaderValue::from_str(&address.to_string());
        request.headers_mut().extend(host.ok().map(|host| (header::HOST, host)));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let page = async move {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = to_bytes(Body::new(response.into_body()), MAX_BODY).await;
            Ok(Page { status, body: body.map_err(|_| NoPage::NotWhole)?.into() })
        };
        both(page, connection).await
    }
}

/// Adds the token to a request.
fn authorize(request: &mut Request<Body>, token: &Token) -> Result<(), NoPage> {
    let mut authorization = HeaderValue::from_str(&token.authorization()).map_err(std::io::Error::other)?;
    authorization.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, authorization);
    Ok(())
}

fn settings(sources: &Sources) -> Result<Settings, String> {
    let loaded = config::load(sources.config.as_deref(), &sources.overrides);
    let help =
        "\n  help: to ask a running resolver, which keeps its policy, pass its admin address with --admin";
    loaded.map(|loaded| loaded.settings).map_err(|report| report.render(false).trim_end().to_owned() + help)
}

impl Page {
    /// Why the resolver refused the request, for people.
    pub(super) fn refusal(&self) -> String {
        let error = serde_json::from_slice::<ErrorJson>(&self.body);
        let text = error.map_or_else(|_| self.text(), |error| printable(&error.error));
        let (fault, help) = text.split_once("; help: ").unwrap_or((&text, ""));
        let help = if self.status == UNAUTHORIZED { "pass the right token with --token-file" } else { help };
        let help = if help.is_empty() { String::new() } else { format!("\n  help: {help}") };
        format!("request rejected (HTTP {}): {fault}{help}", self.status)
    }

    /// The body for a terminal: what is not UTF-8 or not [`printable`] shows as `?`.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.lines().map(printable).collect::<Vec<_>>().join("\n")
    }
}

/// `text` with `?` for every character but printable ASCII, cut after [`MAX_TEXT`].
///
/// namegate itself sends nothing else. But another program may answer at its address, and terminals obey control
/// characters.
pub(super) fn printable(text: &str) -> String {
    let shown = |character| if matches!(character, ' '..='~') { character } else { '?' };
    text.chars().take(MAX_TEXT).map(shown).collect()
}

/// Makes every text within `value` [`printable`].
fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(members) => members.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Drives the connection until the page is there; dropping it then closes it.
async fn both<T>(page: impl Future<Output = T>, connection: impl Future) -> T {
    let connection = async {
        connection.await;
        std::future::pending().await
    };
    tokio::select! {
        page = page => page,
        never = connection => never,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn client(address: SocketAddr) -> AdminClient {
        AdminClient { address, sources: Sources::default(), token: OnceLock::new() }
    }

    /// Serves one connection with `reply`, and fetches from it.
    async fn fetch(reply: Vec<u8>) -> Result<Page, NoPage> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            assert!(request.starts_with("get /page http/1.1\r\n") && request.contains("connection: close"));
            // The client may hang up before it has all.
            let _ = stream.write_all(&reply).await;
        };
        let client = client(address);
        let (page, ()) = tokio::join!(client.get("/page"), server);
        page
    }

    #[tokio::test]
    async fn bodies_of_every_framing_arrive() {
        for reply in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
            "HTTP/1.0 200 OK\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ] {
            let page = fetch(reply.into()).await.unwrap();
            assert_eq!((page.status, page.body.as_slice()), (200, &b"hello"[..]), "{reply}");
        }
        let page =
            fetch("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await.unwrap();
        assert_eq!(page.status, 503);
    }

    #[tokio::test]
    async fn what_is_no_page_is_an_error() {
        let error = fetch(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await.unwrap_err();
        assert!(matches!(error, NoPage::NotHttp(_)), "{error}");
        let error = fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec()).await.unwrap_err();
        assert!(matches!(error, NoPage::NotWhole), "{error}");
        let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        endless.resize(MAX_BODY + 1000, b' ');
        let error = fetch(endless).await.unwrap_err();
        assert!(matches!(error, NoPage::NotWhole), "{error}");
    }

    #[tokio::test]
    async fn silence_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client(listener.local_addr().unwrap());
        assert!(matches!(client.get("/").await, Err(NoPage::Silence(_))));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_printable(text in ".*|\\PC*|[\\x00-\\xff]{0,64}") {
            let shown = printable(&text);
            prop_assert!(shown.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{shown:?}");
            prop_assert_eq!(shown.len(), text.chars().count().min(MAX_TEXT));
            if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && text.len() <= MAX_TEXT {
                prop_assert_eq!(shown, text);
            }
        }
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}31m\u{202e}\r\n"), "a?[2Jb?31m???");
        let page = Page { status: 503, body: b"not ready\n\x1b]0;x\x07\xff\n".to_vec() };
        assert_eq!(page.text(), "not ready\n?]0;x??");
    }

    #[test]
    fn texts_are_printable_at_every_depth() {
        let mut value = json!({"a": ["x\u{1b}[31m", {"b": "y\n", "c": [1, null, true]}]});
        make_printable(&mut value);
        assert_eq!(value, json!({"a": ["x?[31m", {"b": "y?", "c": [1, null, true]}]}));
    }
}
