//! A model folder in transformers' layout -> [`Qwen2ForCausalLm`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{DType, backend::Backend};
use safetensors::Dtype;

use super::safetensors::Checkpoint;
use crate::bad_input;
use crate::error::BadInput;
use crate::files::{hash, read_json};
use crate::kernels::{AttentionShape, widens_bf16};
use crate::model::attention::Attention;
use crate::model::linear::Linear;
use crate::model::mlp::Mlp;
use crate::model::qwen2::{DecoderLayer, Qwen2ForCausalLm, Qwen2Model};
use crate::model::rms_norm::RmsNorm;
use crate::model::rotary::RotaryEmbedding;
use crate::model::{LoraLinear, Qwen2Config, TargetModule, Weight};

/// A folder with `config.json`, weights and tokenizer, its config read and its tensors checked but not loaded.
pub struct ModelFolder {
    pub path: PathBuf,
    pub config: Qwen2Config,
    pub checkpoint: Checkpoint,
}

impl ModelFolder {
    /// Opens the folder and compares every tensor with what the config calls for.
    pub fn open(path: &Path) -> Result<Self> {
        let config = read_config(path)?;
        let checkpoint = Checkpoint::open(path)?;
        let problems = mismatches(&config, &checkpoint);
        if !problems.is_empty() {
            bad_input!("the weights in {} do not match its config.json:\n  {}", path.display(), problems.join("\n  "));
        }
        Ok(Self { path: path.to_path_buf(), config, checkpoint })
    }

    /// Tells this model's weights from others': a hash over shapes and the beginning of every tensor.
    pub fn fingerprint(&self) -> String {
        let words = self.checkpoint.names().flat_map(|name| {
            let tensor = self.checkpoint.get(name).expect("the checkpoint names it");
            let beginning = tensor.bytes[..tensor.bytes.len().min(4096)].chunks_exact(2);
            let shape = tensor.shape.iter().map(|size| *size as u64);
            shape.chain(beginning.map(|b| u16::from_le_bytes([b[0], b[1]]) as u64)).collect::<Vec<_>>()
        });
        format!("{:016x}", hash(words))
    }

    /// Moves the weights to a device, all of them frozen, all linear layers without adapters. `dtype` is what is computed
    /// in; matrices that the file holds in bf16 stay so where products widen them.
    pub fn load<B: Backend>(&self, device: &B::Device, dtype: DType) -> Qwen2ForCausalLm<B> {
        let matrix = |name: &str| {
            let in_file = self.checkpoint.get(name).map(|tensor| tensor.dtype);
            let stays = dtype == DType::F32 && in_file == Some(Dtype::BF16) && widens_bf16::<B>();
            Weight::Frozen(self.checkpoint.load::<B, 2>(name, device, if stays { DType::BF16 } else { dtype }))
        };
        let vector = |name: &str| Weight::Frozen(self.checkpoint.load::<B, 1>(name, device, dtype));
        self.assemble(device, matrix, vector)
    }

    /// Moves the weights to a device in f32, to train all of them. A parameter's id is its place in [`expected_tensors`],
    /// from 1.
    pub fn load_trained<B: Backend>(&self, device: &B::Device) -> Qwen2ForCausalLm<B> {
        let expected = expected_tensors(&self.config);
        let ids: HashMap<&str, u64> = expected.iter().zip(1..).map(|((name, _), id)| (name.as_str(), id)).collect();
        self.assemble(
            device,
            |name| Weight::trained(self.checkpoint.load::<B, 2>(name, device, DType::F32), ids[name]),
            |name| Weight::trained(self.checkpoint.load::<B, 1>(name, device, DType::F32), ids[name]),
        )
    }

