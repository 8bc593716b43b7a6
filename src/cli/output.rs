//! Where a command's product goes: standard output, or the file that `--output` names.

use std::path::Path;

use super::{FAILED, OK, print, warn};

/// Writes `text`; a file is written whole or not at all.
pub(super) fn deliver(text: &str, output: Option<&Path>) -> u8 {
    let Some(path) = output else {
        return print(text);
    };
    match write_whole(path, text) {
        Ok(()) => OK,
        Err(error) => {
            warn(&format!("error: {}: cannot be written: {error}", path.display()));
            FAILED
        }
    }
}

fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    // What is no regular file, such as /dev/stdout, cannot be replaced.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, text);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
