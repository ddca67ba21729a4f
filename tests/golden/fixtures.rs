//! Reading the golden data.

use std::path::PathBuf;

use burn::tensor::{DType, Tensor, backend::Backend};
use qwen_lora::data::encode::EncodedRow;
use qwen_lora::data::jsonl;
use qwen_lora::data::tokenizer::Tokenizer;
use qwen_lora::model::Qwen2ForCausalLm;
use qwen_lora::weights::adapter::Adapter;
use qwen_lora::weights::model::ModelFolder;
use qwen_lora::weights::safetensors::SafetensorsFile;
use serde_json::Value;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn json(name: &str) -> Value {
    let text = std::fs::read_to_string(path("golden").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn golden() -> Value {
    json("golden.json")
}

pub fn base<B: Backend>() -> Qwen2ForCausalLm<B> {
    ModelFolder::open(&path("tiny-model")).unwrap().load(&B::Device::default(), DType::F32)
}

pub fn adapter(name: &str) -> Adapter {
    Adapter::read(&path("golden").join(name)).unwrap()
}

pub fn with_adapter<B: Backend>(name: &str) -> Qwen2ForCausalLm<B> {
    adapter(name).attach(base(), 0.0)
}

pub fn tokenizer() -> Tokenizer {
    Tokenizer::open(&path("tiny-model")).unwrap()
}

pub fn rows(split: &str) -> jsonl::Rows {
    jsonl::read(&path("golden").join(format!("{split}.jsonl"))).unwrap()
}

/// Rows as the golden run saw them.
pub fn golden_rows(split: &str) -> Vec<EncodedRow> {
    golden()["data"][format!("{split}_ids")]
        .as_array()
        .unwrap()
        .iter()
        .map(|ids| {
            let input_ids: Vec<i32> = integers(ids);
            EncodedRow { labelled: 0..input_ids.len() - 1, input_ids }
        })
        .collect()
}

pub fn integers(value: &Value) -> Vec<i32> {
    value.as_array().unwrap().iter().map(|v| v.as_i64().unwrap() as i32).collect()
}

/// A tensor of `tensors.safetensors`: values and shape.
pub struct Golden(SafetensorsFile);

impl Golden {
    pub fn open(name: &str) -> Self {
        Self(SafetensorsFile::open(&path("golden").join(name)).unwrap())
    }

    pub fn names(&self) -> Vec<String> {
        self.0.names().map(str::to_string).collect()
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not there")).to_f32()
    }

    pub fn i32(&self, name: &str) -> Vec<i32> {
        let bytes = self.0.get(name).unwrap().bytes;
        bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.0.get(name).unwrap().shape.to_vec()
    }
}

pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().unwrap()
}

/// Largest absolute difference.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[track_caller]
pub fn assert_close(what: &str, found: f64, expected: f64, relative: f64) {
    let difference = (found - expected).abs() / expected.abs().max(1e-12);
    assert!(difference <= relative, "{what}: {found} instead of {expected} ({difference:e} relative)");
}
