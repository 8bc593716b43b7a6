//! Sets the commit and the target that `namegate --version` prints.

use std::path::Path;
use std::process::Command;

fn main() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    println!("cargo:rustc-env=NAMEGATE_TARGET={}", variable("TARGET"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NAMEGATE_COMMIT");
    // Debug builds have no commit, so that a new commit does not recompile them.
    let commit = match variable("PROFILE").as_str() {
        "release" => Some(variable("NAMEGATE_COMMIT")).filter(|given| !given.is_empty()).or_else(commit),
        _ => None,
    };
    println!("cargo:rustc-env=NAMEGATE_COMMIT={}", commit.as_deref().unwrap_or("unknown commit"));
}

/// The short hash of the checked-out commit. `None` outside a checkout, for example in a source archive within another
/// repository.
fn commit() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    for path in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let output = Command::new("git").args(["rev-parse", "--short=9", "HEAD"]).output().ok()?;
    let hash = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(hash.trim().to_owned())
}
