//! Fine-tuning on burn-train: its `SupervisedTraining`, `Learner`, event processor, metrics and renderer, around a
//! loop of our own ([`strategy`]) that steps as transformers' Trainer does. Nothing here prints.

pub mod arguments;
pub mod checkpoint;
pub mod clipping;
mod divergence;
pub mod early_stopping;
pub mod evaluate;
pub mod learner;
pub mod loader;
pub mod lock;
pub mod manifest;
pub mod memory;
pub mod metric_log;
pub mod metrics;
pub mod monitor;
pub mod optimizer;
pub mod schedule;
pub mod side_by_side;
pub mod state;
pub mod strategy;
pub mod trained;
pub mod trainer;

pub use arguments::TrainingArguments;