    fn assemble<B: Backend>(
        &self,
        device: &B::Device,
        matrix: impl Fn(&str) -> Weight<B, 2>,
        vector: impl Fn(&str) -> Weight<B, 1>,
    ) -> Qwen2ForCausalLm<B> {
        let config = &self.config;
        let norm = |name: &str| RmsNorm { weight: vector(name), eps: config.rms_norm_eps };
        let linear = |layer: usize, target: TargetModule| {
            let prefix = format!("model.layers.{layer}.{}", target.path());
            let bias = has_bias(target).then(|| vector(&format!("{prefix}.bias")));
            LoraLinear::new(Linear { weight: matrix(&format!("{prefix}.weight")), bias })
        };
        let layers = (0..config.num_hidden_layers)
            .map(|i| DecoderLayer {
                self_attn: Attention {
                    q_proj: linear(i, TargetModule::QProj),
                    k_proj: linear(i, TargetModule::KProj),
                    v_proj: linear(i, TargetModule::VProj),
                    o_proj: linear(i, TargetModule::OProj),
                },
                mlp: Mlp {
                    gate_proj: linear(i, TargetModule::GateProj),
                    up_proj: linear(i, TargetModule::UpProj),
                    down_proj: linear(i, TargetModule::DownProj),
                },
                input_layernorm: norm(&format!("model.layers.{i}.input_layernorm.weight")),
                post_attention_layernorm: norm(&format!("model.layers.{i}.post_attention_layernorm.weight")),
            })
            .collect();
        Qwen2ForCausalLm {
            model: Qwen2Model {
                embed_tokens: matrix("model.embed_tokens.weight"),
                layers,
                norm: norm("model.norm.weight"),
                rotary: RotaryEmbedding::new(
                    config.head_dim,
                    config.rope_theta,
                    config.max_position_embeddings,
                    device,
                ),
                heads: AttentionShape {
                    groups: Vec::new(),
                    heads: config.num_attention_heads,
                    kv_heads: config.num_key_value_heads,
                    head_dim: config.head_dim,
                },
                gradient_checkpointing: false,
            },
            lm_head: (!config.tie_word_embeddings).then(|| Linear { weight: matrix("lm_head.weight"), bias: None }),
        }
    }
}

fn read_config(folder: &Path) -> Result<Qwen2Config> {
    let path = folder.join("config.json");
    if !path.exists() {
        bad_input!("{} is not a model folder: it has no config.json", folder.display());
    }
    Qwen2Config::from_json(&read_json(&path)?)
        .map_err(|problems| BadInput(format!("{}:\n  {}", path.display(), problems.join("\n  "))).into())
}

/// Of Qwen2's linear layers, only the query, key and value projections have a bias.
fn has_bias(target: TargetModule) -> bool {
    matches!(target, TargetModule::QProj | TargetModule::KProj | TargetModule::VProj)
}

/// Name and shape of every tensor that a checkpoint of this config holds.
pub fn expected_tensors(config: &Qwen2Config) -> Vec<(String, Vec<usize>)> {
    let hidden = config.hidden_size;
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_string(), vec![config.vocab_size, hidden]),
        ("model.norm.weight".to_string(), vec![hidden]),
    ];
    if !config.tie_word_embeddings {
        tensors.push(("lm_head.weight".to_string(), vec![config.vocab_size, hidden]));
    }
    for layer in 0..config.num_hidden_layers {
        let prefix = format!("model.layers.{layer}");
        for target in TargetModule::ALL {
            let shape = config.linear_shape(target);
            if has_bias(target) {
                tensors.push((format!("{prefix}.{}.bias", target.path()), vec![shape[0]]));
            }
            tensors.push((format!("{prefix}.{}.weight", target.path()), shape.to_vec()));
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push((format!("{prefix}.{norm}.weight"), vec![hidden]));
        }
    }
    tensors
}

/// Every tensor that is missing, extra, misshapen or of a type that is not read here.
fn mismatches(config: &Qwen2Config, checkpoint: &Checkpoint) -> Vec<String> {
    let expected = expected_tensors(config);
    let mut problems = Vec::new();
    for (name, shape) in &expected {
        match checkpoint.get(name) {
            None => problems.push(format!("{name} is missing")),
            Some(found) if found.shape != shape.as_slice() => {
                problems.push(format!("{name} has shape {:?}, expected {shape:?}", found.shape));
            }
            Some(found) if !found.is_supported() => {
                problems.push(format!("{name} has type {:?}; F32, BF16 and F16 are supported", found.dtype));
            }
            Some(_) => {}
        }
    }
    let known: std::collections::HashSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    for name in checkpoint.names().filter(|name| !known.contains(name)) {
        // Old exports store the rotary frequencies, which follow from the config.
        let derived = name.ends_with("rotary_emb.inv_freq");
        if !derived && !is_copy_of_embedding(name, checkpoint) {
            problems.push(format!("{name} is not part of this model"));
        }
    }
    problems
}

/// Some exports of tied models write the head a second time. An equal copy changes nothing.
fn is_copy_of_embedding(name: &str, checkpoint: &Checkpoint) -> bool {
    let pair = (checkpoint.get(name), checkpoint.get("model.embed_tokens.weight"));
    matches!((name, pair), ("lm_head.weight", (Some(head), Some(embedding)))
        if head.dtype == embedding.dtype && head.shape == embedding.shape && head.bytes == embedding.bytes)
}
