//! Errors that decide the exit code; everything else travels as [`anyhow::Error`].

use std::fmt;
use std::path::Path;

use anyhow::Context;

/// The user's input cannot be used: a bad config, data file, model, tokenizer or adapter, or a hub id out of reach.
/// The program exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Training was asked to stop, saved a checkpoint and did. The program exits with code 130.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// `bail!` for the user's input.
#[macro_export]
macro_rules! bad_input {
    ($($arg:tt)*) => { return Err($crate::error::BadInput(format!($($arg)*)).into()) };
}

/// Turns a failure to read or parse the user's files into [`BadInput`], keeping the cause in the text.
pub trait OrBadInput<T> {
    fn or_bad_input<D: fmt::Display>(self, what: impl FnOnce() -> D) -> anyhow::Result<T>;
}

impl<T, E: fmt::Display> OrBadInput<T> for Result<T, E> {
    fn or_bad_input<D: fmt::Display>(self, what: impl FnOnce() -> D) -> anyhow::Result<T> {
        self.map_err(|error| BadInput(format!("{}: {error}", what())).into())
    }
}

/// Reads a text file of the user's.
pub fn read_input(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).or_bad_input(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).or_bad_input(|| format!("{} is not UTF-8", path.display()))
}

/// Reads a JSON file of the user's.
pub fn read_json(path: &Path) -> anyhow::Result<serde_json::Value> {
    serde_json::from_str(&read_input(path)?).or_bad_input(|| format!("{} is not valid JSON", path.display()))
}

/// Writes a file under a temporary name in its folder, syncs it and renames it: it appears whole or not at all.
pub fn write_atomically(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(default_permissions())
        .tempfile_in(folder)
        .with_context(what)?;
    file.write_all(contents).with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(path).map_err(|e| e.error).with_context(what)?;
    Ok(())
}

/// What a file written in the ordinary way would get (less the umask); temporary files are private by default.
fn default_permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}
