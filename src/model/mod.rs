//! Qwen2 for causal language modelling with LoRA, generic over burn's [`Backend`](burn::tensor::backend::Backend).
//!
//! Everything below the attention works on a flat list of tokens, `[tokens, hidden]`; [`layout`] says which tokens
//! form a row. The model never knows text, paths, datasets or optimizers.

pub mod attention;
pub mod config;
pub mod dropout;
pub mod kv_cache;
pub mod layout;
pub mod linear;
pub mod lora;
pub mod loss;
pub mod mlp;
pub mod qwen2;
pub mod rms_norm;
pub mod rotary;
pub mod weight;

pub use config::Qwen2Config;
pub use dropout::LoraDropout;
pub use kv_cache::KvCache;
pub use layout::{Group, TokenBatch};
pub use lora::{LoraConfig, LoraLinear, TargetModule};
pub use qwen2::Qwen2ForCausalLm;
pub use weight::Weight;
