//! A training run from its parts to the finished adapter folder.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use burn::tensor::backend::AutodiffBackend;
use burn::train::renderer::MetricsRenderer;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::arguments::TrainingArguments;
use super::checkpoint::{Checkpoints, LoopState, SavedRun};
use super::evaluate::EvalMetrics;
use super::learner::Components;
use super::loader::{EvaluationLoader, WindowLoader};
use super::metrics::{Figure, TrainFigures, name};
use super::monitor::Monitor;
use super::optimizer::SharedAdamW;
use super::schedule::Schedule;
use super::state::TrainerState;
use super::strategy::{FineTuning, Outcome, RunState};
use crate::bad_input;
use crate::data::batching::{BatchPlan, evaluation_batches};
use crate::data::encode::EncodedRow;
use crate::model::Qwen2ForCausalLm;
use crate::weights::adapter::{Adapter, AdapterConfig};

/// Rows to train on and to validate on.
pub struct TrainingData {
    pub train: Arc<Vec<EncodedRow>>,
    pub eval: Vec<EncodedRow>,
    pub pad_token_id: i32,
}

/// Who watches a run and may stop it.
pub struct Surroundings<R> {
    /// Draws the figures of log entries and evaluations.
    pub renderer: R,
    pub monitor: Arc<dyn Monitor>,
    pub interrupter: Interrupter,
}

/// The finished run.
#[derive(Debug)]
pub struct TrainReport {
    pub outcome: Outcome,
    /// Where the adapter lies.
    pub adapter: PathBuf,
}

/// How `args` split `rows` into optimizer steps.
pub fn batch_plan(args: &TrainingArguments, rows: usize) -> BatchPlan {
    BatchPlan {
        rows,
        micro_batch_size: args.per_device_train_batch_size,
        accumulation_steps: args.gradient_accumulation_steps,
        epochs: args.num_train_epochs,
        max_steps: args.step_limit(),
        shuffle: args.shuffle,
        seed: args.seed,
    }
}

/// The adapter that a run starts with and, when it resumes, the rest of its state.
pub enum Start {
    Fresh(Adapter),
    Resumed(Box<SavedRun>),
}

impl Start {
    pub fn adapter(&self) -> &Adapter {
        match self {
            Self::Fresh(adapter) => adapter,
            Self::Resumed(saved) => &saved.adapter,
        }
    }

    pub fn adapter_mut(&mut self) -> &mut Adapter {
        match self {
            Self::Fresh(adapter) => adapter,
            Self::Resumed(saved) => &mut saved.adapter,
        }
    }
}

/// Trains `model` (the base, without adapter) and writes the result to `output_dir`.
pub fn train<B: AutodiffBackend, R: MetricsRenderer + 'static>(
    model: Qwen2ForCausalLm<B>,
    start: Start,
    lora_dropout: f64,
    args: &TrainingArguments,
    data: TrainingData,
    surroundings: Surroundings<R>,
) -> Result<TrainReport> {
    let plan = Arc::new(batch_plan(args, data.train.len()));
    let device = model.device();
    let adapter = AdapterConfig { lora_dropout, ..start.adapter().config.clone() };
    let model = start.adapter().attach(model, lora_dropout);
    let optimizer = SharedAdamW::new(args);
    let run = match &start {
        Start::Fresh(_) => RunState { state: TrainerState::new(args, &plan), loop_state: LoopState::default() },
        Start::Resumed(saved) => {
            optimizer.load(&saved.optimizer_file(), &device)?;
            let mut state = saved.state.clone();
            state.max_steps = plan.total_steps();
            RunState { state, loop_state: saved.loop_state }
        }
    };
    let first_step = run.state.global_step;
    if first_step > plan.total_steps() {
        bad_input!("the checkpoint is at step {first_step}, but the config ends at step {}", plan.total_steps());
    }
    let schedule = Schedule {
        kind: args.lr_scheduler_type,
        learning_rate: args.learning_rate,
        warmup_steps: args.warmup_steps,
        total_steps: plan.total_steps(),
        next_step: first_step,
    };
    let windows = WindowLoader { plan: plan.clone(), rows: data.train, pad_token_id: data.pad_token_id, first_step };
    let batches = evaluation_batches(&data.eval, args.per_device_eval_batch_size, data.pad_token_id);
    std::fs::create_dir_all(&args.output_dir)
        .with_context(|| format!("cannot create output_dir {}", args.output_dir.display()))?;
    std::fs::create_dir_all(&args.logging_dir)
        .with_context(|| format!("cannot create logging_dir {}", args.logging_dir.display()))?;

    let outcome = Arc::new(Mutex::new(None));
    let strategy = FineTuning {
        args: args.clone(),
        plan,
        adapter,
        optimizer: optimizer.clone(),
        monitor: surroundings.monitor,
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
        .renderer(surroundings.renderer)
        .with_interrupter(surroundings.interrupter)
        .with_application_logger(None)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)))
        .launch(Learner::new(model, optimizer, schedule));

    let outcome = outcome.lock().expect("nobody panicked holding it").take();
    let outcome = outcome.expect("the strategy leaves an outcome")?;
    finish(outcome, args)
}

/// Leaves the best adapter (or the last one) and the run's state in `output_dir`.
fn finish(mut outcome: Outcome, args: &TrainingArguments) -> Result<TrainReport> {
    let output_dir = &args.output_dir;
    if !outcome.interrupted {
        let checkpoints = Checkpoints { output_dir: output_dir.clone(), save_total_limit: None };
        if let (true, Some(best)) = (args.load_best_model_at_end, outcome.state.best_global_step) {
            outcome.adapter = Adapter::read(&checkpoints.path(best))?;
        }
        outcome.adapter.write(output_dir)?;
        outcome.state.write(output_dir)?;
    }
    Ok(TrainReport { outcome, adapter: output_dir.clone() })
}

/// The folder that `resume_from_checkpoint` names, if the run is to be resumed.
pub fn latest_checkpoint(output_dir: &Path) -> Option<PathBuf> {
    let checkpoints = Checkpoints { output_dir: output_dir.to_path_buf(), save_total_limit: None };
    checkpoints.steps().last().map(|step| checkpoints.path(*step))
}
