//! One run at a time in an output folder.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::bad_input;

const LOCK_FILE: &str = ".lock";

/// Holds an output folder until it is dropped, or its process ends in whatever way: the system lets go of the lock.
#[derive(Debug)]
pub struct OutputLock(#[expect(dead_code, reason = "held, not read")] File);

impl OutputLock {
    /// Takes the folder, which is created if need be; refuses where another process has it.
    pub fn take(output_dir: &Path) -> Result<Self> {
        let path = output_dir.join(LOCK_FILE);
        let what = || format!("cannot write to training.output_dir {}", output_dir.display());
        std::fs::create_dir_all(output_dir).with_context(what)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).with_context(what)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => bad_input!(
                "another run is writing to training.output_dir {}: wait for its end, or name another folder",
                output_dir.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let output_dir = folder.path().join("new/out");
        let first = OutputLock::take(&output_dir).unwrap();
        assert!(OutputLock::take(&output_dir).unwrap_err().to_string().contains("another run"));
        drop(first);
        OutputLock::take(&output_dir).unwrap();
    }
}
