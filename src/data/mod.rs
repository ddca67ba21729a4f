//! From the user's rows to ids, labels and batches. Of the model, nothing but the layout of its input is known
//! here.

pub mod batching;
pub mod check;
pub mod encode;
pub mod jsonl;
pub mod shuffle;
pub mod similarity;
pub mod template;
pub mod tokenizer;
pub mod train_tokenizer;
