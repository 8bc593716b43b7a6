//! Tests `namegate init`: a settings file for a workspace that `check` accepts and that allows what the workspace needs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::command::{Finished, binary, namegate};

fn dependencies() -> String {
    format!("{}/tests/data/azure/dependencies.json", env!("CARGO_MANIFEST_DIR"))
}

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn init(directory: &Path, arguments: &[&str]) -> Finished {
    namegate(directory, &[&["init", "--listen", "10.0.0.4", "-o", "namegate.toml"], arguments].concat())
}

fn written(directory: &Path) -> String {
    fs::read_to_string(directory.join("namegate.toml")).expect("a file was written")
}

fn check(directory: &Path) -> Finished {
    namegate(directory, &["check", "--files-only", "--config", "namegate.toml"])
}

fn explain(directory: &Path, name: &str) -> Finished {
    namegate(directory, &["explain", name, "--config", "namegate.toml", "--mode", "enforce"])
}

/// The response of `outboundNetworkDependenciesEndpoints` with these hosts.
fn needs(hosts: &str) -> String {
    let host =
        |host: &str| format!("{{ \"domainName\": \"{host}\", \"endpointDetails\": [{{ \"port\": 443 }}] }}");
    let hosts: Vec<String> = hosts.split_whitespace().map(host).collect();
    format!(
        "{{ \"value\": [{{ \"properties\": {{ \"category\": \"Azure\", \"endpoints\": [{}] }} }}] }}",
        hosts.join(", ")
    )
}

#[test]
fn settings_for_a_workspace_pass_check_and_allow_what_it_needs() {
    let directory = directory();
    let run = init(directory.path(), &["--from", &dependencies()]).expect_code(0);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.starts_with("allowlists azure-ml, "), "{}", run.stderr);
    assert!(run.stderr.contains("; parameters region westeurope, storage contosomldata\n"), "{}", run.stderr);
    let text = written(directory.path());
    for part in [
        "\nlisten = [\"10.0.0.4:53\"]\n",
        "\nservers = [\"168.63.129.16\"]\n",
        "\nmode = \"observe\"\n",
        "\n    \"azure-ml\",           # Azure Machine Learning\n",
        "\n    # \"docker-hub\",         # ",
        "\nstrict = false\n",
        "\nstorage = [\"contosomldata\"]  # for {storage}.blob.core.windows.net and ",
        "\n# acr = [\"…\"]  # for {acr}.azurecr.io",
        "\nlisten = \"127.0.0.1:9153\"\n",
        "\nmust_resolve = [\"login.microsoftonline.com\", \"management.azure.com\", \"ml.azure.com\"]\n",
        "# 1. Check:    namegate check --config namegate.toml\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let checked = check(directory.path()).expect_code(0);
    assert!(checked.stdout.contains("; observe mode: "), "{}", checked.stdout);
    for name in
        ["ml.azure.com", "x.azureml.ms", "contosomldata.file.core.windows.net", "x.blob.core.windows.net"]
    {
        explain(directory.path(), name).expect_code(0);
    }
    let diff = ["diff", &dependencies(), "--config", "namegate.toml", "--needed-only"];
    assert_eq!(namegate(directory.path(), &diff).expect_code(0).stdout, "no difference\n");
}

