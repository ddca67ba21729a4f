//! A training run from its parts to the finished folder, of an adapter or of a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use burn::tensor::backend::AutodiffBackend;
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::arguments::{PassDefaults, TrainingArguments};
use super::checkpoint::{Checkpoints, LoopState, OldRun, SavedRun};
use super::evaluate::EvalMetrics;
use super::learner::Components;
use super::loader::{EvaluationLoader, WindowLoader};
use super::manifest;
use super::metric_log::{self, MetricLog};
use super::metrics::{Figure, TrainFigures, name};
use super::monitor::Monitor;
use super::optimizer::SharedAdamW;
use super::schedule::Schedule;
use super::state::TrainerState;
use super::strategy::{FineTuning, Outcome, RunState};
use super::trained::Trainee;
use crate::bad_input;
use crate::data::batching::{BatchPlan, evaluation_batches};
use crate::data::encode::EncodedRow;
use crate::files::{copy_into, hash, is_same_folder};
use crate::model::Qwen2ForCausalLm;
use crate::weights::adapter::Adapter;
use crate::weights::adapter_config::AdapterConfig;
use crate::weights::trained_model::ModelFormat;

/// Rows to train on and to validate on.
pub struct TrainingData {
    pub train: Arc<Vec<EncodedRow>>,
    /// May be empty where nothing evaluates.
    pub eval: Vec<EncodedRow>,
}

/// Who watches a run and may stop it, and where it runs.
pub struct Surroundings<R> {
    /// Draws the figures of log entries and evaluations.
    pub renderer: R,
    pub monitor: Arc<dyn Monitor>,
    pub interrupter: Interrupter,
    /// What the device computes well at a time.
    pub pass_defaults: PassDefaults,
}

/// The finished run.
#[derive(Debug)]
pub struct TrainReport {
    pub outcome: Outcome,
    /// Where the adapter, or the model, lies.
    pub output_dir: PathBuf,
}

/// How `args` split `rows` into optimizer steps.
pub fn batch_plan(args: &TrainingArguments, rows: usize, defaults: PassDefaults) -> BatchPlan {
    BatchPlan {
        rows,
        micro_batch_size: args.per_device_train_batch_size,
        accumulation_steps: args.gradient_accumulation_steps,
        epochs: args.num_train_epochs,
        max_steps: args.step_limit(),
        shuffle: args.shuffle,
        seed: args.seed,
        passes: args.passes(args.per_device_train_batch_size, defaults),
    }
}

/// What a run starts with.
pub struct Start {
    pub trained: StartWeights,
    /// The rest of its state, when it resumes.
    pub saved: Option<SavedRun>,
    /// Whether to resume although the config, the data or the base has changed.
    pub accepts_changes: bool,
    /// What has to make way, once nothing can refuse the run any more.
    pub old_run: Option<OldRun>,
}

/// The weights to begin with.
pub enum StartWeights {
    Adapter(Adapter),
    /// They are in the model that is to be trained.
    InModel(Arc<ModelFormat>),
}

impl Start {
    /// A new run that trains an adapter.
    pub fn fresh(adapter: Adapter) -> Self {
        Self { trained: StartWeights::Adapter(adapter), saved: None, accepts_changes: false, old_run: None }
    }

    /// Goes on with the adapter of a checkpoint.
    pub fn resumed(saved: SavedRun) -> Result<Self> {
        let trained = StartWeights::Adapter(Adapter::read(&saved.folder)?);
        Ok(Self { trained, saved: Some(saved), accepts_changes: false, old_run: None })
    }
}

/// Keys of the `training` section that a resumed run may change: paths, logging, and what to keep.
const MAY_CHANGE: [&str; 6] =
    ["output_dir", "logging_dir", "logging_steps", "report_to", "resume_from_checkpoint", "save_total_limit"];

