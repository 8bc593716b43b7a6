//! What must hold of the source itself.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of the source tree") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The compiler denies unsafe code; what allows it is in this one file.
#[test]
fn unsafe_code_is_in_one_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["src", "benches"] {
        sources(&root.join(directory), &mut found);
    }
    let allowing: Vec<_> = found
        .into_iter()
        .filter(|path| fs::read_to_string(path).expect("a source file").contains("unsafe_code"))
        .collect();
    assert_eq!(allowing, [root.join("src/listen/batch/linux.rs")]);
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"deny\""));
}
