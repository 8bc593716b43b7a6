//! [`Disturbances`]: reloads, upstream faults, page reads and grants during the soak, each on its own thread.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::load::upstream::{Conduct, Upstream};
use crate::site::{Site, TOKEN};
use crate::support::http::Http;

/// Interval between reloads.
const RELOAD: Duration = Duration::from_secs(2);
/// Duration of an upstream fault, and of the pause after it.
const FAULT: Duration = Duration::from_secs(4);
/// Interval between reads of all pages.
const LOOK: Duration = Duration::from_secs(1);
/// Interval between grants.
const WISH: Duration = Duration::from_secs(3);

/// The pages that are read.
const PAGES: [&str; 9] = [
    "/metrics",
    "/",
    "/healthz",
    "/api/v1/status",
    "/api/v1/top",
    "/api/v1/recent",
    "/api/v1/blocked",
    "/api/v1/allowed",
    "/api/v1/explain?name=ws.azureml.ms",
];

/// Everything that disturbs the run, with counts.
pub(crate) struct Disturbances<'a> {
    site: &'a Site,
    upstream: &'a Upstream,
    is_over: &'a AtomicBool,
    reloads: AtomicUsize,
    faults: AtomicUsize,
    looks: AtomicUsize,
    /// Queries sent outside the traffic, each with a reply.
    asked: AtomicU64,
}

impl<'a> Disturbances<'a> {
    /// Prepares without starting.
    pub(crate) fn new(site: &'a Site, upstream: &'a Upstream, is_over: &'a AtomicBool) -> Self {
        let none = AtomicUsize::default;
        let (reloads, faults, looks, asked) = (none(), none(), none(), AtomicU64::default());
        Self { site, upstream, is_over, reloads, faults, looks, asked }
    }

    /// Starts all threads.
    pub(crate) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Vec<ScopedJoinHandle<'s, ()>> {
        vec![
            scope.spawn(|| self.each(RELOAD, &self.reloads, |number| self.site.reload(number))),
            scope.spawn(|| self.each(FAULT, &self.faults, |number| self.upstream.set(conduct(number)))),
            scope.spawn(|| self.each(LOOK, &self.looks, |_| self.look())),
            scope.spawn(|| self.each(WISH, &AtomicUsize::default(), |number| self.wish(number))),
        ]
    }

    /// Counts of what happened.
    pub(crate) fn happened(&self) -> [(&'static str, usize); 3] {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        [
            ("reloads", count(&self.reloads)),
            ("changes of the upstream's conduct", count(&self.faults)),
            ("reads of all pages", count(&self.looks)),
        ]
    }

    /// Queries sent outside the traffic, each with a reply.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn each(&self, interval: Duration, count: &AtomicUsize, act: impl Fn(usize)) {
        while !self.is_over.load(Ordering::Relaxed) {
            act(count.fetch_add(1, Ordering::Relaxed));
            thread::sleep(interval);
        }
    }

    fn look(&self) {
        for page in PAGES {
            let (status, body) = self.site.gate().get(page);
            assert!(status == 200 && !body.is_empty(), "{page}: {status} {body}");
        }
    }

    /// Grants a name, which then must resolve; revokes every second one, which then must be blocked.
    fn wish(&self, number: usize) {
        let name = format!("wish-{number}.example.org");
        self.expect(&name, &["NXDOMAIN"]);
        let http = Http::to(self.site.gate().admin()).token(TOKEN);
        let body = format!(r#"{{"name":"{name}","for":"1m","reason":"soak","author":"soak"}}"#);
        let reply = http.clone().json("POST", "/api/v1/allowed", &body);
        assert!(reply.status < 300, "{}: {}", reply.status, reply.body);
        self.expect(&name, &["NOERROR", "SERVFAIL"]);
        if number.is_multiple_of(2) {
            let reply = http.send("DELETE", &format!("/api/v1/allowed/{name}"), "");
            assert!(reply.status < 300, "{}: {}", reply.status, reply.body);
            self.expect(&name, &["NXDOMAIN"]);
        }
    }

    fn expect(&self, name: &str, rcodes: &[&str]) {
        let rcode = self.site.gate().ask(name, "A").rcode();
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(rcodes.contains(&rcode.as_str()), "{name}: {rcode} instead of {rcodes:?}");
    }
}

/// Alternates between sound and one fault after the other.
fn conduct(number: usize) -> Conduct {
    let faults = &Conduct::ALL[1..];
    if number.is_multiple_of(2) { Conduct::Sound } else { faults[number / 2 % faults.len()] }
}
