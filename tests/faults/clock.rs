//! Tests that setting the system clock does not affect running namegate's durations.
//!
//! Debian's faketime, loaded with `LD_PRELOAD`, changes the time of day that namegate sees, but not its steady clock.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::support::gate::Reload;
use crate::support::http::Http;
use crate::support::{Gate, Response, Script, ScriptedUpstream, eventually};

/// Steps of the time of day in faketime's syntax, and in seconds.
const STEPS: [(&str, f64); 6] = [
    ("+86400", 86400.0),
    ("+0", 0.0),
    ("-86400", -86400.0),
    ("+3600", 3600.0),
    ("-3600", -3600.0),
    ("+0", 0.0),
];

/// Path of the library.
fn library() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let places = directories.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|place| place.exists()).expect("Debian's libfaketime is installed")
}

/// Files for namegate's clock, state and token.
struct Room(TempDir);

impl Room {
    fn new() -> Self {
        let room = Self(TempDir::new().expect("a temporary directory"));
        write_token(&room.0.path().join("token"), TOKEN, 0o600);
        room.step("+0");
        room
    }

    /// Sets the time of day, as an offset from the true one.
    fn step(&self, offset: &str) {
        // Replaced atomically, so that no partial file is read.
        let fresh = self.0.path().join("clock.new");
        fs::write(&fresh, offset).expect("a file can be written");
        fs::rename(&fresh, self.0.path().join("clock")).expect("a file can be replaced");
    }

    fn start(&self, upstream: &ScriptedUpstream, settings: &str) -> Gate {
        let place = self.0.path().display();
        let variables = [
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={place}/clock"),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        let launcher: Vec<&str> = ["env"].into_iter().chain(variables.iter().map(String::as_str)).collect();
        let settings = format!(
            "admin.token_file = \"{place}/token\"\nserver.state_directory = \"{place}/state\"\n{settings}"
        );
        Gate::launched_by(&launcher, &[upstream.address()], &settings, &[])
    }
}

fn allow(gate: &Gate, name: &str, duration: &str) {
    let body = format!("{{\"name\": \"{name}\", \"for\": \"{duration}\", \"reason\": \"a test\"}}");
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", &body);
    assert_eq!(reply.status, 201, "{reply:?}");
}

fn is_allowed(gate: &Gate, name: &str) -> bool {
    gate.ask(name, "A").rcode() != "NXDOMAIN"
}

/// The time of day that namegate sees, in seconds from the true one.
fn offset(gate: &Gate) -> f64 {
    assert_eq!(gate.reload(), Reload::Success);
    let loaded = gate.metrics().sum("namegate_policy_last_reload_timestamp_seconds", &[]);
    loaded - std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64()
}

fn expect_offset(gate: &Gate, wanted: f64) {
    let offset = offset(gate);
    assert!((offset - wanted).abs() < 5.0, "namegate's time of day is {offset} s off, not {wanted}");
}

#[test]
#[ignore = "needs libfaketime (Debian package faketime); .ci/run installs it"]
fn answers_live_as_long_as_they_should_whatever_the_time_of_day() {
    let (upstream, room) = (ScriptedUpstream::start(), Room::new());
    let gate = room.start(&upstream, "cache.prefetch = false");
    for (round, (step, wanted)) in STEPS.into_iter().enumerate() {
        let (long, short) = (format!("long{round}.allowed.example"), format!("short{round}.allowed.example"));
        let answer = |name: &str, ttl: u32| Response::answering(&[&format!("{name} {ttl} A 192.0.2.1")]);
        upstream.on(&long, Script::reply(answer(&long, 300)));
        upstream.on(&short, Script::reply(answer(&short, 2)));
        let asked = Instant::now();
        gate.ask(&long, "A");
        gate.ask(&short, "A");
        room.step(step);
        expect_offset(&gate, wanted);
        let ttl = gate.ask(&long, "A").answers[0].ttl;
        assert!((285..=300).contains(&ttl), "{step}: {ttl} s left of 300");
        assert_eq!(upstream.count(&long), 1, "{step}: it is still cached");
        sleep(Duration::from_millis(2100).saturating_sub(asked.elapsed()));
        gate.ask(&short, "A");
        assert_eq!(upstream.count(&short), 2, "{step}: the entry has expired");
    }
}

#[test]
#[ignore = "needs libfaketime (Debian package faketime); .ci/run installs it"]
fn stale_answers_have_their_window_whatever_the_time_of_day() {
    let (upstream, room) = (ScriptedUpstream::start(), Room::new());
    let gate = room.start(&upstream, "cache.serve_stale = true\ncache.max_stale = \"3s\"");
    for (round, (step, wanted)) in STEPS.into_iter().take(4).enumerate() {
        let name = format!("n{round}.allowed.example");
        let first = Response::answering(&[&format!("{name} 1 A 192.0.2.1")]);
        upstream.on_each(&name, vec![Script::reply(first), Script::reply(Response::failing("SERVFAIL"))]);
        let asked = Instant::now();
        gate.ask(&name, "A");
        room.step(step);
        expect_offset(&gate, wanted);
        sleep(Duration::from_millis(1500).saturating_sub(asked.elapsed()));
        let reply = gate.ask(&name, "A");
        assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("NOERROR", vec![3]), "{step}: {reply:?}");
        sleep(Duration::from_millis(4300).saturating_sub(asked.elapsed()));
        assert_eq!(gate.ask(&name, "A").rcode(), "SERVFAIL", "{step}: after the window");
    }
}

