//! Grouped-query attention (Ainslie et al., 2023), causal, within each row only.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::dropout::LoraDropout;
use super::kv_cache::KvCache;
use super::lora::LoraLinear;
use crate::kernels::{AttentionPass, cached_attention, causal_attention};

#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    pub q_proj: LoraLinear<B>,
    pub k_proj: LoraLinear<B>,
    pub v_proj: LoraLinear<B>,
    pub o_proj: LoraLinear<B>,
}

impl<B: Backend> Attention<B> {
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        pass: &AttentionPass<B>,
        cache: Option<(&mut KvCache<B>, usize)>,
        dropout: Option<&LoraDropout<B>>,
    ) -> Tensor<B, 2> {
        let q = self.q_proj.forward(x.clone(), dropout);
        let k = self.k_proj.forward(x.clone(), dropout);
        let v = self.v_proj.forward(x, dropout);
        let attended = match cache {
            None => causal_attention(q, k, v, pass),
            Some((cache, layer)) => {
                // Taken out, so that it is changed in place and not copied.
                let before = cache.take(layer, pass, &k);
                let (attended, after) = cached_attention(q, k, v, before, pass);
                cache.put(layer, after);
                attended
            }
        };
        self.o_proj.forward(attended, dropout)
    }
}
