//! Reading the user's files, and writing files that appear whole or not at all.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bad_input;
use crate::error::OrBadInput;

/// Reads a text file of the user's.
pub fn read_input(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).or_bad_input(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).or_bad_input(|| format!("{} is not UTF-8", path.display()))
}

/// Reads a JSON file of the user's.
pub fn read_json(path: &Path) -> Result<serde_json::Value> {
    serde_json::from_str(&read_input(path)?).or_bad_input(|| format!("{} is not valid JSON", path.display()))
}

/// How the names of temporary files begin.
pub const TEMPORARY: &str = ".tmp-";

/// Writes a file under a temporary name in its folder, syncs it and renames it: it appears whole or not at all.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    use std::io::Write;
    let folder = folder_of(path);
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(default_permissions())
        .tempfile_in(folder)
        .with_context(what)?;
    file.write_all(contents).with_context(what)?;
    file.as_file().sync_all().with_context(what)?;
    file.persist(path).map_err(|e| e.error).with_context(what)?;
    sync_folder(folder).with_context(what)
}

/// Where a path lies.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes renames in a folder last beyond a power failure.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// What a file written in the ordinary way would get (less the umask); temporary files are private by default.
fn default_permissions() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(0o666)
}

/// Copies a file into a folder, if it is there.
pub fn copy_into(source: &Path, folder: &Path) -> Result<()> {
    let Some(name) = source.file_name().filter(|_| source.exists()) else {
        return Ok(());
    };
    let contents = std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    write_atomically(&folder.join(name), &contents)
}

/// Removes a file or a folder with all that it holds; that it isn't there is no failure.
pub fn remove(path: &Path) -> std::io::Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where a folder is built that is to appear whole under its own name. Refuses what cannot be renamed over.
pub fn partial_of(folder: &Path) -> Result<PathBuf> {
    let Some(name) = folder.file_name().filter(|_| !is_same_folder(folder, Path::new("."))) else {
        bad_input!("{} cannot be written as a whole; name a new folder in it", folder.display());
    };
    Ok(folder.with_file_name(format!(".{}.partial", name.to_string_lossy())))
}

/// Gives what was built under another name its own, in the place of what is there.
pub fn put_in_place(partial: &Path, path: &Path) -> std::io::Result<()> {
    remove(path)?;
    std::fs::rename(partial, path)?;
    sync_folder(folder_of(path))
}

/// Whether two paths lead to one folder that is there.
pub fn is_same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// FNV-1a over words: tells contents apart, on every machine and for good; no protection against forgery.
pub fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}
