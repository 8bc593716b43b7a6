//! Runs of the binary that end by themselves.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The result of a run.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// The binary under test: the one built for this test run, or `NAMEGATE_BINARY`.
pub(crate) fn binary() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_namegate");
    std::env::var_os("NAMEGATE_BINARY").map_or_else(|| built.into(), PathBuf::from)
}

/// Runs `namegate` with `arguments` in `directory`.
pub(crate) fn namegate(directory: &Path, arguments: &[&str]) -> Finished {
    // Its output uses its own name, whatever the file is called.
    let output = Command::new(binary())
        .arg0("namegate")
        .args(arguments)
        .current_dir(directory)
        .env_remove("RUST_LOG")
        .env_remove("USER")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    Finished {
        code: output.status.code().expect("the binary exits"),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    }
}

impl Finished {
    /// Fails with the whole output unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless standard error contains each of `texts`.
    #[track_caller]
    pub(crate) fn expect_stderr(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in stderr:\n{}", self.stderr);
        }
        self
    }
}
