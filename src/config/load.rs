//! [`load`]: the settings in effect, from a file or the built-in defaults, with command-line overrides applied.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::address::upstream::UpstreamAddress;
use crate::config::settings::Settings;
use crate::config::upstream::UpstreamSettings;
use crate::config::value_sources::{ValueSource, ValueSources, values_of};
use crate::config::{settings, value};
use crate::diagnostics::{Diagnostic, Report, Source, ValueError, read_source};
use crate::policy::Mode;

/// Default path of the settings file.
pub const DEFAULT_PATH: &str = "/etc/namegate/namegate.toml";

/// The settings used if there is no file, with their name in messages.
const EMBEDDED: (&str, &str) =
    ("config/namegate.toml (built in)", include_str!("../../config/namegate.toml"));

/// Settings in effect and where they came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings, overrides applied.
    pub settings: Settings,
    /// The file they were read from, for messages.
    pub origin: String,
    /// Where the values come from that are no defaults.
    pub sources: ValueSources,
    /// The file sets nothing: it has only comments and table headers.
    pub is_unset: bool,
    /// Probable mistakes.
    pub warnings: Report,
}

/// Settings given on the command line or in the environment. Empty ones leave the setting unchanged; the others replace
/// it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// `server.listen`
    pub listen: Vec<SocketAddr>,
    /// `upstream.servers`
    pub upstream: Vec<UpstreamAddress>,
    /// `admin.listen`; the inner `None` turns it off.
    pub admin: Option<Option<SocketAddr>>,
    /// `admin.token_file`
    pub token_file: Option<PathBuf>,
    /// `policy.mode`
    pub mode: Option<Mode>,
    /// `policy.zones`; relative paths start at the working directory.
    pub zones: Vec<String>,
    /// Where those that are set come from, in words, by the path of the setting.
    pub sources: BTreeMap<&'static str, String>,
}

impl Overrides {
    fn apply(&self, settings: &mut Settings) {
        replace(&mut settings.server.listen, &self.listen);
        replace(&mut settings.upstream.servers, &self.upstream);
        replace(&mut settings.policy.zones, &self.zones);
        settings.admin.listen = self.admin.unwrap_or(settings.admin.listen);
        if self.token_file.is_some() {
            settings.admin.token_file.clone_from(&self.token_file);
        }
        settings.policy.mode = self.mode.unwrap_or(settings.policy.mode);
    }
}

fn replace<T: Clone>(setting: &mut Vec<T>, with: &[T]) {
    if !with.is_empty() {
        *setting = with.to_vec();
    }
}

/// The files that a reload reads: the settings, and those that they and their candidate name, whether they exist or not.
/// Of faulty settings, those that can be made out.
pub fn inputs(path: Option<&Path>, overrides: &Overrides) -> Vec<PathBuf> {
    let mut files = vec![path.unwrap_or_else(|| Path::new(DEFAULT_PATH)).to_owned()];
    let Ok(File { source, base, .. }) = read(path, Path::new(DEFAULT_PATH)) else { return files };
    let (mut settings, _) = settings(&source, base);
    overrides.apply(&mut settings);
    files.extend(settings.inputs());
    if let Some(candidate) = settings.policy.shadow {
        if let Ok(File { source, base, .. }) = read(Some(&candidate), &candidate) {
            files.extend(self::settings(&source, base).0.inputs());
        }
        files.push(candidate);
    }
    files
}

/// Loads the settings from `path`, else from [`DEFAULT_PATH`] if that exists, else the built-in defaults.
///
/// Errors: the file cannot be read or has errors; the report has all of them.
pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Loaded, Report> {
    load_or(path, Path::new(DEFAULT_PATH), overrides)
}

/// A settings file.
struct File<'a> {
    source: Source,
    /// Where relative paths in it start.
    base: &'a Path,
    is_built_in: bool,
}

