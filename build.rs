//! Tells the program what it was built from, for `namegate --version`.

use std::path::Path;
use std::process::Command;

fn main() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    println!("cargo:rustc-env=NAMEGATE_TARGET={}", variable("TARGET"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=NAMEGATE_COMMIT");
    // A new commit does not compile debug builds anew.
    let commit = match variable("PROFILE").as_str() {
        "release" => Some(variable("NAMEGATE_COMMIT")).filter(|given| !given.is_empty()).or_else(commit),
        _ => None,
    };
    println!("cargo:rustc-env=NAMEGATE_COMMIT={}", commit.as_deref().unwrap_or("unknown commit"));
}

/// The short hash of the checkout's commit; none where this is no checkout, as in a source archive.
fn commit() -> Option<String> {
    for path in [".git/HEAD", ".git/logs/HEAD"].into_iter().filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
    let output = Command::new("git").args(["rev-parse", "--short=9", "HEAD"]).output().ok()?;
    let hash = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(hash.trim().to_owned())
}
