//! [`Browser`]: headless Chromium, controlled over WebDriver (W3C WebDriver 2, and Chromium's own commands).

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::lines::Lines;
use super::{PATIENCE, eventually, free_address};

/// Key codes of WebDriver.
pub(crate) mod key {
    /// Tab: the next field.
    pub(crate) const TAB: char = '\u{e004}';
    /// Enter: submits a form.
    pub(crate) const ENTER: char = '\u{e007}';
}

/// Timeout of a command: the first one starts Chromium.
const COMMAND: Duration = Duration::from_secs(60);

/// A browser with one page, closed when dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Starts Chromium and its driver.
    pub(crate) fn start() -> Self {
        // Left to choose, it takes a port of IPv6 and then finds that another program has the same one of IPv4.
        let address = free_address();
        let mut driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed");
        let lines = Lines::collect(driver.stdout.take().expect("stdout is piped"));
        if lines.wait(PATIENCE, |line| line.contains("successfully on port")).is_none() {
            drop(driver.kill());
            panic!("chromedriver does not start:\n{}", lines.all().join("\n"));
        }
        let mut browser = Self { driver, address, session: String::new() };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"],
            },
        } } });
        let session = browser.exchange("POST", "/session", &wanted).expect("Chromium starts");
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session has an id"));
        browser
    }

    /// Loads a page.
    pub(crate) fn open(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
    }

    /// Sets the size of the page in CSS pixels; a narrow one simulates a phone.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let mobile = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets the preferred colour scheme, `light` or `dark`.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// Runs the body of a JavaScript function and returns its result.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The visible text of the first element that `selector` finds; empty if there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.run(&format!("return document.querySelector({})?.innerText ?? ''", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of `selector` contains each of `parts`.
    pub(crate) fn expect_text(&self, selector: &str, parts: &[&str]) -> String {
        eventually(&format!("{parts:?} in {selector}"), || {
            let text = self.text(selector);
            parts.iter().all(|part| text.contains(part)).then_some(text)
        })
    }

    /// Clicks the first element that `selector` finds, as a mouse does.
    pub(crate) fn click(&self, selector: &str) {
        let found = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        self.command(&format!("/element/{}/click", id.expect("an element has an id")), &json!({}));
    }

    /// Presses the keys one after the other, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|stroke| json!({ "type": stroke, "value": key })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.command("/actions", &actions);
    }

    /// Console messages since the last call: level and message.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({ "type": "browser" }));
        let line = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        entries.as_array().expect("a list of entries").iter().map(line).collect()
    }

    /// What keeps people from using the page, as axe-core (`NAMEGATE_AXE`) finds it by WCAG 2.2 AA.
    pub(crate) fn barriers(&self) -> Vec<String> {
        let axe = std::env::var_os("NAMEGATE_AXE").expect("NAMEGATE_AXE is the path of axe.min.js");
        let axe = fs::read_to_string(axe).expect("axe-core can be read");
        self.run(&format!("if (!window.axe) {{ {axe} }}"));
        let found = self.run(
            "const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
             const line = ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`;
             return axe.run(document, { runOnly: tags }).then(({ violations }) => violations.map(line));",
        );
        let found = found.as_array().expect("a list of violations");
        found.iter().map(|violation| violation.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Writes a screenshot to `NAME.png` in the screenshot directory.
    pub(crate) fn screenshot(&self, name: &str) -> PathBuf {
        let picture = self.chromium("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        let directory = screenshots();
        fs::create_dir_all(&directory).expect("a directory can be made");
        let path = directory.join(name).with_extension("png");
        fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// A command of the DevTools protocol.
    fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Runs a command of this session; fails with the driver's message.
    fn command(&self, path: &str, body: &Value) -> Value {
        self.exchange("POST", &format!("{}{path}", self.session), body)
            .unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let (head, body) = ask(self.address, &request).map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        let is_well = head.starts_with("HTTP/1.1 200");
        if is_well { Ok(answer["value"].take()) } else { Err(answer["value"].to_string()) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes Chromium, which would outlive its driver.
        drop(self.exchange("DELETE", &self.session, &json!({})));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// Fetches `path` by HTTP; returns head and body.
pub(crate) fn fetch(server: SocketAddr, path: &str) -> (String, String) {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n")).expect("a response")
}

/// Sends a request; returns head and body. The driver keeps its connections open.
fn ask(server: SocketAddr, request: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(COMMAND))?;
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let header =
        |line: &str| Some(line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().to_owned());
    let length = head.lines().find_map(header).and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

/// The screenshot directory: `NAMEGATE_SCREENSHOTS`, or else `target/screenshots`.
fn screenshots() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::env::var_os("NAMEGATE_SCREENSHOTS").map_or(usual, PathBuf::from)
}
