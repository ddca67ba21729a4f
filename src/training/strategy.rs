//! The training loop: next window, forward, backward, clip, step, report, maybe evaluate, maybe save.
//!
//! burn-train's stock loop steps the schedule per micro batch, drops the last window of an epoch and evaluates per
//! epoch only; this one takes its place in `SupervisedTraining` and steps as transformers' Trainer does. Decisions
//! (best, early stopping, what to keep) rest on the figure just measured, not on burn-train's event store, which is
//! written by another thread.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use burn::data::dataloader::Progress;
use burn::module::{AutodiffModule, list_param_ids};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use super::arguments::{IntervalStrategy, TrainingArguments};
use super::checkpoint::{Checkpoints, LoopState, Saver, Snapshot};
use super::clipping::clip_grad_norm;
use super::divergence::{MOST_UNREAD, Unread, check_finite, diverged};
use super::early_stopping::EarlyStopping;
use super::evaluate::{EvalMetrics, evaluate};
use super::learner::Components;
use super::metrics::{IntoScalarF64, TrainFigures, TrainItem};
use super::monitor::{Monitor, Phase};
use super::optimizer::SharedAdamW;
use super::state::{TrainerState, early_stopping};
use super::trained::{Trained, Trainee};
use crate::data::batching::BatchPlan;
use crate::model::Qwen2ForCausalLm;

/// Steps at a run's start that are left out of its speed: they pay for caches and compilation.
const UNTIMED_STEPS: usize = 2;

/// Where a run stands, and at its end, how it went.
#[derive(Debug, Clone)]
pub struct RunState {
    pub state: TrainerState,
    pub loop_state: LoopState,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub state: TrainerState,
    /// The weights after the last step.
    pub trained: Trained,
    /// Someone asked to stop.
    pub interrupted: Option<Interruption>,
    pub label_tokens_per_s: Option<f64>,
}

/// Where a run was when it was asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing was trained that could be saved.
    BeforeFirstStep,
    /// The checkpoint to go on from.
    Saved(PathBuf),
}

/// A [`SupervisedLearningStrategy`] that leaves its outcome in `outcome`: `fit` itself cannot fail.
pub struct FineTuning<B: AutodiffBackend> {
    pub args: TrainingArguments,
    pub plan: Arc<BatchPlan>,
    pub trainee: Trainee,
    pub optimizer: SharedAdamW<Qwen2ForCausalLm<B>, B>,
    pub monitor: Arc<dyn Monitor>,
    pub start: RunState,
    pub outcome: Arc<Mutex<Option<Result<Outcome>>>>,
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for FineTuning<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        learner: Learner<Components<B>>,
        windows: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _: usize,
    ) -> (Qwen2ForCausalLm<B>, SupervisedTrainingEventProcessor<Components<B>>) {
        let mut run = Run::new(self, learner, components.event_processor, components.interrupter, validation);
        let outcome = run.train(windows);
        *self.outcome.lock().expect("nobody panicked holding it") = Some(outcome);
        (run.learner.model(), run.events)
    }
}

/// One run of the loop.
struct Run<'a, B: AutodiffBackend> {
    strategy: &'a FineTuning<B>,
    learner: Learner<Components<B>>,
    events: SupervisedTrainingEventProcessor<Components<B>>,
    interrupter: Interrupter,
    validation: ValidLoader<Components<B>>,
    saver: Saver,
    early_stopping: Option<EarlyStopping>,
    state: TrainerState,
    /// Sum of the losses since the last log entry, on the device until the entry is written.
    loss_since_log: Tensor<B::InnerBackend, 1>,
    steps_since_log: usize,
    /// Steps whose figures were not looked at yet.
    unread: Vec<Unread<B>>,
    last_saved: Option<usize>,
    /// The last step's evaluation is due, but was not finished.
    evaluation_pending: bool,
    speed: Speed,
}

/// Why a run ends before its last step.
enum End {
    EarlyStop,
    Interrupted(Interruption),
}

/// What is to be done after a step.
#[derive(Clone, Copy)]
struct Due {
    log: bool,
    evaluate: bool,
    save: bool,
}

impl Due {
    fn any(self) -> bool {
        self.log || self.evaluate || self.save
    }
}

/// Label tokens and the time that they took.
#[derive(Default)]
struct Speed {
    steps: usize,
    label_tokens: usize,
    seconds: Duration,
}

