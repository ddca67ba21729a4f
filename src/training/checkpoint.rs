//! `checkpoint-<step>/`: the adapter in PEFT's format (or all weights, where all are trained), the optimizer's moments, the
//! loop's state. No frozen weights.
//!
//! burn-train's own checkpointer rewrites three files in place and panics when a write fails; here a checkpoint
//! appears whole, under its name, or not at all, and a failure is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::manifest;
use super::state::{STATE_FILE, TrainerState};
use super::trained::Trained;
use crate::bad_input;
use crate::error::OrBadInput;
use crate::files::{TEMPORARY, is_same_folder, put_in_place, read_input, remove, write_atomically};
use crate::weights::adapter::WEIGHTS_FILE;
use crate::weights::adapter_config::CONFIG_FILE;
use crate::weights::safetensors::SINGLE_FILE;

const OPTIMIZER_FILE: &str = "optimizer.safetensors";
const LOOP_FILE: &str = "loop_state.json";

/// What the loop holds between two steps besides weights, moments and [`TrainerState`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopState {
    /// Sum of the step losses since the last log entry.
    pub loss_since_log: f32,
    pub steps_since_log: usize,
    /// The step's evaluation was due but cut short.
    pub evaluation_pending: bool,
    /// What the run rests on, by name; a resumed run must rest on the same.
    pub fingerprint: BTreeMap<String, String>,
}

impl LoopState {
    /// What differs between the run that was saved and one that is to go on with it.
    pub fn differences(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let differs = |(name, now): (&String, &String)| match self.fingerprint.get(name) {
            Some(then) if then != now => Some(format!("{name} was {then}, is {now}")),
            _ => None,
        };
        now.iter().filter_map(differs).collect()
    }
}

/// All that a checkpoint holds, on the host.
pub struct Snapshot {
    pub trained: Trained,
    /// A safetensors file.
    pub optimizer: Vec<u8>,
    pub state: TrainerState,
    pub loop_state: LoopState,
}

/// Writes checkpoints while training goes on, one at a time.
pub struct Saver {
    pub checkpoints: Checkpoints,
    under_way: Option<JoinHandle<Result<PathBuf>>>,
}

impl Saver {
    pub fn new(checkpoints: Checkpoints) -> Self {
        Self { checkpoints, under_way: None }
    }

    /// Begins to write. What was begun before must have been [waited](Self::wait) for.
    pub fn begin(&mut self, snapshot: Snapshot) {
        assert!(self.under_way.is_none(), "one checkpoint is written at a time");
        let checkpoints = self.checkpoints.clone();
        self.under_way = Some(std::thread::spawn(move || checkpoints.save(&snapshot)));
    }

    /// Whether a save has ended that was not waited for yet.
    pub fn has_ended(&self) -> bool {
        self.under_way.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// How the last save ended, once.
    pub fn wait(&mut self) -> Option<Result<PathBuf>> {
        let result = self.under_way.take()?.join();
        Some(result.unwrap_or_else(|_| Err(anyhow!("the thread that saves checkpoints panicked"))))
    }
}

impl Drop for Saver {
    /// A run that fails leaves its last checkpoint whole.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

/// The folder that holds a run's checkpoints.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    pub output_dir: PathBuf,
    pub save_total_limit: Option<usize>,
}

impl Checkpoints {
    /// Those in a folder, to look at: no limit is kept.
    pub fn of(output_dir: &Path) -> Self {
        Self { output_dir: output_dir.to_path_buf(), save_total_limit: None }
    }

    pub fn path(&self, step: usize) -> PathBuf {
        self.output_dir.join(format!("checkpoint-{step}"))
    }

    /// The step of a checkpoint's folder.
    pub fn step_of(folder: &Path) -> Option<usize> {
        let name = folder.file_name()?.to_str()?;
        let step = name.strip_prefix("checkpoint-")?.parse().ok()?;
        (name == format!("checkpoint-{step}")).then_some(step)
    }

    /// Steps of the checkpoints that are there, in order.
    pub fn steps(&self) -> Vec<usize> {
        let Ok(entries) = std::fs::read_dir(&self.output_dir) else {
            return Vec::new();
        };
        let mut steps: Vec<usize> = entries.filter_map(|entry| Self::step_of(&entry.ok()?.path())).collect();
        steps.sort_unstable();
        steps
    }

    /// The newest complete checkpoint, and what is wrong with each newer one.
    pub fn latest_complete(&self) -> (Option<PathBuf>, Vec<String>) {
        let mut damaged = Vec::new();
        for path in self.steps().into_iter().rev().map(|step| self.path(step)) {
            match manifest::problem(&path) {
                None => return (Some(path), damaged),
                Some(problem) => damaged.push(format!("{} is damaged or incomplete: {problem}", path.display())),
            }
        }
        (None, damaged)
    }

    /// Whether a complete checkpoint lies after a step. Files are read for later ones only.
    pub fn has_complete_after(&self, step: usize) -> bool {
        self.steps().into_iter().any(|later| later > step && manifest::problem(&self.path(later)).is_none())
    }

    /// Removes what a run that was killed while it saved has left.
    pub fn remove_partial(&self) {
        let entries = std::fs::read_dir(&self.output_dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(".checkpoint-") && name.ends_with(".partial") || name.starts_with(TEMPORARY) {
                let _ = remove(&entry.path()); // it only takes room
            }
        }
    }

    /// Files at the root that a finished run leaves besides its checkpoints.
    fn root_files(&self) -> [PathBuf; 4] {
        [WEIGHTS_FILE, CONFIG_FILE, SINGLE_FILE, STATE_FILE].map(|file| self.output_dir.join(file))
    }

