//! Fine-tunes Qwen2.5 with LoRA on questions and answers, and answers with the result.
pub mod data;
pub mod error;
pub mod inference;
pub mod model;
pub mod training;
pub mod weights;
