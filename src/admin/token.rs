//! [`TokenFile`]: the token that authorizes admin requests to change state.

use std::fmt;
use std::path::PathBuf;

use subtle::ConstantTimeEq;

use crate::config::Settings;
use crate::util::secret_file::{SecretFile, SecretFileError};

/// Shortest token in characters: 16 random ones cannot be guessed over a network.
const MIN_LENGTH: usize = 16;

static FILE: SecretFile =
    SecretFile { what: "the token file", setting: "`admin.token_file`", make: "openssl rand -hex 32" };

const UNPRINTABLE: &str = "must contain one line of printable ASCII without spaces";

/// A file with the token on its only line. It is read for each request that needs it, so a new token applies at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    path: PathBuf,
}

/// A token. It is never shown, and is compared in constant time.
#[derive(Clone)]
pub struct Token {
    secret: Box<str>,
}

impl TokenFile {
    /// The token file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file in `settings`, if set; it must already contain a token.
    pub fn of(settings: &Settings) -> Result<Option<Self>, SecretFileError> {
        let file = settings.admin.token_file.clone().map(Self::new);
        file.as_ref().map(Self::read).transpose()?;
        Ok(file)
    }

    /// Reads the token.
    ///
    /// Errors: the file cannot be read, other users can read it, or its content is not a token.
    pub fn read(&self) -> Result<Token, SecretFileError> {
        FILE.read(&self.path, |lines| match lines {
            [line] => Token::parse(line),
            _ => Err(UNPRINTABLE.to_owned()),
        })
    }
}

impl Token {
    fn parse(line: &[u8]) -> Result<Self, String> {
        match std::str::from_utf8(line) {
            Ok(text) if line.iter().all(u8::is_ascii_graphic) => match text.len() {
                length @ 0..MIN_LENGTH => {
                    Err(format!("the token has {length} characters, needs at least {MIN_LENGTH}"))
                }
                _ => Ok(Self { secret: text.into() }),
            },
            _ => Err(UNPRINTABLE.to_owned()),
        }
    }

    /// True if `given` is this token.
    pub fn is(&self, given: &[u8]) -> bool {
        self.secret.as_bytes().ct_eq(given).into()
    }

    /// The value of an `Authorization` header (RFC 6750 section 2.1).
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn read(content: &[u8], mode: u32) -> Result<Token, SecretFileError> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        TokenFile::new(path).read()
    }

    #[test]
    fn a_token_is_one_line_and_shows_nowhere() {
        for end in ["", "\n", "\r\n"] {
            for mode in [0o400, 0o600, 0o640] {
                let token = read(format!("{SECRET}{end}").as_bytes(), mode).unwrap();
                assert!(token.is(SECRET.as_bytes()));
                for other in ["", "0", "0123456789abcdeF", "0123456789abcdef0", "0123456789abcde"] {
                    assert!(!token.is(other.as_bytes()), "{other}");
                }
                assert_eq!(format!("{token:?}"), "Token(…)");
                assert_eq!(token.authorization(), format!("Bearer {SECRET}"));
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused_with_a_remedy() {
        let long = vec![b'x'; 5000];
        for (content, mode, told, remedy) in [
            (SECRET.as_bytes(), 0o644, "other users", "chmod"),
            (SECRET.as_bytes(), 0o602, "other users", "chmod"),
            (b"", 0o600, "has 0 characters", "openssl"),
            (b"\n", 0o600, "has 0 characters", "openssl"),
            (b"0123456789abcde\n", 0o600, "has 15 characters", "openssl"),
            (b"0123456789abcdef\n0123456789abcdef\n", 0o600, "one line", "openssl"),
            (b"0123456789 abcdef", 0o600, "one line", "openssl"),
            (b"0123456789abcdef\xff", 0o600, "one line", "openssl"),
            (&long, 0o600, "larger", "openssl"),
        ] {
            let error = read(content, mode).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(remedy), "{error}");
            assert!(!error.contains("0123456789"), "the token is shown: {error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let error = TokenFile::new(directory.path().to_owned()).read().unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let error = TokenFile::new(directory.path().join("none")).read().unwrap_err().to_string();
        assert!(error.contains("none") && error.contains("token_file"), "{error}");
    }
}
