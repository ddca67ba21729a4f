//! From the user's rows to ids, labels and batches. Nothing here knows the model.

pub mod batching;
pub mod check;
pub mod encode;
pub mod jsonl;
pub mod shuffle;
pub mod similarity;
pub mod template;
pub mod tokenizer;