#[test]
#[ignore = "needs libfaketime (Debian package faketime); .ci/run installs it"]
fn grant_expires_by_the_earlier_of_two_clocks() {
    let (upstream, room) = (ScriptedUpstream::start(), Room::new());
    let gate = room.start(&upstream, "");
    let mut offset_before = 0.0;
    for (round, (step, wanted)) in STEPS.into_iter().enumerate() {
        let hour = format!("hour{round}.example");
        allow(&gate, &hour, "1h");
        let brief = format!("brief{round}.example");
        allow(&gate, &brief, "3s");
        let given = Instant::now();
        room.step(step);
        expect_offset(&gate, wanted);
        // A clock set forward ends it, as does suspend; a clock set back changes nothing.
        let is_forward = wanted > std::mem::replace(&mut offset_before, wanted);
        if is_forward {
            eventually("the expiry of both", || {
                (!is_allowed(&gate, &hour) && !is_allowed(&gate, &brief)).then_some(())
            });
            continue;
        }
        assert!(is_allowed(&gate, &hour), "{step}: its hour has not passed");
        let is_brief_allowed = is_allowed(&gate, &brief);
        let after = given.elapsed();
        assert!(after < Duration::from_millis(2800), "{step}: queried after {after:?}, too late to judge");
        assert!(is_brief_allowed, "{step}: its three seconds have not passed after {after:?}");
        sleep(Duration::from_millis(3100).saturating_sub(given.elapsed()));
        assert!(!is_allowed(&gate, &brief), "{step}: its three seconds have passed");
    }
}

#[test]
#[ignore = "needs libfaketime (Debian package faketime); .ci/run installs it"]
fn clock_set_back_before_restart_extends_no_grant() {
    let (upstream, room) = (ScriptedUpstream::start(), Room::new());
    room.step("+86400");
    let gate = room.start(&upstream, "");
    expect_offset(&gate, 86400.0);
    allow(&gate, "brief.example", "3s");
    allow(&gate, "hour.example", "1h");
    drop(gate);
    // A clock that is a day early: what is left is the whole granted duration, and no more.
    room.step("+0");
    let gate = room.start(&upstream, "");
    assert!(is_allowed(&gate, "hour.example"));
    sleep(Duration::from_millis(3100));
    assert!(!is_allowed(&gate, "brief.example"), "three seconds became a day");
    drop(gate);
    // A clock that is a day late: it may have expired, so it has.
    room.step("+172800");
    let gate = room.start(&upstream, "");
    assert!(!is_allowed(&gate, "hour.example"));
}

#[test]
#[ignore = "needs libfaketime (Debian package faketime); .ci/run installs it"]
fn the_budget_is_the_same_whatever_the_time_of_day() {
    let (upstream, room) = (ScriptedUpstream::start(), Room::new());
    let gate = room.start(&upstream, "upstream.max_qps = 20");
    for (round, (step, _)) in STEPS.into_iter().enumerate() {
        room.step(step);
        let start = Instant::now();
        for number in 0..20 {
            assert_eq!(
                gate.ask(&format!("n{number}-{round}.allowed.example"), "A").rcode(),
                "NOERROR",
                "{step}"
            );
        }
        let took = start.elapsed().as_millis();
        // A burst of two, then one every 50 ms.
        assert!((700..6000).contains(&took), "{step}: 20 queries at 20 a second took {took} ms");
    }
    eventually("all queries counted", || {
        let (queries, outcomes) = gate.metrics().accounting();
        (queries == outcomes).then_some(())
    });
}
