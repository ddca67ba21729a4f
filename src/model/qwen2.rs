//! The Qwen2 decoder (Qwen team, 2024). Field names are the checkpoint's keys.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::attention::Attention;
use super::dropout::LoraDropout;
use super::kv_cache::{KvCache, Past};
use super::layout::TokenBatch;
use super::linear::Linear;
use super::lora::{LoraLinear, TargetModule};
use super::mlp::Mlp;
use super::rms_norm::RmsNorm;
use super::rotary::RotaryEmbedding;
use super::weight::Weight;
use crate::kernels::{AttentionPass, AttentionShape, linear};

#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    pub self_attn: Attention<B>,
    pub mlp: Mlp<B>,
    pub input_layernorm: RmsNorm<B>,
    pub post_attention_layernorm: RmsNorm<B>,
}

impl<B: Backend> DecoderLayer<B> {
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        pass: &AttentionPass<B>,
        cache: Option<(&mut KvCache<B>, usize)>,
        dropout: Option<&LoraDropout<B>>,
    ) -> Tensor<B, 2> {
        let attended = self.self_attn.forward(self.input_layernorm.forward(x.clone()), pass, cache, dropout);
        let x = x + attended;
        let fed = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()), dropout);
        x + fed
    }

    /// The layer's linear modules, as [`TargetModule::ALL`] lists them.
    pub fn linears(&self) -> [&LoraLinear<B>; 7] {
        let (a, m) = (&self.self_attn, &self.mlp);
        [&a.q_proj, &a.k_proj, &a.v_proj, &a.o_proj, &m.gate_proj, &m.up_proj, &m.down_proj]
    }

    fn linears_mut(&mut self) -> [&mut LoraLinear<B>; 7] {
        let (a, m) = (&mut self.self_attn, &mut self.mlp);
        [&mut a.q_proj, &mut a.k_proj, &mut a.v_proj, &mut a.o_proj, &mut m.gate_proj, &mut m.up_proj, &mut m.down_proj]
    }
}

#[derive(Module, Debug)]
pub struct Qwen2Model<B: Backend> {
    /// `[vocab, hidden]`
    pub embed_tokens: Weight<B, 2>,
    pub layers: Vec<DecoderLayer<B>>,
    pub norm: RmsNorm<B>,
    pub rotary: RotaryEmbedding<B>,
    /// Numbers and size of the attention's heads; no groups.
    #[module(skip)]
    pub heads: AttentionShape,
    /// Whether training keeps only each layer's input and computes the rest again.
    #[module(skip)]
    pub gradient_checkpointing: bool,
}

impl<B: Backend> Qwen2Model<B> {
    /// Hidden states after the final norm.
    ///
    /// With a cache, the batch continues the rows that the cache holds, each by as many tokens.
    ///
    /// # Shapes
    /// `[tokens]` -> `[tokens, hidden]`
    pub fn forward(
        &self,
        batch: &TokenBatch,
        mut cache: Option<&mut KvCache<B>>,
        dropout: Option<&LoraDropout<B>>,
    ) -> Tensor<B, 2> {
        let pass = self.attention_pass(batch, cache.as_ref().map(|cache| cache.past().clone()).unwrap_or_default());
        let mut x = self.embed(&batch.input_ids);
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| (cache, index));
            x = layer.forward(x, &pass, cache, dropout);
        }
        if let Some(cache) = cache {
            cache.advance(&batch.groups);
        }
        self.norm.forward(x)
    }

    /// What the layers' attention needs to know of a batch.
    pub fn attention_pass(&self, batch: &TokenBatch, past: Past) -> AttentionPass<B> {
        let shape = AttentionShape { groups: batch.groups.clone(), ..self.heads.clone() };
        AttentionPass::new(shape, past, self.rotary.clone())
    }

    /// `[tokens]` -> `[tokens, hidden]`
    pub fn embed(&self, input_ids: &[i32]) -> Tensor<B, 2> {
        let device = self.embed_tokens.device();
        let ids = Tensor::<B, 1, Int>::from_data(TensorData::new(input_ids.to_vec(), [input_ids.len()]), &device);
        self.embed_tokens.val().select(0, ids).cast(self.norm.weight.val().dtype())
    }
}

/// The decoder with its output projection.
#[derive(Module, Debug)]
pub struct Qwen2ForCausalLm<B: Backend> {
    pub model: Qwen2Model<B>,
    /// `None` where the embedding serves as head (`tie_word_embeddings`).
    pub lm_head: Option<Linear<B>>,
}

impl<B: Backend> Qwen2ForCausalLm<B> {
    /// The head's weight, `[vocab, hidden]`.
    pub fn head(&self) -> &Weight<B, 2> {
        match &self.lm_head {
            Some(head) => &head.weight,
            None => &self.model.embed_tokens,
        }
    }

    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, vocab]`
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(hidden, &self.head().val(), None)
    }

    pub fn device(&self) -> B::Device {
        self.model.embed_tokens.device()
    }

    pub fn vocab_size(&self) -> usize {
        self.model.embed_tokens.dims()[0]
    }

    /// The longest sequence that the rotary tables serve.
    pub fn max_positions(&self) -> usize {
        self.model.rotary.cos.dims()[0]
    }

    pub fn num_hidden_layers(&self) -> usize {
        self.model.layers.len()
    }

    /// Every linear module with its layer's number and its kind, in checkpoint order.
    pub fn linears(&self) -> impl Iterator<Item = (usize, TargetModule, &LoraLinear<B>)> {
        self.model.layers.iter().enumerate().flat_map(|(index, layer)| {
            TargetModule::ALL.into_iter().zip(layer.linears()).map(move |(target, linear)| (index, target, linear))
        })
    }

    pub fn linears_mut(&mut self) -> impl Iterator<Item = (usize, TargetModule, &mut LoraLinear<B>)> {
        self.model.layers.iter_mut().enumerate().flat_map(|(index, layer)| {
            TargetModule::ALL.into_iter().zip(layer.linears_mut()).map(move |(target, linear)| (index, target, linear))
        })
    }
}
