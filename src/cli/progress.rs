//! Watching a training run: figures from burn-train's renderer, the pulse from the monitor, drawn as a dashboard in a
//! terminal and as lines anywhere else.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::train::metric::{MetricDefinition, MetricId};
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};
use burn::train::{Interrupter, LearnerSummary};

use super::dashboard::Dashboard;
use super::{Session, output};
use crate::backend::Device;
use crate::training::metrics::name;
use crate::training::monitor::{Monitor, Phase};

/// What is known of a run before it starts.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub title: String,
    pub total_steps: usize,
    /// Whether to draw the dashboard where stderr is a terminal.
    pub dashboard: bool,
}

impl RunFacts {
    pub fn new(session: &Session, device: &Device, total_steps: usize) -> Self {
        let title = format!("{} on {}", session.config.model_name, device.name());
        Self { title, total_steps, dashboard: true }
    }
}

/// How many notes stay on the screen after the dashboard.
const LAST_NOTES: usize = 3;

/// A curve: (step, value), in order.
pub type Curve = Vec<(f64, f64)>;

/// All that has been heard of the run so far.
pub struct Board {
    pub facts: RunFacts,
    pub phase: Phase,
    pub step: usize,
    /// The step at which this process started, and when.
    pub first_step: Option<usize>,
    pub started: Instant,
    pub train: HashMap<&'static str, Curve>,
    pub valid: HashMap<&'static str, Curve>,
    pub notes: Vec<String>,
}

impl Board {
    fn new(facts: RunFacts) -> Self {
        Self {
            facts,
            phase: Phase::Training { step: 0 },
            step: 0,
            first_step: None,
            started: Instant::now(),
            train: HashMap::new(),
            valid: HashMap::new(),
            notes: Vec::new(),
        }
    }

    /// Time to the last step at the pace so far.
    pub fn time_left(&self) -> Option<Duration> {
        let done = self.step.checked_sub(self.first_step?)?;
        let left = self.facts.total_steps.saturating_sub(self.step);
        (done > 0).then(|| self.started.elapsed().mul_f64(left as f64 / done as f64))
    }

    pub fn latest(curves: &HashMap<&'static str, Curve>, name: &str) -> Option<f64> {
        curves.get(name)?.last().map(|(_, value)| *value)
    }
}

/// `1:02:03`, or `02:03` within an hour.
pub fn clock(duration: Duration) -> String {
    let s = duration.as_secs();
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m:02}:{s:02}") }
}

/// The known name of a metric: names are keys of the curves.
fn known_name(name: &str) -> Option<&'static str> {
    use name::*;
    [LOSS, GRAD_NORM, LEARNING_RATE, EPOCH, LABEL_TOKENS_PER_S, TOKEN_ACCURACY].into_iter().find(|known| *known == name)
}

/// Watches one run.
pub struct Watcher {
    board: Arc<Mutex<Board>>,
    dashboard: Option<Dashboard>,
}

impl Watcher {
    pub fn start(facts: RunFacts, interrupter: Interrupter) -> Result<Self> {
        let draws = facts.dashboard && std::io::stderr().is_terminal();
        let board = Arc::new(Mutex::new(Board::new(facts)));
        let dashboard = if draws { Some(Dashboard::start(board.clone(), interrupter)?) } else { None };
        Ok(Self { board, dashboard })
    }

    pub fn renderer(&self) -> Listener {
        Listener { board: self.board.clone(), lines: self.dashboard.is_none(), names: HashMap::new() }
    }

    /// Whether progress is printed line by line.
    pub fn prints_lines(&self) -> bool {
        self.dashboard.is_none()
    }

    pub fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::new(Pulse { board: self.board.clone(), lines: self.dashboard.is_none() })
    }

    /// Gives the terminal back and leaves the run's last notes where the dashboard was.
    pub fn finish(self) {
        if let Some(dashboard) = self.dashboard {
            dashboard.finish();
            let notes = &lock(&self.board).notes;
            for note in &notes[notes.len().saturating_sub(LAST_NOTES)..] {
                output::inform(note);
            }
        }
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Hears what the run is doing.
struct Pulse {
    board: Arc<Mutex<Board>>,
    lines: bool,
}

impl Monitor for Pulse {
    fn phase(&self, phase: Phase) {
        let mut board = lock(&self.board);
        if let Phase::Training { step } = phase {
            if board.first_step.is_none() {
                board.first_step = Some(step.saturating_sub(1));
            }
            board.step = step;
        }
        board.phase = phase;
    }

    fn note(&self, text: String) {
        if self.lines {
            output::inform(&text);
        }
        lock(&self.board).notes.push(text);
    }
}

/// Hears the figures.
pub struct Listener {
    board: Arc<Mutex<Board>>,
    lines: bool,
    names: HashMap<MetricId, &'static str>,
}

impl Listener {
    fn record(
        &self,
        state: MetricState,
        curves: impl Fn(&mut Board) -> &mut HashMap<&'static str, Curve>,
        step: usize,
    ) {
        if let MetricState::Numeric(entry, value) = state
            && let Some(name) = self.names.get(&entry.metric_id)
        {
            let mut board = lock(&self.board);
            curves(&mut board).entry(name).or_default().push((step as f64, value.current()));
        }
    }

    fn step(&self) -> usize {
        lock(&self.board).step
    }

    fn print_training(&self, step: usize) {
        let board = lock(&self.board);
        let figure = |name| Board::latest(&board.train, name).unwrap_or(f64::NAN);
        let speed = figure(name::LABEL_TOKENS_PER_S);
        let speed = if speed.is_finite() { format!("  {speed:.0} label tok/s") } else { String::new() };
        let left = board.time_left().map(|left| format!("  {} left", clock(left))).unwrap_or_default();
        output::inform(&format!(
            "step {step}/{}  epoch {:.2}  loss {:.4}  grad norm {:.3}  lr {:.2e}{speed}{left}",
            board.facts.total_steps,
            figure(name::EPOCH),
            figure(name::LOSS),
            figure(name::GRAD_NORM),
            figure(name::LEARNING_RATE),
        ));
    }

    fn print_validation(&self, step: usize) {
        let board = lock(&self.board);
        let figure = |name| Board::latest(&board.valid, name).unwrap_or(f64::NAN);
        output::inform(&format!(
            "step {step}/{}  validation loss {:.4}  token accuracy {:.1} %",
            board.facts.total_steps,
            figure(name::LOSS),
            100.0 * figure(name::TOKEN_ACCURACY),
        ));
    }
}

impl MetricsRendererTraining for Listener {
    fn update_train(&mut self, state: MetricState) {
        self.record(state, |board| &mut board.train, self.step());
    }

    fn update_valid(&mut self, state: MetricState) {
        self.record(state, |board| &mut board.valid, self.step());
    }

    fn render_train(&mut self, item: TrainingProgress, _: Vec<ProgressType>) {
        if self.lines {
            self.print_training(item.iteration.unwrap_or(0));
        }
    }

    fn render_valid(&mut self, item: TrainingProgress, _: Vec<ProgressType>) {
        if self.lines {
            self.print_validation(item.iteration.unwrap_or(0));
        }
    }

    fn on_train_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn std::error::Error>> {
        Ok(()) // burn-train would print a summary of its own
    }
}

impl MetricsRendererEvaluation for Listener {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    fn render_test(&mut self, _: EvaluationProgress, _: Vec<ProgressType>) {}
}

impl MetricsRenderer for Listener {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if let Some(name) = known_name(&definition.name) {
            self.names.insert(definition.metric_id, name);
        }
    }
}
