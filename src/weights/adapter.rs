//! LoRA adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::backend::Backend;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Map, Value};

use super::adapter_config::{AdapterConfig, CONFIG_FILE};
use super::adapter_record::AdapterRecord;
use super::safetensors::{SafetensorsFile, narrow};
use crate::bad_input;
use crate::error::BadInput;
use crate::files::{read_json, write_atomically};
use crate::model::lora::LoraWeights;
use crate::model::{LoraConfig, Qwen2Config, Qwen2ForCausalLm, TargetModule};

pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// An adapter on the host, independent of any backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    pub config: AdapterConfig,
    /// By layer and module.
    pub weights: BTreeMap<(usize, TargetModule), LoraWeights>,
}

/// PEFT's name of one of an adapter's tensors.
fn tensor_name(layer: usize, target: TargetModule, matrix: char) -> String {
    format!("base_model.model.model.layers.{layer}.{}.lora_{matrix}.weight", target.path())
}

impl Adapter {
    /// Fresh weights for every target of a model of this shape.
    pub fn init(config: AdapterConfig, model: &Qwen2Config, seed: u64) -> Self {
        let mut rng = LoraWeights::init_rng(seed);
        let mut weights = BTreeMap::new();
        for layer in 0..model.num_hidden_layers {
            for target in &config.target_modules {
                let [output, input] = model.linear_shape(*target);
                weights.insert((layer, *target), LoraWeights::init(config.r, input, output, &mut rng));
            }
        }
        Self { config, weights }
    }

    /// Reads a PEFT folder. Which model it fits is checked when it is attached.
    pub fn read(folder: &Path) -> Result<Self> {
        let config_path = folder.join(CONFIG_FILE);
        if !config_path.exists() {
            bad_input!("{} is not an adapter folder: it has no {CONFIG_FILE}", folder.display());
        }
        let mut config = AdapterConfig::from_json(&read_json(&config_path)?)
            .map_err(|problems| BadInput(format!("{}:\n  {}", config_path.display(), problems.join("\n  "))))?;
        config.record = AdapterRecord::read(folder)?;
        if !folder.join(WEIGHTS_FILE).exists() && folder.join("adapter_model.bin").exists() {
            bad_input!(
                "{} has its weights in adapter_model.bin, a pickle, which is not read here; save the adapter with \
                 save_pretrained(..., safe_serialization=True)",
                folder.display()
            );
        }
        let file = SafetensorsFile::open(&folder.join(WEIGHTS_FILE))?;
        let weights = Self::read_weights(&config, &file).map_err(|problems| {
            let path = file.path().display();
            BadInput(format!("{path} does not match {CONFIG_FILE}:\n  {}", problems.join("\n  ")))
        })?;
        Ok(Self { config, weights })
    }

    fn read_weights(
        config: &AdapterConfig,
        file: &SafetensorsFile,
    ) -> Result<BTreeMap<(usize, TargetModule), LoraWeights>, Vec<String>> {
        let (mut problems, mut places) = (Vec::new(), BTreeMap::new());
        for name in file.names() {
            match parse_name(name) {
                Some((layer, target)) if config.target_modules.contains(&target) => {
                    places.insert((layer, target), ());
                }
                Some((_, target)) => problems.push(format!("{name} is there, but {target} is not in target_modules")),
                None => problems.push(format!("{name} is not a LoRA tensor of a Qwen2 decoder layer")),
            }
        }
        let mut weights = BTreeMap::new();
        for (layer, target) in places.into_keys() {
            let mut matrix = |which: char, rank_axis: usize| {
                let name = tensor_name(layer, target, which);
                match file.get(&name) {
                    None => problems.push(format!("{name} is missing")),
                    Some(t) if t.shape.len() != 2 || t.shape[rank_axis] != config.r => {
                        problems.push(format!("{name} has shape {:?}, which is not of rank r = {}", t.shape, config.r));
                    }
                    Some(t) if !t.is_supported() => problems.push(format!("{name} has type {:?}", t.dtype)),
                    Some(t) => {
                        let values = t.to_f32();
                        if values.iter().all(|v| v.is_finite()) {
                            return values;
                        }
                        problems.push(format!("{name} holds values that are not finite"));
                    }
                }
                Vec::new()
            };
            let (a, b) = (matrix('A', 0), matrix('B', 1));
            weights.insert((layer, target), LoraWeights { r: config.r, a, b });
        }
        if weights.is_empty() && problems.is_empty() {
            problems.push("it holds no LoRA tensors".into());
        }
        if problems.is_empty() { Ok(weights) } else { Err(problems) }
    }

