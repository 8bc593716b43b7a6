//! [`TokenFile`]: a token that lets its bearer read, or change state too.

use std::fmt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use strum::IntoStaticStr;
use subtle::ConstantTimeEq;

use crate::config::{AdminSettings, Settings};
use crate::util::secret_file::{SecretFile, SecretFileError};

/// Shortest token in characters: 16 random ones cannot be guessed over a network.
const MIN_LENGTH: usize = 16;

/// What a token entitles to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// To read.
    Viewer,
    /// To read and to change state.
    Approver,
}

const MAKE: &str = "openssl rand -hex 32";

static APPROVER: SecretFile =
    SecretFile { what: "the token file", setting: "`admin.token_file` or --token-file", make: MAKE };

static VIEWER: SecretFile =
    SecretFile { what: "the token file", setting: "`admin.viewer_token_file`", make: MAKE };

const UNPRINTABLE: &str = "must contain one line of printable ASCII without spaces";

/// A file with the token on its only line. It is read for each request that needs it, so a new token applies at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    path: PathBuf,
    role: Role,
}

/// A token. It is never shown, and is compared in constant time.
#[derive(Clone)]
pub struct Token {
    secret: Box<str>,
}

/// The hash of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenDigest([u8; 32]);

impl TokenFile {
    /// The token file at `path`, whose token entitles to `role`.
    pub fn new(path: PathBuf, role: Role) -> Self {
        Self { path, role }
    }

    /// The files in `settings`, the approver's first. They must already contain tokens, and different ones.
    pub fn of(settings: &Settings) -> Result<Vec<Self>, SecretFileError> {
        let AdminSettings { token_file, viewer_token_file, .. } = &settings.admin;
        let files = [(token_file, Role::Approver), (viewer_token_file, Role::Viewer)];
        let files: Vec<Self> =
            files.into_iter().filter_map(|(path, role)| Some(Self::new(path.clone()?, role))).collect();
        let mut known: Vec<Token> = Vec::new();
        for file in &files {
            known.push(file.read_unless(|token| known.iter().any(|other| other.is(token)))?);
        }
        Ok(files)
    }

    /// What its token entitles to.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Reads the token.
    ///
    /// Errors: the file cannot be read, other users can read it, or its content is not a token.
    pub fn read(&self) -> Result<Token, SecretFileError> {
        self.read_unless(|_| false)
    }

    fn read_unless(&self, is_taken: impl Fn(&[u8]) -> bool) -> Result<Token, SecretFileError> {
        let file = match self.role {
            Role::Approver => &APPROVER,
            Role::Viewer => &VIEWER,
        };
        file.read(&self.path, |lines| match lines {
            [line] if is_taken(line) => Err("has the same token as `admin.token_file`".to_owned()),
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

    /// Its hash, which sessions keep to notice another token.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.secret.as_bytes()).into())
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
        TokenFile::new(path, Role::Approver).read()
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
        let error =
            TokenFile::new(directory.path().to_owned(), Role::Approver).read().unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let missing =
            |role| TokenFile::new(directory.path().join("none"), role).read().unwrap_err().to_string();
        for (role, setting) in
            [(Role::Approver, "`admin.token_file`"), (Role::Viewer, "`admin.viewer_token_file`")]
        {
            assert!(missing(role).contains("none") && missing(role).contains(setting), "{}", missing(role));
        }
    }
}
