//! Tests `namegate reload`, and commands for several resolvers at once.

use std::thread;

use crate::admin::token::{TOKEN, gate_with_token};
use crate::policy::allow::run;
use crate::support::command::namegate;
use crate::support::free_address;
use crate::support::gate::Reload;
use crate::support::http::Http;

#[test]
fn reload_prints_the_new_policy() {
    let (_upstream, directory, gate) = gate_with_token();
    let token = format!("admin.token_file = \"{}/token\"\n", directory.path().display());
    gate.write_settings(&(token.clone() + "policy.allow = [\"new.example\", \"b.example\"]"));
    let said = run(&gate, &["reload"]).expect_code(0).stdout;
    assert!(said.starts_with("Reloaded: 2 rules from settings (2); enforced; policy "), "{said}");
    assert_eq!(gate.ask("new.example", "A").rcode(), "NOERROR");
    let hash = said.trim_end().rsplit(' ').next().expect("a hash").to_owned();
    let http = Http::to(gate.admin()).token(TOKEN);
    let reply = http.send("POST", "/api/v1/reload", "").value();
    assert_eq!((&reply["succeeded"], &reply["policy"]), (&true.into(), &hash.as_str().into()));

    gate.write_settings(&(token + "policy.allow = [\"*broken\"]"));
    let failed = run(&gate, &["reload", "--token-file", &format!("{}/token", directory.path().display())]);
    // The command reads no settings but the token's file.
    failed.expect_code(1).expect_stderr(&[
        "reload failed; the previous policy stays active",
        "*broken",
        "namegate.toml:",
    ]);
    let reply = http.send("POST", "/api/v1/reload", "").value();
    assert_eq!((&reply["succeeded"], &reply["policy"]), (&false.into(), &hash.as_str().into()));
    assert_eq!(gate.ask("new.example", "A").rcode(), "NOERROR");
}

#[test]
fn everyone_who_waits_for_a_reload_is_told() {
    let (_upstream, _directory, gate) = gate_with_token();
    let replies: Vec<_> = (0..20)
        .map(|_| {
            let http = Http::to(gate.admin()).token(TOKEN);
            thread::spawn(move || http.send("POST", "/api/v1/reload", ""))
        })
        .collect();
    for reply in replies {
        let reply = reply.join().expect("a reply");
        assert_eq!((reply.status, &reply.value()["succeeded"]), (200, &true.into()), "{reply:?}");
    }
    let reloads = gate.metrics().sum("namegate_policy_reloads_total", &[("result", "success")]);
    assert!((1.0..=20.0).contains(&reloads), "{reloads}");
}

#[test]
fn reload_needs_the_token() {
    let (_upstream, _directory, gate) = gate_with_token();
    Http::to(gate.admin()).send("POST", "/api/v1/reload", "").expect_error(401, &["missing or wrong"]);
    assert_eq!(gate.metrics().sum("namegate_policy_reloads_total", &[]), 0.0);
}

#[test]
fn one_command_reaches_several_resolvers() {
    let ((_upstream, directory, gate), (_other_upstream, _other_directory, other)) =
        (gate_with_token(), gate_with_token());
    let [first, second, gone] =
        [gate.admin(), other.admin(), free_address()].map(|address| address.to_string());
    let command = |arguments: &[&str]| {
        let token = directory.path().join("token").display().to_string();
        namegate(
            directory.path(),
            &[arguments, &["--token-file", &token, "--admin", &first, "--admin", &second]].concat(),
        )
    };
    let allow = ["allow", "wanted.example", "--for", "1h", "--reason", "a test"];
    let run = command(&allow).expect_code(0);
    for address in [&first, &second] {
        assert!(run.stdout.contains(&format!("http://{address}: Granted: wanted.example until ")), "{run:?}");
    }
    assert_eq!([&gate, &other].map(|gate| gate.ask("wanted.example", "A").rcode()), ["NOERROR", "NOERROR"]);
    let run = command(&["reload"]).expect_code(0);
    assert_eq!(run.stdout.matches(": Reloaded: 1 rule from settings (1)").count(), 2, "{run:?}");
    let same = ["fleet", "--token-file", "token", "--admin", &first, "--admin", &first];
    let run = namegate(directory.path(), &same).expect_code(0);
    let rows: Vec<Vec<&str>> = run.stdout.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{run:?}");
    assert_eq!(rows[0][..5], ["resolver", "version", "policy", "mode", "grants"]);
    for row in &rows[1..] {
        assert_eq!((row[0], row[3], row[4], &row[5..7]), (&*first, "enforce", "1", &["1/1", "up"][..]));
    }
    // They forward to different upstreams.
    command(&["fleet"]).expect_code(1).expect_stderr(&["different: policy\n"]);
    let run = command(&["allow", "wanted.example", "--revoke", "--admin", &gone]).expect_code(2);
    assert_eq!(run.stdout.matches(": Revoked: wanted.example\n").count(), 2, "{run:?}");
    let run = run.expect_stderr(&["error: no answer from ", "Connection refused"]);
    assert!(run.stderr.starts_with(&format!("http://{gone}: ")), "{run:?}");
    let run = command(&["allow", "wanted.example", "--revoke"]).expect_code(1);
    assert_eq!(run.stderr.matches("request rejected (HTTP 404)").count(), 2, "{run:?}");
    gate.write_settings("policy.allow = [\"other.example\"]\npolicy.mode = \"observe\"");
    assert_eq!(gate.reload(), Reload::Success);
    let run = command(&["fleet"]).expect_code(1).expect_stderr(&["different: policy, mode\n"]);
    assert!(run.stdout.contains("  observe  "), "{run:?}");
    let run = command(&["fleet", "--admin", &gone])
        .expect_code(1)
        .expect_stderr(&["no answer from", "different: "]);
    assert_eq!(run.stdout.lines().count(), 3, "{run:?}");
    let run = namegate(directory.path(), &["top", "--admin", &first, "--admin", &second]).expect_code(2);
    run.expect_stderr(&["--admin", "cannot be used multiple times"]);
}