    /// Writes a PEFT folder; each file appears whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let bytes: Vec<(String, [usize; 2], Vec<u8>)> = self
            .weights
            .iter()
            .flat_map(|(&(layer, target), w)| {
                let (input, output) = (w.a.len() / w.r, w.b.len() / w.r);
                [
                    (tensor_name(layer, target, 'A'), [w.r, input], narrow(&w.a, Dtype::F32)),
                    (tensor_name(layer, target, 'B'), [output, w.r], narrow(&w.b, Dtype::F32)),
                ]
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), data)?)))
            .collect::<Result<Vec<_>>>()?;
        let metadata = [("format".to_string(), "pt".to_string())].into();
        let file = serialize(views, Some(metadata)).context("cannot serialise the adapter")?;
        write_atomically(&folder.join(WEIGHTS_FILE), &file)?;
        let config: Map<String, Value> = self.config.to_json().as_object().cloned().unwrap_or_default();
        write_atomically(&folder.join(CONFIG_FILE), serde_json::to_string_pretty(&config)?.as_bytes())?;
        match &self.config.record {
            Some(record) => record.write(folder),
            None => Ok(()),
        }
    }

    /// Whether `B` is zero everywhere, so that the adapter changes nothing.
    pub fn is_zero(&self) -> bool {
        self.weights.values().all(|w| w.b.iter().all(|v| *v == 0.0))
    }

    /// Checks the adapter against a config section that is to go on training it.
    pub fn check_matches(&self, lora: &LoraConfig, targets: &[TargetModule]) -> Result<(), String> {
        let c = &self.config;
        if c.r != lora.r || c.lora_alpha != lora.lora_alpha || c.target_modules != targets {
            let names = |t: &[TargetModule]| t.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "it has r {}, lora_alpha {} and target_modules {}, the config asks for r {}, lora_alpha {} and {}",
                c.r,
                c.lora_alpha,
                names(&c.target_modules),
                lora.r,
                lora.lora_alpha,
                names(targets)
            ));
        }
        Ok(())
    }

    /// Puts the adapter on a model that it was [checked](Self::check_fits) against.
    pub fn attach<B: Backend>(&self, mut model: Qwen2ForCausalLm<B>, dropout: f64) -> Qwen2ForCausalLm<B> {
        for (index, (layer, target, linear)) in model.linears_mut().enumerate() {
            if let Some(weights) = self.weights.get(&(layer, target)) {
                *linear = linear.clone().with_lora(weights.clone(), self.config.scaling(), dropout, index as u64);
            }
        }
        model
    }

    /// Refuses an adapter that has not exactly the weights that its targets have in a model of this shape.
    pub fn check_fits(&self, model: &Qwen2Config) -> Result<()> {
        let layers = model.num_hidden_layers;
        let mut problems = Vec::new();
        for layer in 0..layers {
            for target in &self.config.target_modules {
                let [output, input] = model.linear_shape(*target);
                match self.weights.get(&(layer, *target)) {
                    None => problems.push(format!("layer {layer}: {target} has no adapter weights")),
                    Some(w) if w.a.len() != w.r * input || w.b.len() != output * w.r => problems.push(format!(
                        "layer {layer}: the adapter of {target} is for {} inputs and {} outputs, the model's has {input} \
                         and {output}",
                        w.a.len() / w.r,
                        w.b.len() / w.r
                    )),
                    Some(_) => {}
                }
            }
        }
        for (layer, target) in self.weights.keys().filter(|(layer, _)| *layer >= layers) {
            problems.push(format!("it has weights for {target} of layer {layer}; the model has {layers} layers"));
        }
        if !problems.is_empty() {
            bad_input!("the adapter does not fit the model:\n  {}", problems.join("\n  "));
        }
        Ok(())
    }

    /// Reads the adapter back from a model.
    pub fn extract<B: Backend>(model: &Qwen2ForCausalLm<B>, config: AdapterConfig) -> Self {
        let weights = model
            .linears()
            .filter_map(|(layer, target, linear)| {
                let lora = linear.lora.as_ref()?;
                let (a, b) = (lora.lora_a.val(), lora.lora_b.val());
                let weights = LoraWeights { r: a.dims()[0], a: host(a), b: host(b) };
                Some(((layer, target), weights))
            })
            .collect();
        Self { config, weights }
    }
}

fn host<B: Backend>(tensor: burn::tensor::Tensor<B, 2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().expect("the data was converted to f32")
}

/// The layer and module of `base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight`.
fn parse_name(name: &str) -> Option<(usize, TargetModule)> {
    let rest = name.strip_prefix("base_model.model.model.layers.")?;
    let rest = rest.strip_suffix(".lora_A.weight").or(rest.strip_suffix(".lora_B.weight"))?;
    let (layer, path) = rest.split_once('.')?;
    let target = TargetModule::ALL.into_iter().find(|target| target.path() == path)?;
    Some((layer.parse().ok()?, target))
}