#[test]
fn what_no_allowlist_has_is_allowed_by_name_and_wildcards_are_not() {
    let directory = directory();
    let hosts = "ml.azure.com packages.corp.example *.mirror.corp.example .stem.example";
    fs::write(directory.path().join("needs.json"), needs(hosts)).expect("a file can be written");
    let run = init(directory.path(), &["--from", "needs.json"]).expect_code(0);
    run.expect_stderr(&[
        "; 1 name in policy.allow\n",
        "warning: *.mirror.corp.example is needed, but not allowed: it also allows names of other tenants\n  help: ",
        "warning: .stem.example is needed, but not allowed",
    ]);
    let text = written(directory.path());
    for part in [
        "    \"packages.corp.example\",  # Azure\n",
        "    # \"*.mirror.corp.example\",  # Azure\n",
        "    # \".stem.example\",  # Azure\n",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    check(directory.path()).expect_code(0);
    for (name, code) in [("packages.corp.example", 0), ("a.mirror.corp.example", 1), ("stem.example", 1)] {
        explain(directory.path(), name).expect_code(code);
    }
}

#[test]
fn dangerous_names_are_only_comments() {
    let directory = directory();
    let hosts = "ml.azure.com dns.google x.ngrok.io co.uk stranger.s3.amazonaws.com packages.corp.example";
    fs::write(directory.path().join("needs.json"), needs(hosts)).expect("a file can be written");
    let run = init(directory.path(), &["--from", "needs.json"]).expect_code(0);
    run.expect_stderr(&[
        "; 1 name in policy.allow\n",
        "warning: dns.google is needed, but not allowed: it is a public resolver",
        "warning: x.ngrok.io is needed, but not allowed: it is part of a service that can carry any traffic",
        "warning: co.uk is needed, but not allowed: it is a public suffix",
        "warning: stranger.s3.amazonaws.com is needed, but not allowed: it is below amazonaws.com",
    ]);
    let text = written(directory.path());
    for part in ["    \"packages.corp.example\",  # Azure\n", "    # \"dns.google\",  # Azure\n"] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    check(directory.path()).expect_code(0);
    for name in ["dns.google", "x.ngrok.io", "co.uk", "stranger.s3.amazonaws.com"] {
        explain(directory.path(), name).expect_code(1);
    }
}

#[test]
fn options_say_what_the_workspace_needs() {
    for (cloud, allowlist, host) in [
        ("public", "azure-ml", "contosoacr.azurecr.io"),
        ("government", "azure-government", "contosoacr.azurecr.us"),
        ("china", "azure-china", "contosoacr.azurecr.cn"),
    ] {
        let directory = directory();
        let options =
            ["--cloud", cloud, "--strict", "--region", "westeurope,northeurope", "--storage", "contoso"];
        let more = ["--acr", "contosoacr", "--key-vault", "contosovault"];
        init(directory.path(), &[&options[..], &more].concat()).expect_code(0);
        let checked = check(directory.path()).expect_code(0);
        assert!(checked.stdout.contains(&format!("{allowlist} (")), "{cloud}: {}", checked.stdout);
        let mut unset = checked.stdout.lines().filter_map(|line| line.split_once("set [parameters] "));
        let is_given =
            |name: &str| ["region", "storage", "acr", "key_vault"].iter().any(|given| name.ends_with(given));
        assert!(
            !unset.any(|(_, names)| names.split([',', ' ', ')']).any(is_given)),
            "{cloud}: {}",
            checked.stdout
        );
        explain(directory.path(), host).expect_code(0);
        explain(directory.path(), &host.replace("contoso", "stranger")).expect_code(1);
    }
}

#[test]
fn standard_input_and_output_are_files_too() {
    let directory = directory();
    let mut child = Command::new(binary())
        .args(["init", "--from", "-", "--listen", "127.0.0.1"])
        .current_dir(directory.path())
        .stdin(fs::File::open(dependencies()).expect("the sample"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut text).expect("text");
    assert!(child.wait().expect("it ends").success());
    assert!(text.contains("from standard input (8 needed hosts)."), "{text}");
    assert!(text.contains("namegate check --config /etc/namegate/namegate.toml\n"), "{text}");
    fs::write(directory.path().join("namegate.toml"), text).expect("a file can be written");
    check(directory.path()).expect_code(0);
}

#[test]
fn a_file_that_exists_is_only_replaced_with_force() {
    let directory = directory();
    let file = directory.path().join("namegate.toml");
    fs::write(&file, "# mine\n").expect("a file can be written");
    let run = init(directory.path(), &["--region", "westeurope"]).expect_code(1);
    run.expect_stderr(&["error: namegate.toml: already exists\n  help: pass --force"]);
    assert_eq!(written(directory.path()), "# mine\n");
    fs::remove_file(&file).expect("it can be removed");
    std::os::unix::fs::symlink("nowhere.toml", &file).expect("a link");
    init(directory.path(), &["--region", "westeurope"]).expect_code(1).expect_stderr(&["already exists"]);
    fs::remove_file(&file).expect("it can be removed");
    fs::write(&file, "# mine\n").expect("a file can be written");
    init(directory.path(), &["--region", "westeurope", "--force"]).expect_code(0);
    assert!(written(directory.path()).contains("region = [\"westeurope\"]"));
    let nowhere = ["init", "--region", "westeurope", "-o", "nowhere/namegate.toml"];
    namegate(directory.path(), &nowhere)
        .expect_code(1)
        .expect_stderr(&["error: nowhere/namegate.toml: cannot write"]);
}

#[test]
fn bad_input_is_refused_and_nothing_is_written() {
    let directory = directory();
    for (file, text) in [
        ("half.json", &needs("ml.azure.com")[..60]),
        ("shape.json", "{ \"value\": [{ \"name\": \"x\" }] }"),
        ("page.json", "{ \"value\": [], \"nextLink\": \"https://x\" }"),
        ("url.json", &needs("https://ml.azure.com/")),
        ("all.json", &needs("*")),
    ] {
        fs::write(directory.path().join(file), text).expect("a file can be written");
    }
    fs::write(directory.path().join("utf16.json"), b"{\0}\0").expect("a file can be written");
    for (case, arguments, texts) in [
        ("half a file", &["--from", "half.json"][..], &["half.json:1:", "ends too early"][..]),
        ("another shape", &["--from", "shape.json"], &["shape.json", "help: "]),
        ("one page of several", &["--from", "page.json"], &["the list continues on another page"]),
        (
            "a URL",
            &["--from", "url.json"],
            &["value[0].properties.endpoints[0].domainName", "https://ml.azure.com/"],
        ),
        ("every name", &["--from", "all.json"], &["`*`"]),
        ("another encoding", &["--from", "utf16.json"], &["UTF-8"]),
        ("no file", &["--from", "missing.json"], &["missing.json"]),
        ("an unknown cloud", &["--cloud", "mars"], &["mars", "government"]),
        (
            "a display name",
            &["--region", "West Europe"],
            &["error: --region `West Europe`: invalid character", "help: "],
        ),
        ("a host name", &["--storage", "a.blob.core.windows.net"], &["write only the name: `--storage a`"]),
        ("an address", &["--region", "westeurope", "--listen", "nowhere"], &["nowhere"]),
        ("nothing, without a terminal", &[], &["error: no workspace given", "help: pass --from FILE"]),
        ("only an address", &["--listen", "10.0.0.5"], &["error: no workspace given"]),
    ] {
        let run = init(directory.path(), arguments);
        assert_eq!(run.code, 2, "{case}: {run:?}");
        assert_eq!(run.stdout, "", "{case}");
        run.expect_stderr(texts);
        assert!(!directory.path().join("namegate.toml").exists(), "{case}");
    }
}
