//! Fine-tunes Qwen2.5 on questions and answers, with LoRA or as a whole, and answers with the result.
//!
//! # The map
//!
//! ```text
//! config.json ──> config ──> cli (one verb per file: train, evaluate, infer, merge, init)
//!                             │
//!   JSONL ──> data ───────────┤  records -> text -> ids and labels -> optimizer steps
//!   HF folder or hub ──> weights  safetensors and PEFT in and out, merging
//!                             │
//!                           model      Qwen2 + LoRA, generic over burn's Backend
//!                             │
//!              training ──────┴────── inference
//!   burn-train's Learner, a loop    sampler, generator (an iterator of ids),
//!   that steps as HF's Trainer      chat (text around it)
//! ```
//!
//! Read in this order: [`model::qwen2`], [`model::lora`], [`data::encode`], [`data::batching`],
//! [`training::strategy`], [`inference::generator`].
//!
//! # What holds everywhere
//!
//! - `model` never knows text, paths, datasets or optimizers; `data` never knows weights; the generator never knows
//!   text. Nothing below [`cli`] prints, exits, or reads arguments and environment (but for CUDA's own search path).
//! - Frozen weights are plain tensors, adapters are `Param`s: autodiff, optimizer and checkpoints see adapters only. With
//!   `"lora": null` it is the weights that are `Param`s ([`model::weight`]).
//! - A loss is a sum over labels divided once by the optimizer step's label count: it does not depend on how rows are
//!   split into micro batches. Dropout masks are functions of (seed, step, row, module) for the same reason.
//! - On the CPU no bit depends on the number of threads: every sum has one order.
//! - One template, one place that masks, one loss, for training, evaluation and inference alike.
//! - Checkpoints, best and early stopping are ours and not burn-train's: its checkpointer rewrites files in place and
//!   panics when a write fails, and its metric store is filled by another thread, so that a decision can rest on a
//!   stale figure.
//! - Only [`backend`] names a concrete backend, and [`kernels`], whose functions take a fast path on the CPU's.

pub mod backend;
pub mod cli;
pub mod config;
pub mod data;
pub mod error;
pub mod files;
pub mod inference;
pub mod kernels;
pub mod model;
pub mod training;
pub mod weights;
