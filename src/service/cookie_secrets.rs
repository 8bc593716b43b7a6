//! Secrets for DNS cookies: from a file, or generated at start.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::config;
use crate::engine::cookies::{Cookies, Secret};
use crate::util::secret_file::{SecretFile, SecretFileError};

static FILE: SecretFile = SecretFile {
    what: "cookie secrets file",
    setting: "`cookies.secret_file`",
    make: "openssl rand -hex 16",
};

/// Why the cookie secrets are not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(
        "cannot generate a cookie secret: {0}\n  help: check the system's source of random bytes (getrandom(2))"
    )]
    Random(#[from] getrandom::Error),
}

/// The cookies that `settings` configure. Without a secret file, the secret of `before` is reused.
pub(crate) fn cookies(
    settings: &config::CookieSettings,
    before: Option<&Cookies>,
) -> Result<Option<Cookies>, SecretsError> {
    if !settings.enabled {
        return Ok(None);
    }
    let (secret, secret_before) = match (&settings.secret_file, before) {
        (Some(path), _) => FILE.read(path, read)?,
        (None, Some(before)) => before.secrets(),
        (None, None) => (make_up()?, None),
    };
    Ok(Some(Cookies::new(secret, secret_before, (Instant::now(), unix_seconds()))))
}

/// Seconds since 1970 modulo 2³², as in cookies (RFC 9018 section 4.3).
pub(crate) fn unix_seconds() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32)
}

fn make_up() -> Result<Secret, getrandom::Error> {
    let mut secret = Secret::default();
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

fn read(lines: &[&[u8]]) -> Result<(Secret, Option<Secret>), String> {
    let secrets: Option<Vec<Secret>> = lines.iter().map(|line| parse(line)).collect();
    match secrets.as_deref() {
        Some([secret]) => Ok((*secret, None)),
        Some([secret, before]) => Ok((*secret, Some(*before))),
        _ => Err("must hold one or two lines: the current secret, and optionally the previous one, each 32 hexadecimal \
                  digits"
            .to_owned()),
    }
}

fn parse(line: &[u8]) -> Option<Secret> {
    let line = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let mut secret = Secret::default();
    for (byte, digits) in secret.iter_mut().zip(line.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secrets(content: &str, mode: u32) -> Result<(Secret, Option<Secret>), String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let settings = config::CookieSettings { enabled: true, secret_file: Some(path) };
        let cookies = cookies(&settings, None).map_err(|error| error.to_string())?;
        Ok(cookies.unwrap().secrets())
    }

    #[test]
    fn a_file_holds_one_secret_or_two() {
        let (one, other) = ("000102030405060708090a0b0c0d0e0f", "FF".repeat(16));
        let first = std::array::from_fn(|place| place as u8);
        assert_eq!(secrets(one, 0o600), Ok((first, None)));
        assert_eq!(secrets(&format!("{one}\r\n{other}\n"), 0o440), Ok((first, Some([255; 16]))));
        let three = format!("{one}\n{one}\n{one}");
        for (content, mode, told, remedy) in [
            ("", 0o600, "32 hexadecimal digits", "openssl"),
            (&one[1..], 0o600, "32 hexadecimal digits", "openssl"),
            ("+00102030405060708090a0b0c0d0e0f", 0o600, "32 hexadecimal digits", "openssl"),
            (&three, 0o600, "32 hexadecimal digits", "openssl"),
            (one, 0o604, "other users", "chmod"),
        ] {
            let error = secrets(content, mode).unwrap_err();
            assert!(error.contains(told) && error.contains(remedy), "{error}");
            assert!(!error.contains("0102030405"), "the secret is shown: {error}");
        }
    }

    #[test]
    fn generated_secret_survives_a_reload() {
        let settings = config::CookieSettings::default();
        let first = cookies(&settings, None).unwrap().unwrap();
        let second = cookies(&settings, Some(&first)).unwrap().unwrap();
        assert_eq!(first.secrets(), second.secrets());
        assert_ne!(first.secrets(), cookies(&settings, None).unwrap().unwrap().secrets());
        let off = config::CookieSettings { enabled: false, ..settings };
        assert!(cookies(&off, Some(&first)).unwrap().is_none());
    }
}