fn read<'a>(path: Option<&'a Path>, default_path: &'a Path) -> Result<File<'a>, Report> {
    // If the existence of the default path cannot be checked, such as for lack of permission, reading it reports the
    // error.
    let path = path.or_else(|| default_path.try_exists().unwrap_or(true).then_some(default_path));
    Ok(match path {
        Some(path) => {
            let base = path.parent().unwrap_or_else(|| Path::new(""));
            File { source: read_source(path)?, base, is_built_in: false }
        }
        None => File { source: Source::new(EMBEDDED.0, EMBEDDED.1), base: Path::new(""), is_built_in: true },
    })
}

fn load_or(path: Option<&Path>, default_path: &Path, overrides: &Overrides) -> Result<Loaded, Report> {
    let File { source, base, is_built_in } = read(path, default_path)?;
    let (mut settings, diagnostics) = settings(&source, base);
    overrides.apply(&mut settings);
    let mut sources = if is_built_in { ValueSources::new() } else { values_of(&source) };
    for (setting, what) in &overrides.sources {
        sources.insert((*setting).to_owned(), ValueSource::Outside(what.clone()));
    }
    let origin = source.file().to_owned();
    let is_unset = source.is_unset();
    let mut warnings = Report::new(source, diagnostics);
    refuse_loops(&settings).into_iter().for_each(|loop_| warnings.push(loop_));
    refuse_unknown_places(&settings, overrides).into_iter().for_each(|unknown| warnings.push(unknown));
    refuse_shared_port(&settings).into_iter().for_each(|shared| warnings.push(shared));
    refuse_no_roots(&settings).into_iter().for_each(|nobody| warnings.push(nobody));
    doubt_certificates(&settings).into_iter().for_each(|doubt| warnings.push(doubt));
    if warnings.has_errors() {
        Err(warnings)
    } else {
        Ok(Loaded { settings, origin, sources, is_unset, warnings })
    }
}

/// Errors for upstreams that are this server itself: its queries would loop until the deadline.
fn refuse_loops(settings: &Settings) -> Vec<Diagnostic> {
    let is_own = |upstream: SocketAddr| {
        settings.server.listen.iter().any(|listen| {
            let every = listen.ip().is_unspecified() && upstream.ip().is_loopback();
            listen.port() == upstream.port() && (every || listen.ip() == upstream.ip())
        })
    };
    let UpstreamSettings { servers, bootstrap, .. } = &settings.upstream;
    let routed = settings.route.iter().flat_map(|route| &route.servers);
    let servers = servers.iter().chain(routed);
    let addresses = servers.filter_map(UpstreamAddress::socket).chain(bootstrap.iter().copied());
    let error = |address: SocketAddr| {
        Diagnostic::error(
            "",
            format!("upstream {address} is this resolver itself, listed in `server.listen`"),
        )
        .with_help("use the address of another resolver".to_owned())
    };
    addresses.filter(|address| is_own(*address)).map(error).collect()
}

/// The error for an admin listener at an address where queries are answered over TCP.
fn refuse_shared_port(settings: &Settings) -> Option<Diagnostic> {
    let admin = settings.admin.listen.filter(|admin| admin.port() != 0)?;
    let is_shared = |listen: &&SocketAddr| {
        let any = listen.ip().is_unspecified() || admin.ip().is_unspecified();
        listen.port() == admin.port() && (listen.ip() == admin.ip() || any)
    };
    let listen = settings.server.listen.iter().find(is_shared)?;
    let error =
        Diagnostic::error("", format!("`admin.listen` {admin} has the port of `server.listen` {listen}"));
    Some(error.with_help("use another port for `admin.listen`, such as 9153".to_owned()))
}

/// Errors for host names on the command line that no `bootstrap` server can resolve. Those in the file are already
/// checked.
fn refuse_unknown_places(settings: &Settings, overrides: &Overrides) -> Vec<Diagnostic> {
    let unknown = |server| value::needs_bootstrap(server, &settings.upstream.bootstrap);
    let error = |unknown: ValueError| Diagnostic::error("", unknown.message).with_help(unknown.help);
    overrides.upstream.iter().filter_map(unknown).map(error).collect()
}

