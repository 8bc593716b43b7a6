//! Tests Dockerfile and docker-compose.yml, as far as possible without a container engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::command::namegate;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of a file without comments, trimmed.
fn lines(file: &str) -> Vec<String> {
    let text = read(file).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// True for `NAME:TAG` with at least two dots in the tag: a release, not a moving name.
fn is_pinned(image: &str) -> bool {
    image.rsplit_once(':').is_some_and(|(_, tag)| tag.matches('.').count() >= 2 && !tag.contains('/'))
}

#[test]
fn every_image_is_pinned() {
    let compose = lines("docker-compose.yml");
    let images = compose.iter().filter_map(|line| line.strip_prefix("image: "));
    let bases = lines("Dockerfile");
    let bases = bases.iter().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let all: Vec<&str> = images.chain(bases).filter(|image| *image != "scratch").collect();
    assert!(all.len() >= 4, "{all:?}");
    for image in all {
        assert!(is_pinned(image), "{image}");
    }
    let own = format!("image: namegate:{}", env!("CARGO_PKG_VERSION"));
    assert!(compose.contains(&own), "docker-compose.yml lacks `{own}`");
    let label = concat!("org.opencontainers.image.version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(read("Dockerfile").contains(label), "Dockerfile lacks `{label}`");
}

#[test]
fn the_image_is_built_with_a_toolchain_that_can() {
    let version = |text: &str| -> Vec<u32> { text.split('.').map_while(|part| part.parse().ok()).collect() };
    let dockerfile = lines("Dockerfile");
    let rust = dockerfile.iter().find_map(|line| line.strip_prefix("FROM rust:")).expect("a Rust image");
    let rust = rust.split('-').next().expect("a version");
    assert!(version(rust) >= version(env!("CARGO_PKG_RUST_VERSION")), "{rust}");
}

#[test]
fn everything_mounted_is_there() {
    let compose = lines("docker-compose.yml");
    let mounts = compose.iter().filter_map(|line| line.strip_prefix("- ./")?.split(':').next());
    let mounts: Vec<&str> = mounts.collect();
    assert!(mounts.len() >= 4, "{mounts:?}");
    for mount in mounts {
        let directory = root().join(mount);
        let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{mount}: {error}"));
        assert!(files.count() > 0, "{mount} is empty");
    }
    assert!(root().join("config/grafana/dashboards/namegate.json").is_file());
    assert!(read("config/prometheus/prometheus.yml").contains("namegate:9153"));
}

#[test]
fn ports_are_published_on_loopback_alone() {
    let compose = lines("docker-compose.yml");
    let ports = compose.iter().filter(|line| line.ends_with("/udp\"") || line.ends_with("/tcp\""));
    let ports: Vec<&String> = ports.collect();
    assert!(ports.len() >= 5, "{ports:?}");
    for port in ports {
        assert!(port.starts_with("- \"127.0.0.1:"), "{port}");
    }
}

/// The sources of the Dockerfile's COPY lines that are in the tree.
fn copied() -> Vec<String> {
    let lines = lines("Dockerfile");
    let copies = lines.iter().filter_map(|line| line.strip_prefix("COPY "));
    let from_tree = copies.filter(|arguments| !arguments.starts_with("--from="));
    let sources = from_tree.flat_map(|arguments| {
        let paths: Vec<&str> = arguments.split_whitespace().collect();
        paths[..paths.len() - 1].iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()
    });
    sources.collect()
}

#[test]
fn everything_copied_is_there_and_not_ignored() {
    let ignore = lines(".dockerignore");
    let sources = copied();
    assert!(sources.len() >= 5, "{sources:?}");
    for source in sources {
        let plain = source.trim_end_matches("/*.toml");
        assert!(root().join(plain).exists(), "{source}");
        let admitted = |line: &String| line.strip_prefix('!').is_some_and(|path| source.starts_with(path));
        assert!(ignore.iter().any(admitted), ".dockerignore keeps {source} out");
    }
}

#[test]
fn everything_built_in_is_copied() {
    let sources = copied();
    let copied = |path: &Path| {
        let path =
            path.strip_prefix(root()).expect("a path below the root").to_str().expect("UTF-8").to_owned();
        sources.iter().any(|source| match source.strip_suffix("/*.toml") {
            Some(directory) => {
                path.strip_prefix(directory).is_some_and(|rest| rest.matches('/').count() == 1)
            }
            None => path.starts_with(source.as_str()),
        })
    };
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in
            fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                directories.push(entry);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap_or_default();
            for part in text.split("include_str!(").chain(text.split("include_bytes!(")).skip(1) {
                let Some(file) = part.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                let Ok(file) = directory.join(file).canonicalize() else { continue };
                assert!(copied(&file), "{} is built in, and the Dockerfile does not copy it", file.display());
            }
        }
    }
}

#[test]
fn the_containers_settings_are_good() {
    for entry in fs::read_dir(root().join("config/compose")).expect("settings for containers") {
        let path = entry.expect("an entry").path();
        let path = path.to_str().expect("UTF-8");
        for servers in ["127.0.0.1:5300", "127.0.0.11"] {
            // A first run has broad rules and unnamed resources.
            let arguments = [
                "check",
                "--files-only",
                "--config",
                path,
                "--upstream",
                servers,
                "--allow",
                "broad,inactive,legacy",
            ];
            let run = namegate(&root(), &arguments).expect_code(0);
            assert!(run.stdout.ends_with("ok\n") && run.stderr.is_empty(), "{}{}", run.stdout, run.stderr);
        }
    }
}

/// A value in the environment would take precedence over the mounted file.
#[test]
fn compose_sets_no_setting_by_default() {
    let compose = lines("docker-compose.yml");
    let variables = compose.iter().filter(|line| line.starts_with("NAMEGATE_"));
    let set: Vec<&String> = variables.filter(|line| !line.ends_with(":-}\"")).collect();
    assert_eq!(set, ["NAMEGATE_UPSTREAM: \"127.0.0.1:5300\""], "only the demo has its own upstream");
}

#[test]
fn a_profile_is_the_default() {
    assert!(lines(".env").contains(&"COMPOSE_PROFILES=gate".to_owned()));
    let compose = read("docker-compose.yml");
    assert!(compose.contains("profiles: [gate]") && compose.contains("profiles: [demo]"));
}

#[test]
#[ignore = "needs docker-compose"]
fn compose_accepts_the_file() {
    for profile in [&[][..], &["--profile", "gate"], &["--profile", "demo"]] {
        let output = Command::new("docker-compose")
            .args(profile)
            .args(["config", "--quiet"])
            .current_dir(root())
            .output()
            .expect("docker-compose runs");
        assert!(output.status.success(), "{profile:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