impl Speed {
    fn add(&mut self, label_tokens: usize, time: Duration) {
        self.steps += 1;
        if self.steps > UNTIMED_STEPS {
            self.label_tokens += label_tokens;
            self.seconds += time;
        }
    }

    fn label_tokens_per_s(&self) -> Option<f64> {
        (self.label_tokens > 0).then(|| self.label_tokens as f64 / self.seconds.as_secs_f64())
    }
}

impl<'a, B: AutodiffBackend> Run<'a, B> {
    fn new(
        strategy: &'a FineTuning<B>,
        learner: Learner<Components<B>>,
        events: SupervisedTrainingEventProcessor<Components<B>>,
        interrupter: Interrupter,
        validation: ValidLoader<Components<B>>,
    ) -> Self {
        let RunState { state, loop_state } = strategy.start.clone();
        let device = learner.model().device();
        let args = &strategy.args;
        let checkpoints = Checkpoints { output_dir: args.output_dir.clone(), save_total_limit: args.save_total_limit };
        Self {
            strategy,
            learner,
            events,
            interrupter,
            validation,
            saver: Saver::new(checkpoints),
            early_stopping: early_stopping(args),
            last_saved: (state.global_step > 0 && !loop_state.evaluation_pending).then_some(state.global_step),
            evaluation_pending: loop_state.evaluation_pending,
            state,
            loss_since_log: Tensor::from_floats([loop_state.loss_since_log], &device),
            steps_since_log: loop_state.steps_since_log,
            unread: Vec::new(),
            speed: Speed::default(),
        }
    }

    fn train(&mut self, windows: TrainLoader<Components<B>>) -> Result<Outcome> {
        self.continue_metric_logs();
        let mut windows = windows.iter();
        // A figure to start from; there is nothing yet that could be the best.
        if self.strategy.args.eval_on_start && self.state.global_step == 0 && self.evaluate()?.is_none() {
            return Ok(self.outcome(Some(Interruption::BeforeFirstStep)));
        }
        let mut end = if self.evaluation_pending {
            self.after_step(None)? // saved while its evaluation was cut short: do now what was left undone then
        } else {
            self.patience_is_used_up().then_some(End::EarlyStop) // a run that had ended ends again
        };
        while end.is_none()
            && let Some(window) = windows.next()
        {
            let started = Instant::now();
            let (label_count, rows) = (window.label_count, window.rows.clone());
            let output = self.learner.train_step(window);
            let mut gradients = output.grads;
            if self.state.global_step == 0 {
                self.check_all_parameters_train(gradients.len())?;
            }
            let model = self.learner.model();
            let grad_norm = clip_grad_norm(&model, &mut gradients, self.strategy.args.max_grad_norm);
            self.learner.lr_step();
            self.learner.optimizer_step(gradients);
            self.count_step(output.item, rows, &grad_norm);
            if self.due().any() || self.speed.steps < UNTIMED_STEPS {
                B::sync(&model.device())?; // so that the time is training's own
            }
            self.speed.add(label_count, started.elapsed());
            end = self.after_step(Some(grad_norm))?;
        }
        check_finite(&std::mem::take(&mut self.unread))?;
        if !self.hear_of_save() {
            self.save()?;
            self.finish_saving()?;
        }
        Ok(self.outcome(match end {
            Some(End::Interrupted(interruption)) => Some(interruption),
            Some(End::EarlyStop) | None => None,
        }))
    }

    fn outcome(&self, interrupted: Option<Interruption>) -> Outcome {
        Outcome {
            state: self.state.clone(),
            trained: self.trained(),
            interrupted,
            label_tokens_per_s: self.speed.label_tokens_per_s(),
        }
    }

    /// Logs, evaluates and saves what is due after the step just done; says whether the run ends here.
    fn after_step(&mut self, grad_norm: Option<Tensor<B::InnerBackend, 1>>) -> Result<Option<End>> {
        if self.saver.has_ended() {
            self.hear_of_save();
        }
        let due = self.due();
        let asked_to_stop = self.interrupter.should_stop() && self.state.global_step < self.state.max_steps;
        if let Some(grad_norm) = grad_norm
            && (due.any() || asked_to_stop || self.unread.len() >= MOST_UNREAD)
        {
            if due.log {
                let figures = self.figures(grad_norm);
                self.log(&figures);
            }
            check_finite(&std::mem::take(&mut self.unread))?; // before anything is saved
        }
        let (mut new_best, mut stop_early) = (false, false);
        self.evaluation_pending = due.evaluate;
        if due.evaluate
            && let Some(metrics) = self.evaluate()?
        {
            self.evaluation_pending = false;
            (new_best, stop_early) = self.judge(&metrics);
        }
        let interrupted = self.evaluation_pending || asked_to_stop;
        if due.save || (new_best && self.saves_best()) || stop_early || interrupted {
            self.save()?;
        }
        if interrupted {
            self.finish_saving()?; // the user is told where to go on from: it must be there
        }
        Ok(match (interrupted, stop_early) {
            (true, _) => {
                let checkpoint = self.saver.checkpoints.path(self.state.global_step);
                Some(End::Interrupted(Interruption::Saved(checkpoint)))
            }
            (false, true) => Some(End::EarlyStop),
            (false, false) => None,
        })
    }

