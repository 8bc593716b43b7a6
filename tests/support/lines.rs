//! [`Lines`]: the output of a process so far, line by line.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of one output stream, collected by a thread until the stream ends.
#[derive(Clone)]
pub(crate) struct Lines {
    shared: Arc<(Mutex<Collected>, Condvar)>,
}

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Starts collecting.
    pub(crate) fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self { shared: Arc::default() };
        let shared = Arc::clone(&lines.shared);
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
                let line = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned();
                shared.0.lock().unwrap().lines.push(line);
                shared.1.notify_all();
                bytes.clear();
            }
            shared.0.lock().unwrap().ended = true;
            shared.1.notify_all();
        });
        lines
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// Waits for a line that `wanted` accepts; `None` at the end of the stream or after `timeout`.
    pub(crate) fn wait(&self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + timeout;
        let (collected, changed) = &*self.shared;
        let mut collected = collected.lock().unwrap();
        loop {
            if let Some(line) = collected.lines.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|_| !collected.ended)?;
            collected = changed.wait_timeout(collected, left).unwrap().0;
        }
    }

    /// Waits for a line that contains `text`; fails without it.
    pub(crate) fn expect(&self, text: &str) -> String {
        self.wait(super::PATIENCE, |line| line.contains(text))
            .unwrap_or_else(|| panic!("no line holds `{text}`:\n{}", self.all().join("\n")))
    }
}
