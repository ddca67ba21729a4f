//! The `training` section of config.json; keys and meanings as in transformers' `TrainingArguments`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::evaluate::EvalMetrics;
use crate::data::batching::Passes;

/// When to evaluate or save: never, every so many optimizer steps, or after each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalStrategy {
    No,
    Steps,
    Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    Linear,
    Cosine,
    Constant,
    ConstantWithWarmup,
}

/// What "best" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BestMetric {
    #[serde(rename = "loss", alias = "eval_loss")]
    Loss,
    #[serde(rename = "token_accuracy", alias = "eval_token_accuracy")]
    TokenAccuracy,
}

impl BestMetric {
    /// The figure that it looks at.
    pub fn of(self, metrics: &EvalMetrics) -> f64 {
        match self {
            Self::Loss => metrics.loss,
            Self::TokenAccuracy => metrics.token_accuracy,
        }
    }

    /// Whether `value` beats `best`.
    pub fn is_better(self, value: f64, best: f64) -> bool {
        match self {
            Self::Loss => value < best,
            Self::TokenAccuracy => value > best,
        }
    }
}

/// In which type weights are held and multiplied; adapters, statistics and losses are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Auto,
    F32,
    Bf16,
}

/// Who decides which rows of an optimizer step are computed in one pass. Losses and gradients don't depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MicroBatching {
    /// The program: rows of like length together, as many as fit `tokens_per_pass`, hardly padded.
    Auto,
    /// `per_device_train_batch_size` and `per_device_eval_batch_size`, padded to the longest row.
    AsConfigured,
}

/// What a device computes well in one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassDefaults {
    pub tokens: usize,
    /// See [`Passes::Tokens`].
    pub length_multiple: usize,
}

impl PassDefaults {
    /// Enough tokens to use the cores fully, few enough for their activations to fit beside the weights; the
    /// attention takes rows of any length.
    pub const CPU: Self = Self { tokens: 704, length_multiple: 1 };
    /// A GPU wants large passes and few kernels.
    pub const GPU: Self = Self { tokens: 8192, length_multiple: 8 };
}

/// Whether to go on with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resume {
    /// True: the latest checkpoint in `output_dir`.
    Latest(bool),
    /// This checkpoint.
    From(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingArguments {
    /// Rows per micro batch.
    pub per_device_train_batch_size: usize,
    pub per_device_eval_batch_size: usize,
    /// Micro batches per optimizer step.
    pub gradient_accumulation_steps: usize,
    pub micro_batching: MicroBatching,
    /// With `micro_batching` "auto": tokens computed at a time; null: what suits the device.
    pub tokens_per_pass: Option<usize>,
    /// Keep only each layer's input and compute the rest again on the way back: a third more work, in a fraction of
    /// the memory that activations take.
    pub gradient_checkpointing: bool,
    pub learning_rate: f64,
    pub num_train_epochs: usize,
    /// Optimizer steps to train for, instead of `num_train_epochs`; null or -1: off.
    pub max_steps: Option<i64>,
    pub warmup_steps: usize,
    pub lr_scheduler_type: SchedulerType,
    pub weight_decay: f64,
    /// Largest global norm of the gradients; 0: no clipping.
    pub max_grad_norm: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// Seeds the order of the rows, dropout and the adapter's initial weights.
    pub seed: u64,
    pub shuffle: bool,
    /// Train on the answer and its end only, not on the question.
    pub completion_only_loss: bool,
    pub dtype: Precision,
    pub logging_steps: usize,
    pub logging_dir: PathBuf,
    pub evaluation_strategy: IntervalStrategy,
    pub eval_steps: usize,
    /// Also evaluate before the first step: what the base is worth.
    pub eval_on_start: bool,
    pub save_strategy: IntervalStrategy,
    pub save_steps: usize,
    /// Checkpoints to keep, the best and the latest among them; null: all.
    pub save_total_limit: Option<usize>,
    pub output_dir: PathBuf,
    pub load_best_model_at_end: bool,
    pub metric_for_best_model: BestMetric,
    /// Stop after so many evaluations in a row without a better one; null: never.
    pub early_stopping_patience: Option<usize>,
    /// By how much an evaluation must be better to count.
    pub early_stopping_threshold: f64,
    pub resume_from_checkpoint: Option<Resume>,
    /// Only "none".
    pub report_to: String,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            per_device_train_batch_size: 2,
            per_device_eval_batch_size: 8,
            gradient_accumulation_steps: 16,
            micro_batching: MicroBatching::Auto,
            tokens_per_pass: None,
            gradient_checkpointing: false,
            learning_rate: 3e-5,
            num_train_epochs: 5,
            max_steps: None,
            warmup_steps: 50,
            lr_scheduler_type: SchedulerType::Linear,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            seed: 42,
            shuffle: true,
            completion_only_loss: false,
            dtype: Precision::Auto,
            logging_steps: 20,
            logging_dir: "./logs".into(),
            evaluation_strategy: IntervalStrategy::Steps,
            eval_steps: 50,
            eval_on_start: false,
            save_strategy: IntervalStrategy::Steps,
            save_steps: 50,
            save_total_limit: Some(2),
            output_dir: "./qwen2.5-0.5b-finetuned".into(),
            load_best_model_at_end: true,
            metric_for_best_model: BestMetric::Loss,
            early_stopping_patience: None,
            early_stopping_threshold: 0.0,
            resume_from_checkpoint: None,
            report_to: "none".into(),
        }
    }
}