/// What a run rests on: a resumed one must rest on the same.
fn fingerprint(
    args: &TrainingArguments,
    lora_dropout: f64,
    data: &TrainingData,
    base: String,
) -> BTreeMap<String, String> {
    let rows = |rows: &[EncodedRow]| {
        let ids =
            rows.iter().flat_map(|row| row.input_ids.iter().map(|id| *id as u64).chain([row.labelled.start as u64]));
        format!("{} with hash {:016x}", rows.len(), hash(ids))
    };
    let parts = [
        ("the base model", base),
        ("the training rows", rows(&data.train)),
        ("the validation rows", rows(&data.eval)),
        ("lora.lora_dropout", lora_dropout.to_string()),
    ];
    let keys = serde_json::to_value(args).expect("the arguments serialise");
    let keys = keys.as_object().into_iter().flatten().filter(|(key, _)| !MAY_CHANGE.contains(&key.as_str()));
    let keys = keys.map(|(key, value)| (format!("training.{key}"), value.to_string()));
    parts.into_iter().map(|(name, value)| (name.to_string(), value)).chain(keys).collect()
}

/// Makes sure that a resumed run's best checkpoint lies in its `output_dir`, whence it is loaded at the end.
fn bring_best(state: &mut TrainerState, resumed: &Path, output_dir: &Path, monitor: &dyn Monitor) -> Result<()> {
    let Some(best) = state.best_global_step else {
        return Ok(());
    };
    let wanted = Checkpoints::of(output_dir).path(best);
    let sibling = Checkpoints::of(resumed.parent().unwrap_or(Path::new(""))).path(best);
    let recorded = state.best_model_checkpoint.clone().map(PathBuf::from);
    let found = [Some(sibling), recorded].into_iter().flatten().find(|folder| manifest::problem(folder).is_none());
    match found {
        Some(found) => {
            if !is_same_folder(&wanted, &found) {
                for entry in std::fs::read_dir(&found).with_context(|| format!("cannot read {}", found.display()))? {
                    copy_into(&entry?.path(), &wanted)?;
                }
            }
            state.best_model_checkpoint = Some(wanted.display().to_string());
        }
        None => {
            monitor.note(format!(
                "the best checkpoint so far (step {best}) is damaged or not there any more: the best is searched from here on"
            ));
            state.forget_best();
        }
    }
    Ok(())
}

