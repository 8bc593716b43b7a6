//! Tests the state directory: its content is used only if no other user can have written it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::support::command::namegate;
use crate::support::http::Http;
use crate::support::settings::write_settings;
use crate::support::{Gate, ScriptedUpstream};

const WISH: &str = r#"{"name": "wanted.example", "for": "1h", "reason": "a test"}"#;

/// A directory with settings, a token and a state directory filled by namegate.
struct Stand {
    upstream: ScriptedUpstream,
    directory: TempDir,
}

impl Stand {
    fn new() -> Self {
        let stand = Self { upstream: ScriptedUpstream::start(), directory: TempDir::new().unwrap() };
        write_token(&stand.at("token"), TOKEN, 0o600);
        stand
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn settings(&self) -> String {
        let place = self.directory.path().display();
        format!("admin.token_file = \"{place}/token\"\nserver.state_directory = \"{place}/state\"")
    }

    fn gate(&self) -> Gate {
        Gate::start(&self.upstream, &self.settings())
    }

    /// The errors of `check` and `serve` when they must refuse.
    fn refusals(&self) -> [String; 2] {
        let path = write_settings(self.directory.path(), &[self.upstream.address()], &self.settings());
        ["check", "serve"].map(|command| {
            let arguments = [command, "--config", path.to_str().unwrap()];
            namegate(self.directory.path(), &arguments).expect_code(1).stderr
        })
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn grant(name: &str, since: SystemTime, until: SystemTime) -> String {
    let [since, until] = [since, until].map(humantime::format_rfc3339_seconds);
    format!(
        "{{\"version\":1,\"allowed\":[{{\"pattern\":\"{name}\",\"reason\":\"r\",\"author\":\"a\",\"since\":\"{since}\",\
         \"until\":\"{until}\"}}]}}"
    )
}

#[test]
fn what_a_gate_keeps_is_closed_to_others() {
    let stand = Stand::new();
    fs::create_dir(stand.at("state")).unwrap();
    // As an older version created it.
    fs::write(stand.at("state/audit.log"), "").unwrap();
    set_mode(&stand.at("state/audit.log"), 0o644);
    let gate = stand.gate();
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", WISH);
    assert_eq!(reply.status, 201, "{reply:?}");
    for file in ["state/allowed.json", "state/audit.log"] {
        assert_eq!(mode(&stand.at(file)) & !0o640, 0, "{file}: {:o}", mode(&stand.at(file)));
    }
}

#[test]
fn links_and_what_others_can_change_are_refused() {
    type Spoil = fn(&Stand);
    let cases: [(&str, Spoil, &str, &str); 6] = [
        (
            "a link",
            |stand| symlink(stand.at("elsewhere"), stand.at("state/allowed.json")).unwrap(),
            "it is a symbolic link",
            "move ",
        ),
        (
            "a dangling link",
            |stand| symlink("/nowhere/audit.log", stand.at("state/audit.log")).unwrap(),
            "it is a symbolic link",
            "move ",
        ),
        (
            "a directory",
            |stand| fs::create_dir(stand.at("state/allowed.json")).unwrap(),
            "it is not a file",
            "move ",
        ),
        (
            "an open file",
            |stand| set_mode(&stand.at("state/open"), 0o666),
            "other users can write to it",
            "chmod o-w",
        ),
        (
            "an open directory",
            |stand| set_mode(&stand.at("state"), 0o777),
            "other users can write to it",
            "chmod o-w",
        ),
        (
            "a file instead",
            |stand| {
                fs::remove_dir_all(stand.at("state")).unwrap();
                fs::write(stand.at("state"), "").unwrap();
            },
            "it is not a directory",
            "move ",
        ),
    ];
    for (case, spoil, fault, remedy) in cases {
        let stand = Stand::new();
        fs::create_dir(stand.at("state")).unwrap();
        let planted =
            grant("planted.example", SystemTime::now(), SystemTime::now() + Duration::from_secs(3600));
        fs::write(stand.at("elsewhere"), &planted).unwrap();
        if case == "an open file" {
            fs::write(stand.at("state/open"), &planted).unwrap();
            spoil(&stand);
            fs::rename(stand.at("state/open"), stand.at("state/allowed.json")).unwrap();
        } else {
            spoil(&stand);
        }
        for told in stand.refusals() {
            let place = stand.at("state").display().to_string();
            assert!(told.contains(fault) && told.contains(remedy) && told.contains(&place), "{case}: {told}");
        }
        assert_eq!(fs::read_to_string(stand.at("elsewhere")).unwrap(), planted, "{case}");
    }
}

#[test]
#[ignore = "needs root, to give a file to somebody else; .ci/run"]
fn what_belongs_to_somebody_else_is_refused() {
    for name in ["state", "state/allowed.json", "state/audit.log"] {
        let stand = Stand::new();
        fs::create_dir(stand.at("state")).unwrap();
        if name != "state" {
            fs::write(stand.at(name), "").unwrap();
        }
        chown(stand.at(name), Some(65534), None).expect("root can change the owner");
        for told in stand.refusals() {
            assert!(
                told.contains("user 65534 owns it") && told.contains("help: run `chown 0 "),
                "{name}: {told}"
            );
        }
    }
}

#[test]
fn a_link_to_the_directory_by_root_or_oneself_is_followed() {
    // As with systemd's DynamicUser=: /var/lib/namegate links to /var/lib/private/namegate.
    let stand = Stand::new();
    fs::create_dir_all(stand.at("private/state")).unwrap();
    symlink(stand.at("private/state"), stand.at("state")).unwrap();
    let gate = stand.gate();
    let reply = Http::to(gate.admin()).token(TOKEN).json("POST", "/api/v1/allowed", WISH);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert!(fs::metadata(stand.at("private/state/allowed.json")).unwrap().size() > 0);
}

#[test]
fn max_temporary_holds_for_what_is_restored() {
    let stand = Stand::new();
    fs::create_dir(stand.at("state")).unwrap();
    let now = SystemTime::now();
    let year = Duration::from_secs(365 * 24 * 3600);
    fs::write(stand.at("state/allowed.json"), grant("for-a-year.example", now, now + year)).unwrap();
    set_mode(&stand.at("state/allowed.json"), 0o640);
    let gate = stand.gate();
    let (_, list) = gate.get("/api/v1/allowed");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let until: SystemTime = humantime::parse_rfc3339(list[0]["until"].as_str().unwrap()).unwrap();
    let longest = Duration::from_secs(24 * 3600);
    assert!(until <= now + longest + Duration::from_secs(1), "{list}");
    assert!(gate.stderr.all().iter().any(|line| line.contains("max_temporary")), "{:?}", gate.stderr.all());
    drop(gate);
    // More than a day later it has expired.
    let then = now - longest * 2;
    fs::write(stand.at("state/allowed.json"), grant("for-a-year.example", then, now + year)).unwrap();
    let gate = stand.gate();
    assert_eq!(gate.get("/api/v1/allowed").1, "[]");
    assert_eq!(gate.ask("for-a-year.example", "A").rcode(), "NXDOMAIN");
}
