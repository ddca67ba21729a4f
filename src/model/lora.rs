//! Low-rank adapters (Hu et al., 2021) as PEFT defines them: y = W x + (alpha / r) B A dropout(x).

use std::fmt;
use std::path::PathBuf;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::dropout::LoraDropout;
use super::linear::Linear;
use super::weight::Weight;
use crate::kernels::{Branch, lora_linear};

/// The linear layers of a decoder layer that can carry an adapter, in checkpoint order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetModule {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl TargetModule {
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    /// Its name in `target_modules`.
    pub fn name(self) -> &'static str {
        self.path().split_once('.').expect("a path has two parts").1
    }

    /// Its path inside `model.layers.N`.
    pub fn path(self) -> &'static str {
        match self {
            Self::QProj => "self_attn.q_proj",
            Self::KProj => "self_attn.k_proj",
            Self::VProj => "self_attn.v_proj",
            Self::OProj => "self_attn.o_proj",
            Self::GateProj => "mlp.gate_proj",
            Self::UpProj => "mlp.up_proj",
            Self::DownProj => "mlp.down_proj",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.name() == name)
    }
}

impl fmt::Display for TargetModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Bounds far beyond use: what exceeds them is a mistake.
pub const MAX_RANK: usize = 4096;
pub const MAX_LORA_ALPHA: f64 = 65536.0;

/// `target_modules`: "all-linear" or a list of names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    Keyword(String),
    Names(Vec<String>),
}

/// The `lora` section of config.json; keys as in PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// The branch is scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    pub target_modules: TargetModules,
    /// Probability of dropping an input of the branch while training.
    pub lora_dropout: f64,
    /// Only "none": biases stay frozen.
    pub bias: String,
    /// Only "CAUSAL_LM".
    pub task_type: String,
    /// A PEFT folder to start from instead of fresh weights.
    pub init_adapter: Option<PathBuf>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: 64.0,
            target_modules: TargetModules::Names(vec!["q_proj".into(), "v_proj".into()]),
            lora_dropout: 0.15,
            bias: "none".into(),
            task_type: "CAUSAL_LM".into(),
            init_adapter: None,
        }
    }
}

impl LoraConfig {
    /// The modules named by `target_modules`, in checkpoint order, or the names that are none.
    pub fn targets(&self) -> Result<Vec<TargetModule>, String> {
        let names = match &self.target_modules {
            TargetModules::Keyword(word) if word == "all-linear" => return Ok(TargetModule::ALL.to_vec()),
            TargetModules::Keyword(word) => std::slice::from_ref(word),
            TargetModules::Names(names) => names.as_slice(),
        };
        let known = TargetModule::ALL.map(TargetModule::name).join(", ");
        if names.is_empty() {
            return Err(format!("must name at least one of {known}, or be \"all-linear\""));
        }
        let mut targets = Vec::new();
        for name in names {
            match TargetModule::from_name(name) {
                Some(target) => targets.push(target),
                None => return Err(format!("{name:?} is not one of {known}, nor \"all-linear\"")),
            }
        }
        targets.sort_unstable();
        targets.dedup();
        Ok(targets)
    }

    /// Problems by key, without the section's name.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(1..=MAX_RANK).contains(&self.r) {
            problems.push(("r", format!("must be from 1 to {MAX_RANK}, found {}", self.r)));
        }
        if !(self.lora_alpha > 0.0 && self.lora_alpha <= MAX_LORA_ALPHA) {
            problems
                .push(("lora_alpha", format!("must be above 0 and up to {MAX_LORA_ALPHA}, found {}", self.lora_alpha)));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            problems.push(("lora_dropout", format!("must be at least 0 and below 1, found {}", self.lora_dropout)));
        }
        if let Err(problem) = self.targets() {
            problems.push(("target_modules", problem));
        }
        if self.bias != "none" {
            problems.push(("bias", format!("{:?} is not supported; only \"none\" is", self.bias)));
        }
        if self.task_type != "CAUSAL_LM" {
            problems.push(("task_type", format!("{:?} is not supported; only \"CAUSAL_LM\" is", self.task_type)));
        }
        problems
    }
}