    fn patience_is_used_up(&self) -> bool {
        self.early_stopping.is_some_and(|early| self.state.patience_used() >= early.patience)
    }

    /// A parameter that was left out of autodiff would silently never train.
    fn check_all_parameters_train(&self, gradients: usize) -> Result<()> {
        let parameters = list_param_ids(&self.learner.model()).len();
        if gradients != parameters {
            bail!("{gradients} of {parameters} parameters received a gradient: this is a bug");
        }
        Ok(())
    }

    fn count_step(
        &mut self,
        item: TrainItem<B::InnerBackend>,
        rows: Vec<usize>,
        grad_norm: &Tensor<B::InnerBackend, 1>,
    ) {
        self.steps_since_log += 1;
        self.state.global_step += 1;
        if let TrainItem::Step(loss) = item {
            self.loss_since_log = self.loss_since_log.clone() + loss.clone();
            self.unread.push(Unread { step: self.state.global_step, rows, loss, grad_norm: grad_norm.clone() });
        }
        self.state.epoch = self.strategy.plan.epoch_after(self.state.global_step);
        self.strategy.monitor.phase(Phase::Training { step: self.state.global_step });
    }

    /// What is to be done after the step just done. The last step is always evaluated and saved.
    fn due(&self) -> Due {
        let args = &self.strategy.args;
        let step = self.state.global_step;
        let on_grid = |strategy: IntervalStrategy, every: usize| match strategy {
            IntervalStrategy::No => false,
            IntervalStrategy::Steps => step.is_multiple_of(every) || step == self.state.max_steps,
            IntervalStrategy::Epoch => {
                step.is_multiple_of(self.strategy.plan.steps_per_epoch()) || step == self.state.max_steps
            }
        };
        Due {
            log: step.is_multiple_of(args.logging_steps),
            evaluate: on_grid(args.evaluation_strategy, args.eval_steps),
            save: on_grid(args.save_strategy, args.save_steps),
        }
    }

    /// The figures as of the step just done, read from the device.
    fn figures(&self, grad_norm: Tensor<B::InnerBackend, 1>) -> TrainFigures {
        TrainFigures {
            loss: self.loss_since_log.clone().into_scalar_f64() / self.steps_since_log as f64,
            grad_norm: grad_norm.into_scalar_f64(),
            learning_rate: self.learner.lr_current(),
            epoch: self.state.epoch,
            label_tokens_per_s: self.speed.label_tokens_per_s().unwrap_or(f64::NAN),
        }
    }

    fn log(&mut self, figures: &TrainFigures) {
        self.loss_since_log = self.loss_since_log.zeros_like();
        self.steps_since_log = 0;
        self.state.log_training(figures);
        let item = self.training_item(TrainItem::Entry(*figures));
        self.events.process_train(LearnerEvent::ProcessedItem(item));
    }

    fn training_item<T>(&self, item: T) -> TrainingItem<T> {
        let (step, total) = (self.state.global_step, self.state.max_steps);
        let rounds = Progress::new(self.state.evaluations() + 1, self.state.evaluations() + 1);
        TrainingItem::new(item, Progress::new(step, total), rounds, Some(step), Some(self.learner.lr_current()))
    }

