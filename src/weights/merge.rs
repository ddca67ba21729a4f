//! Folding an adapter into its base: W' = W + scale * B A, in f32, rounded once to the base's type.

use std::borrow::Cow;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use safetensors::tensor::{Dtype, View, serialize_to_file};

use super::adapter::Adapter;
use super::generation_config::ModelGenerationConfig;
use super::model::{ModelFolder, expected_tensors};
use super::safetensors::{SINGLE_FILE, SafetensorsFile, TensorSlice, narrow};
use crate::bad_input;
use crate::data::tokenizer::{TOKENIZER_FILES, Tokenizer};
use crate::files::{copy_into, partial_of, put_in_place, remove};
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

/// In the weights' metadata: a folder so marked may be replaced by a later merge.
const MARK: (&str, &str) = ("merged_by", "qwen-lora");

/// Writes a folder that transformers and vLLM load: the merged weights, and base config, tokenizer and generation
/// settings beside them. The folder appears whole or not at all; an earlier merge's is replaced, anything else refused.
pub fn write_merged_model<B: Backend>(
    base: &ModelFolder,
    adapter: &Adapter,
    tokenizer: &Tokenizer,
    folder: &Path,
    device: &B::Device,
) -> Result<()> {
    adapter.check_fits(&base.config)?;
    if is_in_use(folder) {
        bad_input!("{} holds other files; name a new folder for the merged model", folder.display());
    }
    let partial = partial_of(folder)?;
    let what = || format!("cannot write {}", folder.display());
    remove(&partial).with_context(what)?;
    write_merged_weights::<B>(base, adapter, &partial, device)?;
    if let Err(error) = verify_merged_weights::<B>(base, adapter, &partial, device) {
        remove(&partial).with_context(what)?;
        return Err(error);
    }
    copy_into(&base.path.join("config.json"), &partial)?;
    for file in TOKENIZER_FILES {
        copy_into(&tokenizer.folder().join(file), &partial)?;
    }
    ModelGenerationConfig::read(&base.path)?.write_with_eos_of(tokenizer, &partial)?;
    put_in_place(&partial, folder).with_context(what)
}

/// Whether a folder holds anything but an earlier merge.
fn is_in_use(folder: &Path) -> bool {
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    let is_ours = || {
        let weights = SafetensorsFile::open(&folder.join(SINGLE_FILE));
        weights.is_ok_and(|file| file.metadata(MARK.0) == Some(MARK.1))
    };
    !is_empty && !is_ours()
}

/// The tensors of base + adapter, by name.
fn merged_tensors<'a, B: Backend>(
    base: &'a ModelFolder,
    adapter: &'a Adapter,
    device: &'a B::Device,
) -> Vec<(String, MergedTensor<'a, B>)> {
    let layer_of = |name: &str| -> Option<(usize, TargetModule)> {
        let (layer, path) = name.strip_prefix("model.layers.")?.strip_suffix(".weight")?.split_once('.')?;
        let target = TargetModule::ALL.into_iter().find(|target| target.path() == path)?;
        Some((layer.parse().ok()?, target))
    };
    let tensor = |(name, _): (String, Vec<usize>)| {
        let lora = layer_of(&name).and_then(|place| adapter.weights.get(&place));
        let base = base.checkpoint.get(&name).expect("presence was checked when the folder was opened");
        (name, MergedTensor { base, lora: lora.map(|weights| (weights, adapter.config.scaling())), device })
    };
    expected_tensors(&base.config).into_iter().map(tensor).collect()
}

/// Writes `model.safetensors` of base + adapter into a folder, which is created.
pub fn write_merged_weights<B: Backend>(
    base: &ModelFolder,
    adapter: &Adapter,
    folder: &Path,
    device: &B::Device,
) -> Result<()> {
    let tensors = merged_tensors::<B>(base, adapter, device);
    let path = folder.join(SINGLE_FILE);
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    let metadata = [("format", "pt"), MARK].map(|(key, value)| (key.to_string(), value.to_string())).into();
    serialize_to_file(tensors.iter().map(|(name, tensor)| (name, tensor)), Some(metadata), &path).with_context(what)?;
    File::open(&path).and_then(|file| file.sync_all()).with_context(what)
}

/// Reads merged weights back: every element must be the base's plus the adapter's, computed in f32 and rounded once.
pub fn verify_merged_weights<B: Backend>(
    base: &ModelFolder,
    adapter: &Adapter,
    folder: &Path,
    device: &B::Device,
) -> Result<()> {
    let written = SafetensorsFile::open(&folder.join(SINGLE_FILE))?;
    let tensors = merged_tensors::<B>(base, adapter, device);
    for (name, expected) in &tensors {
        let is_equal = written.get(name).is_some_and(|found| {
            found.dtype == expected.base.dtype && found.shape == expected.base.shape && *found.bytes == *expected.data()
        });
        if !is_equal {
            bail!("the merged weights did not survive being written: {name} reads back otherwise. Is the disk sound?");
        }
    }
    if written.names().count() != tensors.len() {
        bail!("the merged file holds other tensors than those that were written");
    }
    Ok(())
}
