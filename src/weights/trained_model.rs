//! A fully fine-tuned model, as it comes from training and goes into a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, backend::Backend};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use super::model::{ModelFolder, expected_tensors};
use super::safetensors::{SINGLE_FILE, narrow};
use crate::files::{read_json, write_atomically};
use crate::model::{Qwen2Config, Qwen2ForCausalLm};

/// What a model folder says besides its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFormat {
    pub config: Qwen2Config,
    /// `config.json` as it is.
    pub json: Value,
    /// The type of the weights in the base's file, and so of the result's.
    pub dtype: Dtype,
}

impl ModelFormat {
    pub fn of(folder: &ModelFolder) -> Result<Self> {
        let embedding = folder.checkpoint.get("model.embed_tokens.weight");
        Ok(Self {
            config: folder.config.clone(),
            json: read_json(&folder.path.join("config.json"))?,
            dtype: embedding.expect("its presence was checked when the folder was opened").dtype,
        })
    }
}

/// All weights of a model on the host, in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelWeights {
    pub format: Arc<ModelFormat>,
    /// By name.
    pub tensors: BTreeMap<String, HostTensor>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl ModelWeights {
    /// Reads the weights back from a model that was [loaded to be trained](ModelFolder::load_trained).
    pub fn extract<B: Backend>(model: &Qwen2ForCausalLm<B>, format: Arc<ModelFormat>) -> Self {
        let mut visitor = Extract { names: expected_tensors(&format.config), tensors: BTreeMap::new() };
        model.visit(&mut visitor);
        Self { format, tensors: visitor.tensors }
    }

    pub fn read(folder: &Path, format: Arc<ModelFormat>) -> Result<Self> {
        let folder = ModelFolder::open(folder)?;
        let tensors = expected_tensors(&folder.config).into_iter().map(|(name, shape)| {
            let values =
                folder.checkpoint.get(&name).expect("presence was checked when the folder was opened").to_f32();
            (name, HostTensor { shape, values })
        });
        Ok(Self { format, tensors: tensors.collect() })
    }

    /// Writes weights and `config.json`; each file appears whole or not at all.
    pub fn write(&self, folder: &Path, dtype: Dtype) -> Result<()> {
        let tensors: Vec<(&str, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice(), narrow(&tensor.values, dtype)))
            .collect();
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(dtype, shape.to_vec(), bytes)?)))
            .collect::<Result<Vec<_>>>()?;
        let metadata = Some([("format".to_string(), "pt".to_string())].into());
        let bytes = serialize(views, metadata).context("cannot serialise the weights")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut config = self.format.json.clone();
        let key = if config["dtype"].is_null() { "torch_dtype" } else { "dtype" };
        config[key] = json!(match dtype {
            Dtype::BF16 => "bfloat16",
            Dtype::F16 => "float16",
            _ => "float32",
        });
        write_atomically(&folder.join("config.json"), serde_json::to_string_pretty(&config)?.as_bytes())?;
        write_atomically(&folder.join(SINGLE_FILE), &bytes)
    }
}

struct Extract {
    names: Vec<(String, Vec<usize>)>,
    tensors: BTreeMap<String, HostTensor>,
}

impl<B: Backend> ModuleVisitor<B> for Extract {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (name, shape) = &self.names[param.id.val() as usize - 1];
        let values = param.val().into_data().convert::<f32>().into_vec().expect("converted to f32");
        self.tensors.insert(name.clone(), HostTensor { shape: shape.clone(), values });
    }
}
