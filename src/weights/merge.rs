//! Folding an adapter into its base: W' = W + scale * B A, in f32, rounded once to the base's type.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use safetensors::tensor::{Dtype, View, serialize_to_file};

use super::adapter::Adapter;
use super::generation_config::ModelGenerationConfig;
use super::model::{ModelFolder, expected_tensors};
use super::safetensors::{TensorSlice, narrow};
use crate::data::tokenizer::{TOKENIZER_FILES, Tokenizer};
use crate::error::write_atomically;
use crate::model::TargetModule;
use crate::model::lora::LoraWeights;

/// One tensor of the merged file, computed when it is written: the merged model never lies in memory as a whole.
struct MergedTensor<'a, B: Backend> {
    base: TensorSlice<'a>,
    lora: Option<(&'a LoraWeights, f64)>,
    device: &'a B::Device,
}

impl<B: Backend> View for &MergedTensor<'_, B> {
    fn dtype(&self) -> Dtype {
        self.base.dtype
    }

    fn shape(&self) -> &[usize] {
        self.base.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.lora {
            None => Cow::Borrowed(self.base.bytes),
            Some((lora, scaling)) => {
                let (out, input) = (self.base.shape[0], self.base.shape[1]);
                let delta = low_rank_product::<B>(lora, [out, input], self.device);
                let merged: Vec<f32> =
                    self.base.to_f32().iter().zip(delta).map(|(w, d)| w + d * scaling as f32).collect();
                Cow::Owned(narrow(&merged, self.base.dtype))
            }
        }
    }

    fn data_len(&self) -> usize {
        self.base.bytes.len()
    }
}

/// B A, row by row.
fn low_rank_product<B: Backend>(lora: &LoraWeights, [out, input]: [usize; 2], device: &B::Device) -> Vec<f32> {
    let a = Tensor::<B, 2>::from_data(TensorData::new(lora.a.clone(), [lora.r, input]), device);
    let b = Tensor::<B, 2>::from_data(TensorData::new(lora.b.clone(), [out, lora.r]), device);
    b.matmul(a).into_data().convert::<f32>().into_vec().expect("the data was converted to f32")
}

/// Writes a folder that transformers and vLLM load: the merged weights, and base config, tokenizer and generation
/// settings beside them.
pub fn write_merged_model<B: Backend>(
    base: &ModelFolder,
    adapter: &Adapter,
    tokenizer: &Tokenizer,
    folder: &Path,
    device: &B::Device,
) -> Result<()> {
    adapter.check_fits(&base.config)?;
    write_merged_weights::<B>(base, adapter, folder, device)?;
    copy_file(&base.path.join("config.json"), folder)?;
    for file in TOKENIZER_FILES {
        copy_file(&tokenizer.folder().join(file), folder)?;
    }
    ModelGenerationConfig::read(&base.path)?.write_with_eos_of(tokenizer, folder)
}

/// Copies a file into a folder, if it is there.
pub fn copy_file(source: &Path, folder: &Path) -> Result<()> {
    let Some(name) = source.file_name().filter(|_| source.exists()) else {
        return Ok(());
    };
    let contents = std::fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    write_atomically(&folder.join(name), &contents)
}

/// Writes `model.safetensors` of base + adapter into a folder, which is created.
pub fn write_merged_weights<B: Backend>(
    base: &ModelFolder,
    adapter: &Adapter,
    folder: &Path,
    device: &B::Device,
) -> Result<PathBuf> {
    let layer_of = |name: &str| -> Option<(usize, TargetModule)> {
        let (layer, path) = name.strip_prefix("model.layers.")?.strip_suffix(".weight")?.split_once('.')?;
        let target = TargetModule::ALL.into_iter().find(|target| target.path() == path)?;
        Some((layer.parse().ok()?, target))
    };
    let tensors: Vec<(String, MergedTensor<B>)> = expected_tensors(&base.config)
        .into_iter()
        .map(|(name, _)| {
            let lora = layer_of(&name).and_then(|place| adapter.weights.get(&place));
            let tensor = MergedTensor {
                base: base.checkpoint.get(&name).expect("presence was checked when the folder was opened"),
                lora: lora.map(|weights| (weights, adapter.config.scaling())),
                device,
            };
            (name, tensor)
        })
        .collect();
    let path = folder.join("model.safetensors");
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    let partial = folder.join(".model.safetensors.partial");
    let metadata = [("format".to_string(), "pt".to_string())].into();
    serialize_to_file(tensors.iter().map(|(name, tensor)| (name, tensor)), Some(metadata), &partial)
        .with_context(what)?;
    std::fs::rename(&partial, &path).with_context(what)?;
    Ok(path)
}
