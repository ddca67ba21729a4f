//! burn-train's metric logs in its own layout, `<split>/epoch-<n>/<metric>.log` with a value a line. Its own writer panics
//! where it cannot write, and empties the files that a resumed run goes on with.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::monitor::Monitor;
use super::state::TrainerState;
use crate::files::remove;

/// Finds out whether logs can be written before time is spent. A fresh run begins with empty ones, a resumed run with what
/// it had logged when its checkpoint was made.
pub fn prepare(folder: &Path, state: &TrainerState, monitor: &dyn Monitor) -> Result<()> {
    let fresh = state.global_step == 0;
    // The folder that a resumed run goes on with, and how many entries of it there were.
    let (current, entries) = (state.evaluations() + 1, state.entries_since_evaluation());
    for split in ["train", "valid"] {
        let folder = folder.join(split);
        let what = || format!("cannot write to training.logging_dir: {}", folder.display());
        let logs = std::fs::read_dir(&folder).into_iter().flatten().flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("epoch-")?.parse::<usize>().ok()?;
            Some((number, entry.path()))
        });
        let (mut later, mut cut) = (Vec::new(), None);
        for (number, path) in logs {
            match number.cmp(&current) {
                _ if fresh => later.push(path),
                Ordering::Less => {}
                Ordering::Equal if split == "train" => cut = Some(path),
                _ => later.push(path),
            }
        }
        if fresh && !later.is_empty() {
            monitor.note(format!("removed an earlier run's metric logs in {}", folder.display()));
        }
        for path in later {
            remove(&path).with_context(what)?;
        }
        for file in cut.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let kept: String = text.split_inclusive('\n').take(entries).collect();
            std::fs::write(file.path(), kept).with_context(what)?;
        }
        std::fs::create_dir_all(&folder).with_context(what)?;
        tempfile::tempfile_in(&folder).with_context(what)?;
    }
    Ok(())
}

/// Appends to the logs; what cannot be written is told, once until it can be again, and left out.
pub struct MetricLog {
    folder: PathBuf,
    names: HashMap<MetricId, String>,
    monitor: Arc<dyn Monitor>,
    failed: bool,
}

impl MetricLog {
    pub fn new(folder: &Path, monitor: Arc<dyn Monitor>) -> Self {
        Self { folder: folder.to_path_buf(), names: HashMap::new(), monitor, failed: false }
    }

    fn append(&self, name: &str, value: &str, epoch: usize, split: &Split) -> std::io::Result<()> {
        let folder = self.folder.join(split.to_string()).join(format!("epoch-{epoch}"));
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.log", name.replace(' ', "_")));
        writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{value}")
    }
}

impl MetricLogger for MetricLog {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        let mut failure = None;
        let numeric = update.entries_numeric.iter().map(|update| &update.entry);
        for entry in update.entries.iter().chain(numeric) {
            let Some(name) = self.names.get(&entry.metric_id) else { continue };
            failure = self.append(name, &entry.serialized_entry.serialized, epoch, split).err().or(failure);
        }
        if let (Some(error), false) = (&failure, self.failed) {
            self.monitor.note(format!("warning: cannot write the metric logs in {}: {error}", self.folder.display()));
        }
        self.failed = failure.is_some();
    }

    /// Nothing of ours asks: the loop decides by figures that it computed itself.
    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> std::result::Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}