/// Warnings for an upstream's own certificate in `upstream.roots` that verification would reject.
fn doubt_certificates(settings: &Settings) -> Vec<Diagnostic> {
    let routed = settings.route.iter().flat_map(|route| &route.servers);
    let servers = settings.upstream.servers.iter().chain(routed);
    let doubt = |server: &UpstreamAddress| {
        let UpstreamAddress::Encrypted(address) = server else { return None };
        let doubt = settings.upstream.roots.doubt(&address.server_name)?;
        let message =
            format!("the certificate for upstream {server} in `upstream.roots` cannot be used: {doubt}");
        Some(Diagnostic::warning("", message))
    };
    servers.filter_map(doubt).collect()
}

/// The error for encrypted upstreams without any trusted certificate authority: verification would always fail.
fn refuse_no_roots(settings: &Settings) -> Option<Diagnostic> {
    settings.upstream.servers.iter().find(|server| server.is_encrypted())?;
    let error = settings.upstream.roots.load().err()?;
    Some(Diagnostic::error("", error.message).with_help(error.help))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn looks_for_the_file_where_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.toml");
        let none = Overrides::default();
        let absent = load_or(None, &path, &none).unwrap();
        assert_eq!(
            (absent.origin.as_str(), absent.settings),
            ("config/namegate.toml (built in)", Settings::default())
        );

        let report = load_or(Some(&path), Path::new("/nonexistent"), &none).unwrap_err().to_string();
        assert!(report.contains("file not found") && report.contains("own.toml"), "{report}");

        std::fs::write(&path, "[admin]\ntoken_file = \"token\"\n[server]\nlisten = [\"::1\", \"::1\"]\n")
            .unwrap();
        for loaded in [load_or(Some(&path), Path::new("/nonexistent"), &none), load_or(None, &path, &none)] {
            let loaded = loaded.unwrap();
            assert_eq!(loaded.origin, path.display().to_string());
            assert_eq!(loaded.settings.admin.token_file, Some(directory.path().join("token")));
            assert_eq!(loaded.warnings.diagnostics().len(), 1);
        }

        std::fs::write(&path, b"[log]\nlevel = \"\xff\"\n").unwrap();
        let report = load_or(Some(&path), Path::new("/nonexistent"), &none).unwrap_err();
        assert_eq!(report.place(&report.diagnostics()[0]), Some((2, 10)), "{report}");
    }

    #[test]
    fn overrides_replace_what_they_name() {
        let overrides = Overrides {
            listen: vec!["[::1]:5300".parse().unwrap()],
            upstream: vec!["10.0.0.4".parse().unwrap()],
            admin: Some(None),
            token_file: Some("token".into()),
            mode: Some(Mode::Observe),
            zones: vec!["r".to_owned()],
            sources: BTreeMap::from([("policy.mode", "a test".to_owned())]),
        };
        let Loaded { settings, sources, .. } = load_or(None, Path::new("/nonexistent"), &overrides).unwrap();
        assert_eq!(
            sources.into_iter().collect::<Vec<_>>(),
            [("policy.mode".to_owned(), ValueSource::Outside("a test".to_owned()))]
        );
        assert_eq!(settings.server.listen, overrides.listen);
        assert_eq!(settings.upstream.servers, overrides.upstream);
        assert_eq!((settings.admin.listen, settings.policy.mode), (None, Mode::Observe));
        assert_eq!(settings.policy.zones, ["r"]);
        assert_eq!(settings.admin.token_file, overrides.token_file);
    }

    #[test]
    fn an_upstream_that_is_this_server_is_refused() {
        for (listen, upstream, refused) in [
            ("10.0.0.4:53", "10.0.0.4", true),
            ("0.0.0.0:53", "tcp://127.0.0.1", true),
            ("0.0.0.0:53", "127.0.0.1:5353", false),
            ("0.0.0.0:53", "10.0.0.4", false),
        ] {
            let overrides = Overrides {
                listen: vec![listen.parse().unwrap()],
                upstream: vec![upstream.parse().unwrap()],
                ..Overrides::default()
            };
            let loaded = load_or(None, Path::new("/nonexistent"), &overrides);
            assert_eq!(loaded.is_err(), refused, "{listen} {upstream}");
        }
    }
}
