//! `trainer_state.json`, with transformers' keys.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::early_stopping::EarlyStopping;
use super::evaluate::EvalMetrics;
use super::metrics::TrainFigures;
use crate::data::batching::BatchPlan;
use crate::error::OrBadInput;
use crate::files::{read_input, write_atomically};
use crate::training::TrainingArguments;

pub const STATE_FILE: &str = "trainer_state.json";

/// The state of a run, as transformers' Trainer writes it; keys in its order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    pub best_global_step: Option<usize>,
    pub best_metric: Option<f64>,
    pub best_model_checkpoint: Option<String>,
    pub epoch: f64,
    pub eval_steps: usize,
    pub global_step: usize,
    pub is_hyper_param_search: bool,
    pub is_local_process_zero: bool,
    pub is_world_process_zero: bool,
    pub log_history: Vec<LogEntry>,
    pub logging_steps: usize,
    pub max_steps: usize,
    pub num_input_tokens_seen: usize,
    pub num_train_epochs: usize,
    pub save_steps: usize,
    pub stateful_callbacks: Value,
    pub total_flos: f64,
    pub train_batch_size: usize,
    pub trial_name: Option<String>,
    pub trial_params: Option<Value>,
}

/// One entry of `log_history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogEntry {
    Train { epoch: f64, grad_norm: f64, learning_rate: f64, loss: f64, step: usize },
    Evaluation { epoch: f64, eval_loss: f64, eval_perplexity: f64, eval_token_accuracy: f64, step: usize },
}

impl TrainerState {
    pub fn new(args: &TrainingArguments, plan: &BatchPlan) -> Self {
        let mut state = Self {
            best_global_step: None,
            best_metric: None,
            best_model_checkpoint: None,
            epoch: 0.0,
            eval_steps: args.eval_steps,
            global_step: 0,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: Vec::new(),
            logging_steps: args.logging_steps,
            max_steps: plan.total_steps(),
            num_input_tokens_seen: 0,
            num_train_epochs: plan.total_steps().div_ceil(plan.steps_per_epoch()),
            save_steps: args.save_steps,
            stateful_callbacks: json!({}),
            total_flos: 0.0,
            train_batch_size: args.per_device_train_batch_size,
            trial_name: None,
            trial_params: None,
        };
        if let Some(early) = early_stopping(args) {
            state.set_patience_used(early, 0);
        }
        state
    }

    /// Evaluations in a row without improvement.
    pub fn patience_used(&self) -> usize {
        let callback = &self.stateful_callbacks["EarlyStoppingCallback"];
        callback["attributes"]["early_stopping_patience_counter"].as_u64().unwrap_or(0) as usize
    }

    pub fn set_patience_used(&mut self, early: EarlyStopping, count: usize) {
        self.stateful_callbacks["EarlyStoppingCallback"] = json!({
            "args": {"early_stopping_patience": early.patience, "early_stopping_threshold": early.threshold},
            "attributes": {"early_stopping_patience_counter": count},
        });
    }

    pub fn log_training(&mut self, figures: &TrainFigures) {
        let TrainFigures { loss, grad_norm, learning_rate, epoch, .. } = *figures;
        self.log_history.push(LogEntry::Train { epoch, grad_norm, learning_rate, loss, step: self.global_step });
    }

    pub fn log_evaluation(&mut self, metrics: &EvalMetrics) {
        self.log_history.push(LogEntry::Evaluation {
            epoch: self.epoch,
            eval_loss: metrics.loss,
            eval_perplexity: metrics.perplexity,
            eval_token_accuracy: metrics.token_accuracy,
            step: self.global_step,
        });
    }

    /// The evaluation at a step, if there was one.
    pub fn evaluation_at(&self, at: usize) -> Option<f64> {
        self.log_history.iter().rev().find_map(|entry| match entry {
            LogEntry::Evaluation { step, eval_loss, .. } if *step == at => Some(*eval_loss),
            _ => None,
        })
    }

    /// From here on the best is searched anew.
    pub fn forget_best(&mut self) {
        (self.best_global_step, self.best_metric, self.best_model_checkpoint) = (None, None, None);
    }

    /// How many evaluations there were.
    pub fn evaluations(&self) -> usize {
        self.log_history.iter().filter(|entry| matches!(entry, LogEntry::Evaluation { .. })).count()
    }

    /// Log entries of training after the last evaluation.
    pub fn entries_since_evaluation(&self) -> usize {
        self.log_history.iter().rev().take_while(|entry| matches!(entry, LogEntry::Train { .. })).count()
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(STATE_FILE), serde_json::to_string_pretty(self)?.as_bytes())
    }

    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(STATE_FILE);
        let text = read_input(&path)?;
        serde_json::from_str(&text).or_bad_input(|| format!("{} is damaged", path.display()))
    }
}

/// The config's early stopping, if it is on.
pub fn early_stopping(args: &TrainingArguments) -> Option<EarlyStopping> {
    let patience = args.early_stopping_patience?;
    Some(EarlyStopping { patience, threshold: args.early_stopping_threshold })
}