impl TrainingArguments {
    /// How rows are split into passes, where so many a pass are configured.
    pub fn passes(&self, rows: usize, defaults: PassDefaults) -> Passes {
        match self.micro_batching {
            MicroBatching::AsConfigured => Passes::Rows(rows),
            MicroBatching::Auto => Passes::Tokens {
                budget: self.tokens_per_pass.unwrap_or(defaults.tokens),
                length_multiple: defaults.length_multiple,
            },
        }
    }

    /// `max_steps`, where it is on.
    pub fn step_limit(&self) -> Option<usize> {
        self.max_steps.and_then(|steps| usize::try_from(steps).ok())
    }

    /// Problems by key, without the section's name.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut check = |key: &'static str, fine: bool, wanted: &str| {
            if !fine {
                problems.push((key, wanted.to_string()));
            }
        };
        let size = |n: usize| (1..=1_000_000).contains(&n);
        check("per_device_train_batch_size", size(self.per_device_train_batch_size), "must be from 1 to 1000000");
        check("per_device_eval_batch_size", size(self.per_device_eval_batch_size), "must be from 1 to 1000000");
        check("gradient_accumulation_steps", size(self.gradient_accumulation_steps), "must be from 1 to 1000000");
        check("tokens_per_pass", self.tokens_per_pass.is_none_or(size), "must be from 1 to 1000000, or null");
        check("num_train_epochs", size(self.num_train_epochs), "must be from 1 to 1000000");
        check("logging_steps", self.logging_steps >= 1, "must be at least 1");
        check("eval_steps", self.eval_steps >= 1, "must be at least 1");
        check("save_steps", self.save_steps >= 1, "must be at least 1");
        check("save_total_limit", self.save_total_limit != Some(0), "must be at least 1, or null to keep all");
        let limit_fine = self.max_steps.is_none_or(|n| n == -1 || (1..=1_000_000_000).contains(&n));
        check("max_steps", limit_fine, "must be at least 1, or null or -1 for none");
        let rate = self.learning_rate;
        // What is computed with in f32 must be what was meant there too.
        check(
            "learning_rate",
            rate as f32 > 0.0 && (rate as f32).is_finite(),
            "must be positive, and no more than 1e38",
        );
        check("weight_decay", (0.0..=1.0).contains(&self.weight_decay), "must be from 0 to 1");
        let norm = self.max_grad_norm;
        check("max_grad_norm", norm >= 0.0 && norm.is_finite(), "must be positive, or 0 for no clipping");
        check("adam_beta1", (0.0..1.0).contains(&(self.adam_beta1 as f32)), "must be at least 0 and below 1 (in f32)");
        check("adam_beta2", (0.0..1.0).contains(&(self.adam_beta2 as f32)), "must be at least 0 and below 1 (in f32)");
        check("adam_epsilon", self.adam_epsilon as f32 > 0.0 && self.adam_epsilon < 1.0, "must be from 1e-45 to 1");
        let threshold = self.early_stopping_threshold;
        check("early_stopping_threshold", threshold >= 0.0 && threshold.is_finite(), "must not be negative");
        check("early_stopping_patience", self.early_stopping_patience != Some(0), "must be at least 1, or null");
        check("report_to", self.report_to == "none", "only \"none\" is supported");

        let evaluates = self.evaluation_strategy != IntervalStrategy::No;
        let saves = self.save_strategy != IntervalStrategy::No;
        check("eval_on_start", !self.eval_on_start || evaluates, "needs an evaluation_strategy other than \"no\"");
        check(
            "load_best_model_at_end",
            !self.load_best_model_at_end || (evaluates && saves),
            "needs evaluation_strategy and save_strategy other than \"no\"",
        );
        check(
            "early_stopping_patience",
            self.early_stopping_patience.is_none() || (evaluates && self.load_best_model_at_end),
            "needs load_best_model_at_end and an evaluation_strategy other than \"no\"",
        );
        problems
    }
}