    /// Scores the validation set; `None` if asked to stop meanwhile.
    fn evaluate(&mut self) -> Result<Option<EvalMetrics>> {
        let model = self.learner.model().valid();
        let total = self.validation.num_items();
        let (monitor, interrupter) = (&self.strategy.monitor, &self.interrupter);
        let metrics = evaluate(&model, self.validation.iter(), |done| {
            monitor.phase(Phase::Evaluating { done, total });
            !interrupter.should_stop()
        });
        let Some(metrics) = metrics else {
            return Ok(None);
        };
        if !metrics.loss.is_finite() {
            bail!("{}", diverged(&format!("the validation loss is {}", metrics.loss), self.state.global_step));
        }
        self.state.log_evaluation(&metrics);
        let round = self.state.evaluations();
        // burn-train calls the stretch up to an evaluation an epoch, and counts them.
        self.events.process_train(LearnerEvent::EndEpoch(round));
        let item = self.training_item(metrics);
        self.events.process_valid(LearnerEvent::ProcessedItem(item));
        self.events.process_valid(LearnerEvent::EndEpoch(round));
        self.strategy.monitor.phase(Phase::Training { step: self.state.global_step });
        Ok(Some(metrics))
    }

    /// Whether the evaluation is the best so far, and whether it is time to stop.
    fn judge(&mut self, metrics: &EvalMetrics) -> (bool, bool) {
        let metric = self.strategy.args.metric_for_best_model;
        let value = metric.of(metrics);
        let mut stop = false;
        if let Some(early) = self.early_stopping {
            let count = early.count(metric, value, self.state.best_metric, self.state.patience_used());
            self.state.set_patience_used(early, count);
            stop = self.patience_is_used_up() && self.state.global_step < self.state.max_steps;
            if stop {
                self.note(format!(
                    "early stopping at step {}: {count} evaluations without a better one",
                    self.state.global_step
                ));
            }
        }
        let new_best = self.state.best_metric.is_none_or(|best| metric.is_better(value, best));
        if new_best {
            self.state.best_metric = Some(value);
            self.state.best_global_step = Some(self.state.global_step);
        }
        (new_best, stop)
    }

    /// Whether a new best is saved even between two `save_steps`: without it, there would be nothing to load.
    fn saves_best(&self) -> bool {
        self.strategy.args.load_best_model_at_end
    }

    /// Takes a checkpoint and lets it be written while training goes on.
    fn save(&mut self) -> Result<()> {
        if self.last_saved == Some(self.state.global_step) {
            return Ok(());
        }
        self.hear_of_save();
        // Only an evaluated checkpoint can be the best.
        if self.state.best_global_step == Some(self.state.global_step) {
            let path = self.saver.checkpoints.path(self.state.global_step);
            self.state.best_model_checkpoint = Some(path.display().to_string());
        }
        let loop_state = LoopState {
            loss_since_log: self.loss_since_log.clone().into_scalar_f64() as f32,
            steps_since_log: self.steps_since_log,
            evaluation_pending: self.evaluation_pending,
            fingerprint: self.strategy.start.loop_state.fingerprint.clone(),
        };
        let trained = self.trained();
        if !trained.is_finite() {
            bail!("{}", diverged("a weight is not finite", self.state.global_step));
        }
        self.saver.begin(Snapshot {
            trained,
            optimizer: self.strategy.optimizer.to_file(&self.learner.model())?,
            state: self.state.clone(),
            loop_state,
        });
        self.last_saved = Some(self.state.global_step);
        Ok(())
    }

    /// Waits for the save under way and says whether it worked. If not, the checkpoints before it are whole, and the
    /// next one may work.
    fn hear_of_save(&mut self) -> bool {
        let saved = self.finish_saving();
        if let Err(error) = &saved {
            self.note(format!("warning: {error:#}; training goes on and tries again"));
        }
        saved.is_ok()
    }

    /// Waits until the checkpoint that is being written is there.
    fn finish_saving(&mut self) -> Result<()> {
        self.strategy.monitor.phase(Phase::Saving);
        let saved = self.saver.wait();
        self.strategy.monitor.phase(Phase::Training { step: self.state.global_step });
        match saved {
            Some(Ok(path)) => self.note(format!("saved {}", path.display())),
            Some(Err(error)) => {
                self.last_saved = None;
                return Err(error);
            }
            None => {}
        }
        Ok(())
    }

    fn trained(&self) -> Trained {
        self.strategy.trainee.extract(&self.learner.model())
    }

    fn note(&self, text: String) {
        self.strategy.monitor.note(text);
    }

    /// burn-train's metric logs count evaluations from 1; a resumed run adds to those of its own.
    fn continue_metric_logs(&mut self) {
        let rounds = self.state.evaluations();
        if rounds > 0 {
            self.events.process_train(LearnerEvent::EndEpoch(rounds));
            self.events.process_valid(LearnerEvent::EndEpoch(rounds));
        }
    }
}
