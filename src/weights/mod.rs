//! Model and adapter files: what transformers and peft write is read here, and what is written here they read.

pub mod adapter;
pub mod adapter_config;
pub mod adapter_record;
pub mod generation_config;
pub mod hub;
pub mod init;
pub mod merge;
pub mod model;
pub mod safetensors;
pub mod trained_model;
