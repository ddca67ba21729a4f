//! What a checkpoint folder holds: written last, so that a folder that agrees with it is complete and undamaged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::write_atomically;

pub const MANIFEST_FILE: &str = "manifest.json";

/// Size and SHA-256 of every file, by name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Manifest {
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    size: u64,
    sha256: String,
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let (mut file, mut hash, mut size) = (File::open(path)?, Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(Self { size, sha256: format!("{:x}", hash.finalize()) });
            }
            hash.update(&buffer[..read]);
            size += read as u64;
        }
    }
}

/// Lists the files that are in a folder now.
pub fn write(folder: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == MANIFEST_FILE {
            continue;
        }
        let entry = Entry::of(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(name, entry);
    }
    write_atomically(&folder.join(MANIFEST_FILE), serde_json::to_string_pretty(&Manifest { files })?.as_bytes())
}

/// What is wrong with a folder, if anything. Files that the manifest does not list are no matter.
pub fn problem(folder: &Path) -> Option<String> {
    let manifest: Manifest = match std::fs::read(folder.join(MANIFEST_FILE)) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return Some(format!("{MANIFEST_FILE} is damaged: {error}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(format!("it has no {MANIFEST_FILE}")),
        Err(error) => return Some(format!("{MANIFEST_FILE} cannot be read: {error}")),
    };
    manifest.files.iter().find_map(|(name, listed)| {
        // A plain name: a manifest must not lead out of its folder.
        if Path::new(name).file_name().and_then(|n| n.to_str()) != Some(name) {
            return Some(format!("{MANIFEST_FILE} lists {name:?}, which is no file name"));
        }
        match Entry::of(&folder.join(name)) {
            Ok(found) if found == *listed => None,
            Ok(_) => Some(format!("{name} is not what was written")),
            Err(error) => Some(format!("{name} cannot be read: {error}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a.bin"), [1, 2, 3]).unwrap();
        std::fs::write(path("b.json"), "{}").unwrap();
        assert!(problem(folder.path()).unwrap().contains("no manifest.json"));
        write(folder.path()).unwrap();
        assert_eq!(problem(folder.path()), None);
        for damage in [&[1, 2, 4][..], &[1, 2], &[1, 2, 3, 0]] {
            std::fs::write(path("a.bin"), damage).unwrap();
            assert!(problem(folder.path()).unwrap().contains("a.bin is not what was written"));
        }
        std::fs::remove_file(path("a.bin")).unwrap();
        assert!(problem(folder.path()).unwrap().contains("a.bin cannot be read"));
        for (manifest, named) in
            [(r#"{"files": {"../x": {"size": 0, "sha256": ""}}}"#, "no file name"), (r#"{"files": 3}"#, "damaged")]
        {
            std::fs::write(path(MANIFEST_FILE), manifest).unwrap();
            assert!(problem(folder.path()).unwrap().contains(named));
        }
    }
}
