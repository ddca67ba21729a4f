//! burn-train's metric logs in its own layout, `<split>/epoch-<n>/<metric>.log` with a value a line. Its own writer panics
//! where it cannot write, and empties the files that a resumed run goes on with.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};

use super::monitor::Monitor;

/// Appends to the logs; what cannot be written is told once and left out.
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
        let numeric = update.entries_numeric.iter().map(|update| &update.entry);
        for entry in update.entries.iter().chain(numeric) {
            let Some(name) = self.names.get(&entry.metric_id) else { continue };
            match self.append(name, &entry.serialized_entry.serialized, epoch, split) {
                Ok(()) => self.failed = false,
                Err(_) if self.failed => {}
                Err(error) => {
                    self.failed = true;
                    let folder = self.folder.display();
                    self.monitor.note(format!("warning: cannot write the metric logs in {folder}: {error}"));
                }
            }
        }
    }

    /// Nothing of ours asks: the loop decides by figures that it computed itself.
    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name);
    }

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}