/// Trains an adapter for `model` (the base, without adapter) or all of `model`'s weights, and writes the result to
/// `output_dir`.
pub fn train<B: AutodiffBackend, R: MetricsRenderer + 'static>(
    model: Qwen2ForCausalLm<B>,
    start: Start,
    lora_dropout: f64,
    args: &TrainingArguments,
    data: TrainingData,
    base_fingerprint: String,
    surroundings: Surroundings<R>,
) -> Result<TrainReport> {
    let fingerprint = fingerprint(args, lora_dropout, &data, base_fingerprint);
    let plan = Arc::new(batch_plan(args, data.train.len(), surroundings.pass_defaults));
    let device = model.device();
    let (trainee, mut model) = match &start.trained {
        StartWeights::Adapter(adapter) => {
            let config = AdapterConfig { lora_dropout, ..adapter.config.clone() };
            (Trainee::Adapter(config), adapter.attach(model, lora_dropout))
        }
        StartWeights::InModel(format) => (Trainee::Model(format.clone()), model),
    };
    model.model.gradient_checkpointing = args.gradient_checkpointing;
    let optimizer = SharedAdamW::new(args);
    let mut run = match &start.saved {
        None => {
            let loop_state = LoopState { fingerprint, ..LoopState::default() };
            RunState { state: TrainerState::new(args, &plan), loop_state }
        }
        Some(saved) => {
            let differences = saved.loop_state.differences(&fingerprint);
            if !differences.is_empty() && !start.accepts_changes {
                bad_input!(
                    "{} cannot be resumed with this config, which describes another run:\n  {}\nTo go on all the same: \
                     --accept-changes",
                    saved.folder.display(),
                    differences.join("\n  ")
                );
            }
            for difference in differences {
                surroundings.monitor.note(format!("going on although {difference}"));
            }
            optimizer.load(&saved.optimizer_file(), &model, saved.state.global_step, &device)?;
            let mut state = saved.state.clone();
            state.max_steps = plan.total_steps();
            RunState { state, loop_state: LoopState { fingerprint, ..saved.loop_state.clone() } }
        }
    };
    let first_step = run.state.global_step;
    if first_step > plan.total_steps() {
        bad_input!("the checkpoint is at step {first_step}, but the config ends at step {}", plan.total_steps());
    }
    if first_step == plan.total_steps() {
        let more = "a larger num_train_epochs or max_steps, with --accept-changes, trains on";
        surroundings
            .monitor
            .note(format!("the checkpoint is at the run's last step, so nothing is left to train; {more}"));
    }
    let schedule = Schedule {
        kind: args.lr_scheduler_type,
        learning_rate: args.learning_rate,
        warmup_steps: args.warmup_steps,
        total_steps: plan.total_steps(),
        next_step: first_step,
    };
    let windows = WindowLoader { plan: plan.clone(), rows: data.train, first_step };
    let passes = args.passes(args.per_device_eval_batch_size, surroundings.pass_defaults);
    let batches = evaluation_batches(&data.eval, passes);
    std::fs::create_dir_all(&args.output_dir)
        .with_context(|| format!("cannot create output_dir {}", args.output_dir.display()))?;
    metric_log::prepare(&args.logging_dir, &run.state, surroundings.monitor.as_ref())?;
    if let Some(old_run) = &start.old_run {
        old_run.remove()?;
    }
    if let Some(saved) = start.saved.as_ref().filter(|_| args.load_best_model_at_end) {
        bring_best(&mut run.state, &saved.folder, &args.output_dir, surroundings.monitor.as_ref())?;
    }

    let outcome = Arc::new(Mutex::new(None));
    let strategy = FineTuning {
        args: args.clone(),
        plan,
        trainee: trainee.clone(),
        optimizer: optimizer.clone(),
        monitor: surroundings.monitor.clone(),
        start: run,
        outcome: outcome.clone(),
    };
    let training: SupervisedTraining<Components<B>> = SupervisedTraining::new(
        &args.logging_dir,
        Arc::new(windows),
        Arc::new(EvaluationLoader { batches: Arc::new(batches) }),
    );
    training
        .metric_train_numeric(Figure::<TrainFigures>::new(name::LOSS, false, |f| f.loss))
        .metric_train_numeric(Figure::<TrainFigures>::new(name::GRAD_NORM, false, |f| f.grad_norm))
        .metric_train_numeric(Figure::<TrainFigures>::new(name::LEARNING_RATE, true, |f| f.learning_rate))
        .metric_train_numeric(Figure::<TrainFigures>::new(name::EPOCH, true, |f| f.epoch))
        .metric_train_numeric(Figure::<TrainFigures>::new(name::LABEL_TOKENS_PER_S, true, |f| f.label_tokens_per_s))
        .metric_valid_numeric(Figure::<EvalMetrics>::new(name::LOSS, false, |m| m.loss))
        .metric_valid_numeric(Figure::<EvalMetrics>::new(name::TOKEN_ACCURACY, true, |m| m.token_accuracy))
        .with_metric_logger(MetricLog::new(&args.logging_dir, surroundings.monitor.clone()))
        .renderer(surroundings.renderer)
        .with_interrupter(surroundings.interrupter)
        .with_application_logger(None)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
        .launch(Learner::new(model, optimizer, schedule));

    let outcome = outcome.lock().expect("nobody panicked holding it").take();
    let outcome = outcome.expect("the strategy leaves an outcome")?;
    finish(outcome, &trainee, args, surroundings.monitor.as_ref())
}

/// Leaves the best weights (or the last) and the run's state in `output_dir`.
fn finish(
    mut outcome: Outcome,
    trainee: &Trainee,
    args: &TrainingArguments,
    monitor: &dyn Monitor,
) -> Result<TrainReport> {
    let output_dir = &args.output_dir;
    if outcome.interrupted.is_none() {
        let checkpoints = Checkpoints::of(output_dir);
        if let (true, Some(best)) = (args.load_best_model_at_end, outcome.state.best_global_step) {
            let path = checkpoints.path(best);
            match manifest::problem(&path) {
                None => outcome.trained = trainee.read(&path)?,
                Some(problem) => {
                    monitor.note(format!(
                        "warning: the best checkpoint, {}, is damaged or not there any more ({problem}): the last \
                         weights are kept instead",
                        path.display()
                    ));
                    outcome.state.forget_best();
                }
            }
        }
        if !outcome.trained.is_finite() {
            bail!("the trained weights are not all finite numbers, so they were not written; lower learning_rate");
        }
        outcome.trained.write(output_dir)?;
        outcome.state.write(output_dir)?;
    }
    Ok(TrainReport { outcome, output_dir: output_dir.clone() })
}
