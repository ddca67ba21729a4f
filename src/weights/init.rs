//! A model from nothing: initial weights for a shape, as transformers gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use safetensors::Dtype;
use serde_json::{Value, json};

use super::model::expected_tensors;
use super::trained_model::{HostTensor, ModelFormat, ModelWeights};
use crate::bad_input;
use crate::model::Qwen2Config;

/// Standard deviation of matrices where the shape does not say.
const INITIALIZER_RANGE: f64 = 0.02;

/// Matrices are normally distributed with `initializer_range`, biases zero, norms one; the same for a seed on every
/// machine.
///
/// `shape` is a `config.json`; what describes Qwen2 in general, and the end-of-sequence token, is added to it.
pub fn init_model(shape: &Value, config: &Qwen2Config, end_of_text_id: u32, seed: u64) -> Result<ModelWeights> {
    let deviation = match &shape["initializer_range"] {
        Value::Null => INITIALIZER_RANGE,
        value => match value.as_f64() {
            Some(x) if x > 0.0 && x <= 1.0 => x,
            _ => bad_input!("initializer_range must be above 0 and up to 1, found {value}"),
        },
    };
    let dtype = match shape["torch_dtype"].as_str().or(shape["dtype"].as_str()) {
        Some("bfloat16") => Dtype::BF16,
        Some("float32") | None => Dtype::F32,
        Some(other) => bad_input!("torch_dtype must be \"float32\" or \"bfloat16\", found {other:?}"),
    };
    let normal = Normal::new(0.0, deviation as f32).expect("the deviation is finite");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    for (name, shape) in expected_tensors(config) {
        let size = shape.iter().product();
        let values = match shape.len() {
            1 if name.ends_with("bias") => vec![0.0; size],
            1 => vec![1.0; size],
            _ => (0..size).map(|_| normal.sample(&mut rng)).collect(),
        };
        tensors.insert(name, HostTensor { shape, values });
    }
    let mut json = json!({"architectures": ["Qwen2ForCausalLM"]});
    let own = json!({
        "initializer_range": deviation,
        "bos_token_id": end_of_text_id,
        "eos_token_id": end_of_text_id,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        "use_cache": true,
    });
    for source in [shape, &own] {
        for (key, value) in source.as_object().into_iter().flatten() {
            json[key] = value.clone();
        }
    }
    Ok(ModelWeights { format: Arc::new(ModelFormat { config: config.clone(), json, dtype }), tensors })
}
