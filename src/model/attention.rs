//! Grouped-query attention (Ainslie et al., 2023), causal, within each row only.

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData, backend::Backend};

use super::dropout::LoraDropout;
use super::kv_cache::KvCache;
use super::lora::LoraLinear;
use super::rotary::{RotaryTables, RotaryWindow};
use crate::kernels::{AttentionShape, attend, causal_attention, split_heads};

#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    pub q_proj: LoraLinear<B>,
    pub k_proj: LoraLinear<B>,
    pub v_proj: LoraLinear<B>,
    pub o_proj: LoraLinear<B>,
}

/// What one pass needs in every layer.
#[derive(Debug, Clone)]
pub struct PassContext<B: Backend> {
    pub shape: AttentionShape,
    pub tables: RotaryTables,
    /// For each group the angles of its positions, and what is added to the scores, `[1, 1, len, past + len]`: 0
    /// where a query may look, -inf where it may not; `None` for a single query, which sees everything before it.
    pub windows: Vec<(RotaryWindow<B>, Option<Tensor<B, 4>>)>,
}

/// The additive causal mask of `len` queries that follow `past` cached tokens.
pub fn causal_mask<B: Backend>(len: usize, past: usize, device: &B::Device) -> Option<Tensor<B, 4>> {
    if len == 1 {
        return None;
    }
    let total = past + len;
    let values: Vec<f32> = (0..len)
        .flat_map(|query| (0..total).map(move |key| if key <= past + query { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Some(Tensor::from_data(TensorData::new(values, [1, 1, len, total]), (device, DType::F32)))
}

impl<B: Backend> Attention<B> {
    /// With a cache, the pass is one group of rows that continue what the cache holds.
    ///
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        pass: &PassContext<B>,
        cache: Option<(&mut KvCache<B>, usize)>,
        dropout: Option<&LoraDropout>,
    ) -> Tensor<B, 2> {
        let q = self.q_proj.forward(x.clone(), dropout);
        let k = self.k_proj.forward(x.clone(), dropout);
        let v = self.v_proj.forward(x, dropout);
        let attended = match cache {
            None => causal_attention(q, k, v, &pass.shape, &pass.tables, &pass.windows),
            Some((cache, layer)) => {
                let AttentionShape { groups, heads, kv_heads, head_dim } = &pass.shape;
                let (rotary, mask) = &pass.windows[0];
                let rows = |x, heads| split_heads(x, groups[0], 0, heads, *head_dim);
                let (q, k) = (rotary.rotate(rows(q, *heads)), rotary.rotate(rows(k, *kv_heads)));
                let (k, v) = cache.append(layer, k, rows(v, *kv_heads));
                attend(q, k, v, mask.as_ref())
            }
        };
        self.o_proj.forward(attended, dropout)
    }
}
