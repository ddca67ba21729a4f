//! What a run tells the one who watches it between two log entries. Figures go through burn-train's renderer.

use burn::train::metric::MetricDefinition;
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

/// What the run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Training { step: usize },
    Evaluating { done: usize, total: usize },
    Saving,
}

/// Called from the training thread; must not block.
pub trait Monitor: Send + Sync {
    fn phase(&self, phase: Phase);
    /// Something worth a line: a checkpoint, a new best, an early stop.
    fn note(&self, text: String);
}

/// Nobody watches.
pub struct Unwatched;

impl Monitor for Unwatched {
    fn phase(&self, _: Phase) {}
    fn note(&self, _: String) {}
}

/// Draws nothing: for tests and embedding programs that only want the report.
pub struct NoRenderer;

impl MetricsRendererTraining for NoRenderer {
    fn update_train(&mut self, _: MetricState) {}
    fn update_valid(&mut self, _: MetricState) {}
    fn render_train(&mut self, _: TrainingProgress, _: Vec<ProgressType>) {}
    fn render_valid(&mut self, _: TrainingProgress, _: Vec<ProgressType>) {}
}

impl MetricsRendererEvaluation for NoRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    fn render_test(&mut self, _: EvaluationProgress, _: Vec<ProgressType>) {}
}

impl MetricsRenderer for NoRenderer {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}