/// The two trainable matrices of one module, on the host, as PEFT stores them.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraWeights {
    pub r: usize,
    /// `[r, in]`, row by row.
    pub a: Vec<f32>,
    /// `[out, r]`, row by row.
    pub b: Vec<f32>,
}

impl LoraWeights {
    /// PEFT's default: A kaiming-uniform with a = sqrt(5), which is U(-1/sqrt(in), 1/sqrt(in)); B zero.
    pub fn init(r: usize, in_features: usize, out_features: usize, rng: &mut ChaCha8Rng) -> Self {
        let bound = 1.0 / (in_features as f32).sqrt();
        let a = (0..r * in_features).map(|_| rng.random_range(-bound..bound)).collect();
        Self { r, a, b: vec![0.0; out_features * r] }
    }

    /// The generator that initialises an adapter's modules one after the other.
    pub fn init_rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }
}

/// The trainable branch of a [`LoraLinear`], always in f32.
#[derive(Module, Debug)]
pub struct Lora<B: Backend> {
    /// `[r, in]`
    pub lora_a: Param<Tensor<B, 2>>,
    /// `[out, r]`
    pub lora_b: Param<Tensor<B, 2>>,
    /// alpha / r
    #[module(skip)]
    pub scaling: f64,
    #[module(skip)]
    pub dropout: f64,
    /// Tells the dropout masks of the model's modules apart.
    #[module(skip)]
    pub module_index: u64,
}

impl<B: Backend> Lora<B> {
    fn branch(&self, dropout: Option<&LoraDropout<B>>) -> Branch<B> {
        let dropout = dropout.filter(|_| self.dropout > 0.0);
        Branch {
            a: self.lora_a.val(),
            b: self.lora_b.val(),
            scaling: self.scaling,
            dropout: dropout.map(|dropout| dropout.mask(self.module_index, self.dropout)),
        }
    }
}

/// A linear layer, with an adapter (then it is frozen) or without one.
#[derive(Module, Debug)]
pub struct LoraLinear<B: Backend> {
    pub base: Linear<B>,
    pub lora: Option<Lora<B>>,
}

impl<B: Backend> LoraLinear<B> {
    pub fn new(base: Linear<B>) -> Self {
        Self { base, lora: None }
    }

    /// Adds an adapter. Parameter ids derive from the module's place, so that optimizer state finds its parameter
    /// again in another process.
    pub fn with_lora(self, weights: LoraWeights, scaling: f64, dropout: f64, module_index: u64) -> Self {
        let device = self.base.weight.device();
        let param = |values: Vec<f32>, shape: [usize; 2], id: u64| {
            let tensor = Tensor::from_data(TensorData::new(values, shape), (&device, DType::F32));
            Param::initialized(ParamId::from(id), tensor.require_grad())
        };
        let (r, input, output) = (weights.r, self.base.in_features(), self.base.out_features());
        let lora = Lora {
            lora_a: param(weights.a, [r, input], 2 * module_index + 1),
            lora_b: param(weights.b, [output, r], 2 * module_index + 2),
            scaling,
            dropout,
            module_index,
        };
        Self { base: self.base, lora: Some(lora) }
    }

    /// # Shapes
    /// `[tokens, in]` -> `[tokens, out]`
    pub fn forward(&self, x: Tensor<B, 2>, dropout: Option<&LoraDropout<B>>) -> Tensor<B, 2> {
        let Some(lora) = &self.lora else {
            return self.base.forward(x);
        };
        let bias = self.base.bias.as_ref().map(Weight::val);
        lora_linear(x, &self.base.weight.val(), bias.as_ref(), lora.branch(dropout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_modules_are_sorted_unique_and_known() {
        let config = |value: serde_json::Value| LoraConfig {
            target_modules: serde_json::from_value(value).unwrap(),
            ..LoraConfig::default()
        };
        let targets = config(serde_json::json!(["v_proj", "q_proj", "v_proj"])).targets().unwrap();
        assert_eq!(targets, [TargetModule::QProj, TargetModule::VProj]);
        assert_eq!(config(serde_json::json!("all-linear")).targets().unwrap().len(), 7);
        assert!(config(serde_json::json!(["qproj"])).targets().unwrap_err().contains("qproj"));
        assert!(config(serde_json::json!([])).targets().is_err());
    }
}
