//! `namegate bundle`: a policy directory as one signed file.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use super::output::{FAILED, USAGE, counted, print, warn, write_whole};
use crate::tools::bundle::{SigningKey, pack};
use crate::util::rfc3339;

/// What to pack, and who signs.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory with allowlists, and namegate.toml and local zones if you like
    #[arg(required_unless_present = "new_key", requires = "serial", requires = "key")]
    dir: Option<PathBuf>,
    /// Serial of the bundle; give every bundle a higher one
    #[arg(long, value_name = "N")]
    serial: Option<u64>,
    /// Secret key in minisign's format, without a password
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Time after which no machine installs the bundle
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    expires: humantime::Duration,
    /// Write to this file
    #[arg(long, short, value_name = "FILE", default_value = "namegate-policy.tar")]
    output: PathBuf,
    /// Create a key: FILE, and FILE.pub for `namegate pull`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "serial", "key"])]
    new_key: Option<PathBuf>,
}

/// Packs or creates a key; exit status 0 written, 1 not written, 2 wrong options.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let result = match arguments {
        Arguments { new_key: Some(path), .. } => create(path),
        Arguments { dir: Some(dir), serial: Some(serial), key: Some(key), .. } => {
            let Arguments { expires, output, .. } = arguments;
            bundle(dir, *serial, key, **expires, output)
        }
        // clap requires all three.
        _ => return USAGE,
    };
    match result {
        Ok(text) => print(&text),
        Err(error) => {
            warn(&if error.starts_with("error") { error } else { format!("error: {error}") });
            FAILED
        }
    }
}

fn create(path: &Path) -> Result<String, String> {
    let created = SigningKey::create(path).map_err(|error| format!("{}: {error}", path.display()));
    let (key, public) = created?;
    Ok(format!(
        "{}: keep it secret\n{}: give it to `namegate pull --public-key`\n{}",
        path.display(),
        public.display(),
        key.public()
    ))
}

fn bundle(
    directory: &Path,
    serial: u64,
    key: &Path,
    lifetime: Duration,
    output: &Path,
) -> Result<String, String> {
    if output.canonicalize().is_ok_and(|output| key.canonicalize().is_ok_and(|key| key == output)) {
        return Err(format!("--output {} is the key", output.display()));
    }
    let key = SigningKey::read(key)?;
    let packed = pack(directory, serial, (now()?, lifetime), &key, output)?;
    write_whole(output, &packed.bytes)
        .map_err(|error| format!("{}: cannot write: {error}", output.display()))?;
    let files: Vec<&str> = packed.manifest.files.iter().map(|file| &*file.path).collect();
    Ok(format!(
        "{}: serial {serial}, {} bytes, expires {}\n{}: {}",
        output.display(),
        packed.bytes.len(),
        rfc3339::seconds(packed.manifest.expires),
        counted(files.len() as u64, "file"),
        files.join(", ")
    ))
}

/// The time in whole seconds; that of `SOURCE_DATE_EPOCH`, if it is set, makes builds reproducible.
fn now() -> Result<SystemTime, String> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.parse().map_err(|_| format!("SOURCE_DATE_EPOCH `{}`: write seconds", text.escape_debug()))?
        }
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.ok_or_else(|| format!("SOURCE_DATE_EPOCH {seconds}: too late"))
}
