//! [`Disturbances`]: what happens beside the traffic, each on a thread of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::load::upstream::{Conduct, Upstream};
use crate::site::{Site, TOKEN};
use crate::support::http::Http;

/// Between two reloads.
const RELOAD: Duration = Duration::from_secs(2);
/// How long the upstream is at fault, and how long it is well in between.
const FAULT: Duration = Duration::from_secs(4);
/// Between two looks at all pages.
const LOOK: Duration = Duration::from_secs(1);
/// Between two names that are allowed for a while.
const WISH: Duration = Duration::from_secs(3);

/// What is looked at.
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

/// What happens until it is over, and how often it did.
pub(crate) struct Disturbances<'a> {
    site: &'a Site,
    upstream: &'a Upstream,
    is_over: &'a AtomicBool,
    reloads: AtomicUsize,
    faults: AtomicUsize,
    looks: AtomicUsize,
    /// Queries asked besides the traffic, each with a reply.
    asked: AtomicU64,
}

impl<'a> Disturbances<'a> {
    /// Nothing has happened yet.
    pub(crate) fn new(site: &'a Site, upstream: &'a Upstream, is_over: &'a AtomicBool) -> Self {
        let none = AtomicUsize::default;
        let (reloads, faults, looks, asked) = (none(), none(), none(), AtomicU64::default());
        Self { site, upstream, is_over, reloads, faults, looks, asked }
    }

    /// Begins.
    pub(crate) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Vec<ScopedJoinHandle<'s, ()>> {
        vec![
            scope.spawn(|| self.each(RELOAD, &self.reloads, |number| self.site.reload(number))),
            scope.spawn(|| self.each(FAULT, &self.faults, |number| self.upstream.set(conduct(number)))),
            scope.spawn(|| self.each(LOOK, &self.looks, |_| self.look())),
            scope.spawn(|| self.each(WISH, &AtomicUsize::default(), |number| self.wish(number))),
        ]
    }

    /// How often it happened, and what.
    pub(crate) fn happened(&self) -> [(&'static str, usize); 3] {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        [
            ("reloads", count(&self.reloads)),
            ("changes of the upstream's conduct", count(&self.faults)),
            ("looks at all pages", count(&self.looks)),
        ]
    }

    /// Queries asked besides the traffic, each with a reply.
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

    /// Allows a name for a while, which then is not denied; takes every second one back, which then is.
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

/// Every second time well, and in between one fault after the other.
fn conduct(number: usize) -> Conduct {
    let faults = &Conduct::ALL[1..];
    if number.is_multiple_of(2) { Conduct::Sound } else { faults[number / 2 % faults.len()] }
}