    /// Whether a finished run's results lie in the folder.
    pub fn holds_results(&self) -> bool {
        self.root_files().iter().any(|file| file.exists())
    }

    /// Writes a checkpoint under a temporary name and renames it, then removes old ones over the limit.
    pub fn save(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        let path = self.path(snapshot.state.global_step);
        self.write(snapshot, &path).with_context(|| format!("cannot save {}", path.display()))?;
        self.prune(snapshot.state.global_step, snapshot.state.best_global_step)?;
        Ok(path)
    }

    fn write(&self, snapshot: &Snapshot, path: &Path) -> Result<()> {
        let Snapshot { trained, optimizer, state, loop_state } = snapshot;
        let partial = self.output_dir.join(format!(".checkpoint-{}.partial", state.global_step));
        remove(&partial)?;
        std::fs::create_dir_all(&partial)?;
        trained.write_checkpoint(&partial)?;
        write_atomically(&partial.join(OPTIMIZER_FILE), optimizer)?;
        write_atomically(&partial.join(LOOP_FILE), serde_json::to_string_pretty(loop_state)?.as_bytes())?;
        state.write(&partial)?;
        manifest::write(&partial)?;
        Ok(put_in_place(&partial, path)?)
    }

    /// Removes the oldest checkpoints until `save_total_limit` are left. The one just saved and the best stay in any
    /// case.
    fn prune(&self, saved: usize, best: Option<usize>) -> Result<()> {
        let Some(limit) = self.save_total_limit else {
            return Ok(());
        };
        for step in to_remove(&self.steps(), saved, best, limit) {
            let path = self.path(step);
            remove(&path).with_context(|| format!("cannot remove the old checkpoint {}", path.display()))?;
        }
        Ok(())
    }
}

/// What an earlier run left in `output_dir` and a new one would mix with.
#[derive(Debug, Clone)]
pub struct OldRun {
    pub checkpoints: Checkpoints,
    /// Only checkpoints after this step are in the way.
    pub after: Option<usize>,
    /// Whether to remove damaged checkpoints as well, instead of setting them aside.
    pub overwrite: bool,
    /// Checkpoints that the new run goes on from: they stay in any case.
    pub needed: Vec<PathBuf>,
}

impl OldRun {
    /// Clears the way for a run that is about to start.
    pub fn remove(&self) -> Result<()> {
        let Self { checkpoints, after, overwrite, needed } = self;
        checkpoints.remove_partial();
        for path in
            checkpoints.steps().into_iter().filter(|step| Some(*step) > *after).map(|step| checkpoints.path(step))
        {
            if needed.iter().any(|needed| is_same_folder(needed, &path)) {
                continue;
            }
            if *overwrite || manifest::problem(&path).is_none() {
                remove(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            } else {
                set_aside(&path).with_context(|| format!("cannot rename {}", path.display()))?;
            }
        }
        for path in checkpoints.root_files().iter().filter(|_| after.is_none()) {
            remove(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// Renames a damaged checkpoint, so that its name is free and what it holds is not lost.
fn set_aside(path: &Path) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1..).map(|n| if n == 1 { format!("damaged-{name}") } else { format!("damaged-{name}-{n}") });
    let free = names.map(|name| path.with_file_name(name)).find(|aside| !aside.exists());
    std::fs::rename(path, free.expect("some number is free"))
}

/// Which of the steps (in order) to remove so that at most `limit` are left, `saved` and `best` among them.
fn to_remove(steps: &[usize], saved: usize, best: Option<usize>, limit: usize) -> Vec<usize> {
    let kept = |step: usize| step == saved || Some(step) == best;
    let excess = steps.len().saturating_sub(limit);
    steps.iter().copied().filter(|step| !kept(*step)).take(excess).collect()
}

/// Where a saved run stood. Its weights and the optimizer's moments are read when there is something to put them in.
#[derive(Debug, Clone)]
pub struct SavedRun {
    pub folder: PathBuf,
    pub state: TrainerState,
    pub loop_state: LoopState,
}

impl SavedRun {
    /// Reads a folder that may hold anything.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            bad_input!("the checkpoint {} does not exist", folder.display());
        }
        if let Some(problem) = manifest::problem(folder) {
            bad_input!("the checkpoint {} is damaged or incomplete: {problem}", folder.display());
        }
        Self::read_complete(folder)
    }

    /// Reads a checkpoint that was found complete.
    pub fn read_complete(folder: &Path) -> Result<Self> {
        let loop_file = folder.join(LOOP_FILE);
        let loop_state = serde_json::from_str(&read_input(&loop_file)?)
            .or_bad_input(|| format!("{} is damaged", loop_file.display()))?;
        Ok(Self { folder: folder.to_path_buf(), state: TrainerState::read(folder)?, loop_state })
    }

    pub fn optimizer_file(&self) -> PathBuf {
        self.folder.join(OPTIMIZER_FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::to_remove;

    #[test]
    fn the_best_and_the_checkpoint_just_saved_stay() {
        assert_eq!(to_remove(&[50, 100, 150], 150, Some(50), 2), [100]);
        assert_eq!(to_remove(&[50, 100, 150], 150, Some(150), 2), [50]);
        assert_eq!(to_remove(&[50, 100], 100, Some(50), 1), [] as [usize; 0]);
        assert_eq!(to_remove(&[50, 100], 100, Some(100), 1), [50]);
        assert_eq!(to_remove(&[50, 100, 150, 200], 200, None, 3), [50]);
        assert_eq!(to_remove(&[50], 50, None, 2), [] as [usize; 0]);
    }
}
