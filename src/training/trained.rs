//! What a run trains: an adapter beside a frozen model, or the model itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::backend::Backend;
use safetensors::Dtype;

use crate::model::Qwen2ForCausalLm;
use crate::weights::adapter::Adapter;
use crate::weights::adapter_config::AdapterConfig;
use crate::weights::trained_model::{ModelFormat, ModelWeights};

/// What a run trains, but for its weights.
#[derive(Debug, Clone)]
pub enum Trainee {
    Adapter(AdapterConfig),
    Model(Arc<ModelFormat>),
}

/// Weights that were trained, on the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Trained {
    Adapter(Adapter),
    Model(ModelWeights),
}

impl Trainee {
    /// Reads the weights from the model that holds them.
    pub fn extract<B: Backend>(&self, model: &Qwen2ForCausalLm<B>) -> Trained {
        match self {
            Self::Adapter(config) => Trained::Adapter(Adapter::extract(model, config.clone())),
            Self::Model(format) => Trained::Model(ModelWeights::extract(model, format.clone())),
        }
    }

    /// Reads the weights from a checkpoint.
    pub fn read(&self, folder: &Path) -> Result<Trained> {
        Ok(match self {
            Self::Adapter(_) => Trained::Adapter(Adapter::read(folder)?),
            Self::Model(format) => Trained::Model(ModelWeights::read(folder, format.clone())?),
        })
    }
}

impl Trained {
    /// Whether every weight is a number.
    pub fn is_finite(&self) -> bool {
        let all_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        match self {
            Self::Adapter(adapter) => adapter.weights.values().all(|w| all_finite(&w.a) && all_finite(&w.b)),
            Self::Model(weights) => weights.tensors.values().all(|tensor| all_finite(&tensor.values)),
        }
    }

    /// Writes the weights as they are, in f32.
    pub fn write_checkpoint(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Adapter(adapter) => adapter.write(folder),
            Self::Model(weights) => weights.write(folder, Dtype::F32),
        }
    }

    /// Writes the result of a run: an adapter, or a model in its base's type.
    pub fn write(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Adapter(adapter) => adapter.write(folder),
            Self::Model(weights) => weights.write(folder, weights.format.dtype),
        }
    }
}
